"""The configuration of a deployment: its environment variables, their defaults, what they mean together.

Law: loud. A malformed variable, one that does not exist, or a combination that cannot work ends in
`ConfigurationError`, all of them in one go, before anything is touched on disk. An empty variable counts as
unset. Nothing secret is in an error or in a repr. No Django here.
"""

import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

from quickim import backends, private_files
from quickim import variables as v
from quickim.configuration import Configuration
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
USUAL_MAX_LIFE_SECONDS = 30 * 86_400
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
# Unset: thirty days, or longer where issued tokens live longer. Revocations are kept for so long.
TOKEN_MAX_LIFE_SECONDS = Variable(
    "QUICKIM_TOKEN_MAX_LIFE_SECONDS", "", v.optional(v.integer(1, 315_360_000)), "2592000"
)
JWKS_FILE = Variable("QUICKIM_JWKS_FILE", "", v.optional(v.jwks_file), "<path of a JWKS file>")
JWT_ISSUER = Variable("QUICKIM_JWT_ISSUER", "", v.names, "https://login.example.com")
JWT_AUDIENCE = Variable("QUICKIM_JWT_AUDIENCE", "", v.names, "im")
INNER_ALLOW = Variable("QUICKIM_INNER_ALLOW", "127.0.0.0/8,::1/128", v.networks, "127.0.0.0/8,10.0.0.0/8")
INNER_API_KEYS = Variable("QUICKIM_INNER_API_KEYS", "", v.api_keys, "<at least 16 random characters>", secret=True)
INNER_HMAC_KEYS = Variable(
    "QUICKIM_INNER_HMAC_KEYS", "", v.jwt_keys, "shop:<at least 32 random characters>", secret=True
)
INNER_BIND = Variable("QUICKIM_INNER_BIND", "", v.optional(v.bind), "10.0.0.5:8089")
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
MAX_CONNECTIONS_PER_ADDRESS = Variable(
    "QUICKIM_MAX_CONNECTIONS_PER_ADDRESS", "10000", v.integer(10, 10_000_000), "10000"
)
MAX_CONNECTIONS = Variable("QUICKIM_MAX_CONNECTIONS", "", v.optional(v.integer(10, 10_000_000)), "50000")
SINGLE_LOGIN_PLATFORMS = Variable("QUICKIM_SINGLE_LOGIN_PLATFORMS", "", v.platforms, "1,2")
SEND_RATE = Variable("QUICKIM_SEND_RATE", "50/s", v.rate, "50/s")
CALL_RATE = Variable("QUICKIM_CALL_RATE", "100/s", v.rate, "100/s")
HANDSHAKE_RATE = Variable("QUICKIM_HANDSHAKE_RATE", "20/s", v.rate, "20/s")
FRAME_RATE = Variable("QUICKIM_FRAME_RATE", "200/s", v.rate, "200/s")
ADDRESS_RATE = Variable("QUICKIM_ADDRESS_RATE", "1000/s", v.rate, "1000/s")
ADDRESS_HANDSHAKE_RATE = Variable("QUICKIM_ADDRESS_HANDSHAKE_RATE", "200/s", v.rate, "200/s")
# Whoever is at this machine is no attacker; and clients behind a proxy here that nobody named would all count as one.
LIMIT_EXEMPT = Variable("QUICKIM_LIMIT_EXEMPT", "127.0.0.0/8,::1/128", v.networks, "127.0.0.0/8,10.0.0.0/8")
PUBLIC_JOIN = Variable("QUICKIM_PUBLIC_JOIN", "1", v.switch, "0")
PUBLIC_CREATE = Variable("QUICKIM_PUBLIC_CREATE", "all", v.one_of("all", "self", "off"), "self")
# Unset: on where only this machine can reach it, with no proxy in front.
ADMIN = Variable("QUICKIM_ADMIN", "", v.optional(v.switch), "1")
ADMIN_HOSTS = Variable("QUICKIM_ADMIN_HOSTS", "", v.hosts, "desk.example.com")
# Unset: on for developers, and for whoever sits at this machine.
PLAYGROUND = Variable("QUICKIM_PLAYGROUND", "", v.optional(v.switch), "0")
HTTPS = Variable("QUICKIM_HTTPS", "0", v.switch, "1")
LEGACY = Variable("QUICKIM_LEGACY", "0", v.switch, "1")
LOG_FORMAT = Variable("QUICKIM_LOG_FORMAT", "console", v.one_of("console", "json"), "json")
ACCESS_LOG = Variable("QUICKIM_ACCESS_LOG", "0", v.switch, "1")
DEBUG = Variable("QUICKIM_DEBUG", "0", v.switch, "1")

