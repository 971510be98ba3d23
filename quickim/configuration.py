"""What the variables of a deployment say, typed; see quickim.env. No Django here."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from quickim.variables import JwtKey, Network, Platforms, Rate


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
    token_max_life_seconds: int
    jwks_file: Path | None
    jwt_issuers: tuple[str, ...]
    jwt_audiences: tuple[str, ...]
    inner_allow: tuple[Network, ...]
    inner_api_keys: tuple[str, ...] = field(repr=False)
    inner_hmac_keys: tuple[JwtKey, ...]
    """By which requests to /inner/* are signed, each named by its ``kid``."""
    inner_bind: tuple[str, int] | None
    trusted_proxies: tuple[Network, ...]
    allowed_hosts: tuple[str, ...]
    allowed_origins: tuple[str, ...]
    poll_wait_seconds: float
    sweep_seconds: float
    max_content_bytes: int
    max_body_bytes: int
    outbox_bytes: int
    max_connections_per_session: int
    max_connections_per_address: int
    max_connections: int | None
    """Of this process; None: what the limit of open files leaves."""
    single_login_platforms: Platforms
    send_rate: Rate | None
    call_rate: Rate | None
    handshake_rate: Rate | None
    frame_rate: Rate | None
    address_rate: Rate | None
    address_handshake_rate: Rate | None
    limit_exempt: tuple[Network, ...]
    """Addresses that the limits for an address do not concern."""
    public_join: bool
    public_create: Literal["all", "self", "off"]
    admin: bool
    """Whether the support desk is served at /admin/."""
    admin_hosts: tuple[str, ...]
    """Names by which the desk is served; none: by all of ``allowed_hosts``."""
    playground: Literal["off", "local", "on"]
    """Whether the playground is served at /; local: to this machine only, under a name of the loopback."""
    https: bool
    """Whether browsers come over TLS only."""
    legacy: bool
    log_format: Literal["console", "json"]
    access_log: bool
    debug: bool
    generated: frozenset[str]
    """Names of the variables whose value was generated into the data directory."""
