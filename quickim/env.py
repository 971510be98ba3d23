"""The configuration of a deployment: its environment variables, their defaults, what they mean together.

Law: loud. A malformed variable, one that does not exist, or a combination that cannot work ends in
`ConfigurationError`, all of them in one go, before anything is touched on disk. An empty variable counts as
unset. Nothing secret is in an error or in a repr. No Django here.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

from quickim import backends, private_files
from quickim import variables as v
from quickim.variables import JwtKey, Network, Platforms, Rate, Variable

__all__ = [
    "VARIABLES",
    "Configuration",
    "ConfigurationError",
    "JwtKey",
    "Platforms",
    "Rate",
    "read_configuration",
]

T = TypeVar("T")

PREFIX = "QUICKIM_"
PARTITIONS_PER_REDIS = 8
TEST_PREFIX = "QUICKIM_TEST_"
"""Variables that speak to the test suite; the server passes them over."""


class ConfigurationError(Exception):
    """The environment cannot be served: one line for each problem, in words for the person who set it."""


BIND = Variable("QUICKIM_BIND", "127.0.0.1:8088", v.bind, "0.0.0.0:8088")
WORKERS = Variable("QUICKIM_WORKERS", "1", v.integer(1, 256), "4")
DATA_DIR = Variable("QUICKIM_DATA_DIR", "var", v.directory, "/var/lib/quickim")
DATABASE_URL = Variable(
    "QUICKIM_DATABASE_URL",
    "",
    backends.database_url,
    "postgres://user:password@db.example.com:5432/quickim",
    secret=True,
)
REDIS_URL = Variable("QUICKIM_REDIS_URL", "", backends.redis_urls, "redis://redis.example.com:6379/0", secret=True)
LAYER_KEYS = Variable("QUICKIM_LAYER_KEYS", "", v.layer_keys, "<at least 32 random characters>", secret=True)
LAYER_PARTITIONS = Variable("QUICKIM_LAYER_PARTITIONS", "", v.optional(v.integer(1, 64)), "16")
SECRET_KEY = Variable("QUICKIM_SECRET_KEY", "", v.secret_key, "<50 random characters>", secret=True)
JWT_KEYS = Variable("QUICKIM_JWT_KEYS", "", v.jwt_keys, "2025a:<at least 32 random characters>", secret=True)
# At most ten years, so that `exp` stays a date that every JWT library can represent.
TOKEN_TTL_SECONDS = Variable("QUICKIM_TOKEN_TTL_SECONDS", "86400", v.integer(1, 315_360_000), "86400")
INNER_ALLOW = Variable("QUICKIM_INNER_ALLOW", "127.0.0.0/8,::1/128", v.networks, "127.0.0.0/8,10.0.0.0/8")
INNER_API_KEYS = Variable("QUICKIM_INNER_API_KEYS", "", v.api_keys, "<at least 16 random characters>", secret=True)
TRUSTED_PROXIES = Variable("QUICKIM_TRUSTED_PROXIES", "", v.networks, "10.0.0.7/32")
ALLOWED_HOSTS = Variable("QUICKIM_ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]", v.hosts, "im.example.com")
ALLOWED_ORIGINS = Variable("QUICKIM_ALLOWED_ORIGINS", "", v.origins, "https://app.example.com")
POLL_WAIT_SECONDS = Variable("QUICKIM_POLL_WAIT_SECONDS", "25", v.seconds(0.05, 300), "25")
# A node holds deliveries back once its watermark is 10 s old; a sweep moves it to 3 s before its start.
SWEEP_SECONDS = Variable("QUICKIM_SWEEP_SECONDS", "2", v.seconds(0.05, 5), "2")
MAX_CONTENT_BYTES = Variable("QUICKIM_MAX_CONTENT_BYTES", "65536", v.integer(1, 16 << 20), "65536")
MAX_BODY_BYTES = Variable("QUICKIM_MAX_BODY_BYTES", "2097152", v.integer(1024, 1 << 30), "2097152")
OUTBOX_BYTES = Variable("QUICKIM_OUTBOX_BYTES", "1048576", v.integer(4096, 1 << 30), "1048576")
MAX_CONNECTIONS_PER_SESSION = Variable("QUICKIM_MAX_CONNECTIONS_PER_SESSION", "32", v.integer(1, 1_000_000), "32")
SINGLE_LOGIN_PLATFORMS = Variable("QUICKIM_SINGLE_LOGIN_PLATFORMS", "", v.platforms, "1,2")
SEND_RATE = Variable("QUICKIM_SEND_RATE", "50/s", v.rate, "50/s")
FRAME_RATE = Variable("QUICKIM_FRAME_RATE", "200/s", v.rate, "200/s")
PUBLIC_JOIN = Variable("QUICKIM_PUBLIC_JOIN", "1", v.switch, "0")
PUBLIC_CREATE = Variable("QUICKIM_PUBLIC_CREATE", "all", v.one_of("all", "self", "off"), "self")
LEGACY = Variable("QUICKIM_LEGACY", "0", v.switch, "1")
LOG_FORMAT = Variable("QUICKIM_LOG_FORMAT", "console", v.one_of("console", "json"), "json")
DEBUG = Variable("QUICKIM_DEBUG", "0", v.switch, "1")

VARIABLES: tuple[Variable[Any], ...] = tuple(value for value in list(globals().values()) if isinstance(value, Variable))
"""All of them, in the order of the documents."""

GENERATED_FILES = {SECRET_KEY.name: "secret_key", JWT_KEYS.name: "jwt_key"}
"""The files of the data directory that stand in for variables which are not set."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """What the variables of a deployment say, typed; sizes in bytes, times in seconds."""

    bind_host: str
    bind_port: int
    workers: int
    data_dir: Path
    database_url: str | None = field(repr=False)
    redis_urls: tuple[str, ...] = field(repr=False)
    layer_keys: tuple[str, ...] = field(repr=False)
    layer_partitions: int
    secret_key: str = field(repr=False)
    jwt_keys: tuple[JwtKey, ...]
    token_ttl_seconds: int
    inner_allow: tuple[Network, ...]
    inner_api_keys: tuple[str, ...] = field(repr=False)
    trusted_proxies: tuple[Network, ...]
    allowed_hosts: tuple[str, ...]
    allowed_origins: tuple[str, ...]
    poll_wait_seconds: float
    sweep_seconds: float
    max_content_bytes: int
    max_body_bytes: int
    outbox_bytes: int
    max_connections_per_session: int
    single_login_platforms: Platforms
    send_rate: Rate | None
    frame_rate: Rate | None
    public_join: bool
    public_create: Literal["all", "self", "off"]
    legacy: bool
    log_format: Literal["console", "json"]
    debug: bool
    generated: frozenset[str]
    """Names of the variables whose value was generated into the data directory."""


class _Reader:
    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.problems: list[str] = []

    def text(self, variable: Variable[Any]) -> str:
        return self._environ.get(variable.name, "").strip()

    def read(self, variable: Variable[T]) -> T:
        """The variable's value, or its default after noting the problem: one start names all problems."""
        text = self.text(variable)
        if text:
            try:
                return variable.parse(text)
            except ValueError as reason:
                self.problems.append(variable.problem(text, reason))
        return variable.parse(variable.default)

    def refuse_unknown(self) -> None:
        known = {variable.name for variable in VARIABLES}
        for name in sorted(self._environ):
            if name.startswith(PREFIX) and not name.startswith(TEST_PREFIX) and name not in known:
                meant = v.closest(name, known)
                hint = f"; did you mean {meant}?" if meant else ""
                self.problems.append(f"{name!r} is no variable of quickim{hint}")

    def refuse_contradictions(self) -> None:
        if self.read(WORKERS) > 1:
            missing = [variable.name for variable in (DATABASE_URL, REDIS_URL) if not self.text(variable)]
            if missing:
                self.problems.append(
                    f"{WORKERS.name} is above 1, and several workers need PostgreSQL and Redis between them;"
                    f" missing: {' and '.join(f'{name}' for name in missing)}"
                )
        content_bytes = self.read(MAX_CONTENT_BYTES)
        for variable in (MAX_BODY_BYTES, OUTBOX_BYTES):
            if self.read(variable) < content_bytes:
                self.problems.append(
                    f"{variable.name} must be at least {MAX_CONTENT_BYTES.name} ({content_bytes}),"
                    " or the largest allowed message could never pass"
                )
        secret_key = self.read(SECRET_KEY)
        if any(secret_key == key.key for key in self.read(JWT_KEYS)):
            self.problems.append(
                f"{SECRET_KEY.name} must not be one of {JWT_KEYS.name}: Django's key never signs tokens"
            )