VARIABLES: tuple[Variable[Any], ...] = tuple(value for value in list(globals().values()) if isinstance(value, Variable))
"""All of them, in the order of the documents."""

GENERATED_FILES = {SECRET_KEY.name: "secret_key", JWT_KEYS.name: "jwt_key"}
"""The files of the data directory that stand in for variables which are not set."""


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
        longest = self.read(TOKEN_MAX_LIFE_SECONDS)
        if longest is not None and longest < self.read(TOKEN_TTL_SECONDS):
            self.problems.append(
                f"{TOKEN_MAX_LIFE_SECONDS.name} must be at least {TOKEN_TTL_SECONDS.name}"
                f" ({self.read(TOKEN_TTL_SECONDS)}), or no token that is issued would be good"
            )
        content_bytes = self.read(MAX_CONTENT_BYTES)
        for variable in (MAX_BODY_BYTES, OUTBOX_BYTES):
            if self.read(variable) < content_bytes:
                self.problems.append(
                    f"{variable.name} must be at least {MAX_CONTENT_BYTES.name} ({content_bytes}),"
                    " or the largest allowed message could never pass"
                )
        inner_bind = self.read(INNER_BIND)
        if inner_bind is not None and inner_bind[1] == self.read(BIND)[1] and inner_bind[1] != 0:
            self.problems.append(f"{INNER_BIND.name} must have another port than {BIND.name}")
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
        token_max_life_seconds=read(TOKEN_MAX_LIFE_SECONDS) or max(USUAL_MAX_LIFE_SECONDS, read(TOKEN_TTL_SECONDS)),
        jwks_file=read(JWKS_FILE),
        jwt_issuers=read(JWT_ISSUER),
        jwt_audiences=read(JWT_AUDIENCE),
        inner_allow=read(INNER_ALLOW),
        inner_api_keys=read(INNER_API_KEYS),
        inner_hmac_keys=read(INNER_HMAC_KEYS),
        inner_bind=read(INNER_BIND),
        trusted_proxies=read(TRUSTED_PROXIES),
        allowed_hosts=read(ALLOWED_HOSTS),
        allowed_origins=read(ALLOWED_ORIGINS),
        poll_wait_seconds=read(POLL_WAIT_SECONDS),
        sweep_seconds=read(SWEEP_SECONDS),
        max_content_bytes=read(MAX_CONTENT_BYTES),
        max_body_bytes=read(MAX_BODY_BYTES),
        outbox_bytes=read(OUTBOX_BYTES),
        max_connections_per_session=read(MAX_CONNECTIONS_PER_SESSION),
        max_connections_per_address=read(MAX_CONNECTIONS_PER_ADDRESS),
        max_connections=read(MAX_CONNECTIONS),
        single_login_platforms=read(SINGLE_LOGIN_PLATFORMS),
        send_rate=read(SEND_RATE),
        call_rate=read(CALL_RATE),
        handshake_rate=read(HANDSHAKE_RATE),
        frame_rate=read(FRAME_RATE),
        address_rate=read(ADDRESS_RATE),
        address_handshake_rate=read(ADDRESS_HANDSHAKE_RATE),
        limit_exempt=read(LIMIT_EXEMPT),
        public_join=read(PUBLIC_JOIN),
        public_create=cast(Literal["all", "self", "off"], read(PUBLIC_CREATE)),
        admin=_admin(read(ADMIN), bind_host, read(TRUSTED_PROXIES)),
        admin_hosts=read(ADMIN_HOSTS),
        playground=_playground(read(PLAYGROUND), bind_host, read(TRUSTED_PROXIES), debug=read(DEBUG)),
        https=read(HTTPS),
        legacy=read(LEGACY),
        log_format=cast(Literal["console", "json"], read(LOG_FORMAT)),
        access_log=read(ACCESS_LOG),
        debug=read(DEBUG),
        generated=generated,
    )


def _admin(switched: bool | None, bind_host: str, trusted_proxies: tuple[Network, ...]) -> bool:
    """As switched; else only where nobody outside of this machine comes to the door."""
    return v.is_loopback(bind_host) and not trusted_proxies if switched is None else switched


def _playground(
    switched: bool | None, bind_host: str, trusted_proxies: tuple[Network, ...], *, debug: bool
) -> Literal["off", "local", "on"]:
    """As switched, or on with the debug pages; else local, where the support desk would be on as well."""
    if switched is not None or debug:
        return "off" if switched is False else "on"
    return "local" if _admin(None, bind_host, trusted_proxies) else "off"


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