def read_configuration(environ: Mapping[str, str], base_dir: Path) -> Configuration:
    """The configuration that `environ` describes; relative paths start at `base_dir`.

    Creates the data directory and the secrets that are neither given nor there. Raises ConfigurationError.
    """
    reader = _Reader(environ)
    read = reader.read
    reader.refuse_unknown()
    for variable in VARIABLES:
        read(variable)
    if not reader.problems:
        # Only then: each of these would be a second line about a variable that is named already.
        reader.refuse_contradictions()
    if reader.problems:
        raise ConfigurationError("\n".join(reader.problems))

    bind_host, bind_port = read(BIND)
    data_dir = base_dir / read(DATA_DIR)
    generated = frozenset(name for name in GENERATED_FILES if not environ.get(name, "").strip())
    if generated or not read(DATABASE_URL):
        _prepare(data_dir, with_database=not read(DATABASE_URL))
    return Configuration(
        bind_host=bind_host,
        bind_port=bind_port,
        workers=read(WORKERS),
        data_dir=data_dir,
        database_url=read(DATABASE_URL),
        redis_urls=read(REDIS_URL),
        layer_keys=read(LAYER_KEYS),
        layer_partitions=read(LAYER_PARTITIONS) or _usual_partitions(read(REDIS_URL)),
        secret_key=read(SECRET_KEY) or _generated(SECRET_KEY, data_dir, _new_secret_key),
        jwt_keys=read(JWT_KEYS) or _generated(JWT_KEYS, data_dir, _new_jwt_key),
        token_ttl_seconds=read(TOKEN_TTL_SECONDS),
        inner_allow=read(INNER_ALLOW),
        inner_api_keys=read(INNER_API_KEYS),
        trusted_proxies=read(TRUSTED_PROXIES),
        allowed_hosts=read(ALLOWED_HOSTS),
        allowed_origins=read(ALLOWED_ORIGINS),
        poll_wait_seconds=read(POLL_WAIT_SECONDS),
        sweep_seconds=read(SWEEP_SECONDS),
        max_content_bytes=read(MAX_CONTENT_BYTES),
        max_body_bytes=read(MAX_BODY_BYTES),
        outbox_bytes=read(OUTBOX_BYTES),
        max_connections_per_session=read(MAX_CONNECTIONS_PER_SESSION),
        single_login_platforms=read(SINGLE_LOGIN_PLATFORMS),
        send_rate=read(SEND_RATE),
        frame_rate=read(FRAME_RATE),
        public_join=read(PUBLIC_JOIN),
        public_create=cast(Literal["all", "self", "off"], read(PUBLIC_CREATE)),
        legacy=read(LEGACY),
        log_format=cast(Literal["console", "json"], read(LOG_FORMAT)),
        debug=read(DEBUG),
        generated=generated,
    )


def _usual_partitions(redis_urls: tuple[str, ...]) -> int:
    """One group is one publish a batch; several Redis need enough groups for each to get its share."""
    return 1 if len(redis_urls) <= 1 else min(64, PARTITIONS_PER_REDIS * len(redis_urls))


def _prepare(data_dir: Path, *, with_database: bool) -> None:
    try:
        private_files.make_private_directory(data_dir)
        if with_database:
            private_files.make_private_file(backends.sqlite_file(data_dir))
    except OSError as error:
        raise ConfigurationError(
            DATA_DIR.problem(str(data_dir), f"must be a directory that can be written to: {error.strerror}")
        ) from error


def _generated(variable: Variable[T], data_dir: Path, generate: Callable[[], str]) -> T:
    path = data_dir / GENERATED_FILES[variable.name]
    try:
        text = private_files.read_or_create_secret(path, generate)
        if not text:
            raise ValueError("is empty")
        return variable.parse(text)
    except OSError as error:
        reason = f"can be neither read nor created: {error.strerror}"
    except ValueError as error:
        reason = "is no text" if isinstance(error, UnicodeDecodeError) else str(error)
    raise ConfigurationError(f"{path} {reason}; set {variable.name} to use a value of your own instead")


def _new_secret_key() -> str:
    return secrets.token_urlsafe(48)


def _new_jwt_key() -> str:
    # In the form of QUICKIM_JWT_KEYS, so that it can be moved there when keys are first rotated.
    return f"{secrets.token_hex(4)}:{secrets.token_urlsafe(48)}"
