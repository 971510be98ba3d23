"""compose.yaml: starts with nothing prepared, holds no secret, opens nothing but nginx, fits the code's settings."""

import os
import re
import stat
import subprocess
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import yaml
from psycopg.conninfo import conninfo_to_dict

from gateway.guard import client_address
from gateway.server.workers import DRAIN_SECONDS
from quickim.backends import POSTGRESQL_POOL
from quickim.env import VARIABLES, Configuration, read_configuration
from tests.deployment.proxy import SHIPPED
from tests.servers import ROOT

FILE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
ON_DEMAND = {name for name, service in SERVICES.items() if "profiles" in service}
"""Those that only a profile brings up."""
INNERMOST = re.compile(r"\$\{(\w+):-([^${}]*)\}")


def filled_in(value: Any, environ: Mapping[str, str]) -> str:
    """A value as Compose passes it on: ``${NAME:-default}`` replaced from the inside out, ``$$`` made one."""
    text = str(value)
    while INNERMOST.search(text):
        text = INNERMOST.sub(lambda match: environ.get(match[1]) or match[2], text)
    assert "$" not in text.replace("$$", ""), text
    return text.replace("$$", "$")


def environment(service: str, **environ: str) -> dict[str, str]:
    """What the service's own file gives it."""
    return {name: filled_in(value, environ) for name, value in SERVICES[service].get("environment", {}).items()}


def configuration(tmp_path: Path, **environ: str) -> Configuration:
    """What the server makes of that."""
    return read_configuration(environment("quickim", **environ) | {"QUICKIM_DATA_DIR": str(tmp_path)}, tmp_path)


def seconds(text: str) -> int:
    """A duration of the file."""
    return int(text.removesuffix("s"))


def test_the_server_can_read_its_settings(tmp_path: Path) -> None:
    names = set(environment("quickim"))
    assert names <= {variable.name for variable in VARIABLES}
    assert configuration(tmp_path).workers == 2
    assert configuration(tmp_path, QUICKIM_WORKERS="5").workers == 5
    assert "im.example.com" in configuration(tmp_path, QUICKIM_ALLOWED_HOSTS="im.example.com").allowed_hosts
    assert SERVICES["migrate"]["environment"] == SERVICES["quickim"]["environment"]


def test_nothing_has_to_be_set_and_no_secret_stands_in_it() -> None:
    text = (ROOT / "compose.yaml").read_text()
    assert ":?" not in text
    secret = {variable.name for variable in VARIABLES if variable.secret}
    given = {name: value for name, value in environment("quickim").items() if name in secret}
    assert given.keys() == {"QUICKIM_DATABASE_URL", "QUICKIM_REDIS_URL"}
    assert "password" not in conninfo_to_dict(given["QUICKIM_DATABASE_URL"])
    assert "@" not in given["QUICKIM_REDIS_URL"]
    assert SERVICES["quickim"]["env_file"] == [{"path": ".env", "required": False}]


def test_only_nginx_is_published_and_only_to_this_machine() -> None:
    assert {name for name, service in SERVICES.items() if "ports" in service} == {"nginx", *ON_DEMAND}
    for name in ON_DEMAND:
        assert all(filled_in(port, {}).startswith("127.0.0.1:") for port in SERVICES[name]["ports"])
    assert [filled_in(port, {}) for port in SERVICES["nginx"]["ports"]] == ["127.0.0.1:8088:80"]
    assert [filled_in(port, {"PUBLISH": "80"}) for port in SERVICES["nginx"]["ports"]] == ["80:80"]


def test_nobody_reaches_what_is_not_his() -> None:
    reach = {name: set(service.get("networks", [])) for name, service in SERVICES.items()}
    assert reach["postgres"] == reach["valkey"] == reach["migrate"] == {"back"}
    assert reach["nginx"] == {"proxy"}
    assert reach["quickim"] == {"back", "proxy", "product", "tracing"}
    assert reach["jaeger"] == {"tracing"}
    assert SERVICES["secrets"]["network_mode"] == "none"
    assert FILE["networks"]["back"]["internal"] is True
    assert FILE["networks"]["product"]["internal"] is True


def test_inner_is_open_to_the_product_and_to_nobody_behind_nginx(tmp_path: Path, settings: Any) -> None:
    read = configuration(tmp_path)
    settings.QUICKIM = read
    subnets = {
        name: ip_network(filled_in(FILE["networks"][name]["ipam"]["config"][0]["subnet"], {}))
        for name in ("proxy", "product")
    }
    assert not subnets["proxy"].overlaps(subnets["product"])
    nginx, product = (str(subnets[name][5]) for name in ("proxy", "product"))

    def admitted(peer: str, forwarded_for: str = "") -> bool:
        address = client_address(peer, forwarded_for)
        return any(address in network for network in read.inner_allow)

    assert admitted(product)
    assert not admitted(nginx)
    assert not admitted(nginx, "203.0.113.9")
    # Published ports may show their callers as the network's own gateway.
    assert not admitted(nginx, str(subnets["proxy"][1]))
    assert ip_address(nginx) in read.trusted_proxies[0]
    assert "quickim" in read.allowed_hosts


def test_every_lasting_service_is_watched_and_comes_back() -> None:
    lasting = set(SERVICES) - {"secrets", "migrate"}
    for name in lasting:
        service = SERVICES[name]
        assert service["restart"] == "unless-stopped", name
        check = service["healthcheck"]
        if name in ON_DEMAND:
            continue
        assert check["test"][0] == "CMD", name
        assert seconds(check["timeout"]) <= seconds(check["interval"]), name
    for name in ("secrets", "migrate"):
        assert SERVICES[name]["restart"] == "no"
    for service in SERVICES.values():
        assert service["logging"]["driver"] == "local"
        assert "no-new-privileges:true" in service["security_opt"]


def test_the_order_of_the_start() -> None:
    def waits_for(name: str) -> dict[str, str]:
        return {other: how["condition"] for other, how in SERVICES[name].get("depends_on", {}).items()}

    assert waits_for("postgres") == {"secrets": "service_completed_successfully"}
    assert waits_for("migrate") == {"postgres": "service_healthy"}
    assert waits_for("quickim")["migrate"] == "service_completed_successfully"
    # Stopped together with the nodes, not before them.
    assert waits_for("nginx") == {}


def test_a_node_has_time_to_drain_and_files_to_open() -> None:
    assert seconds(SERVICES["quickim"]["stop_grace_period"]) > DRAIN_SECONDS
    assert seconds(SERVICES["nginx"]["stop_grace_period"]) > DRAIN_SECONDS
    assert SERVICES["quickim"]["ulimits"]["nofile"] >= 65536
    assert SERVICES["nginx"]["ulimits"]["nofile"] >= 65536


def test_nodes_can_be_multiplied() -> None:
    assert "container_name" not in SERVICES["quickim"]
    assert "ports" not in SERVICES["quickim"]


def test_the_database_is_durable_and_takes_the_workers() -> None:
    command = SERVICES["postgres"]["command"]
    for name in ("fsync", "full_page_writes", "synchronous_commit"):
        assert f"-c {name}=on" in command
    [connections] = re.findall(r"-c max_connections=(\d+)", command)
    assert int(connections) > 2 * int(environment("quickim")["QUICKIM_WORKERS"]) * int(str(POSTGRESQL_POOL["max_size"]))
    # From 18 on, the image keeps its data one folder higher than before.
    assert SERVICES["postgres"]["image"] == "postgres:18"
    assert "postgres:/var/lib/postgresql" in SERVICES["postgres"]["volumes"]


def test_what_is_mounted_is_there() -> None:
    mounts = [mount.split(":") for service in SERVICES.values() for mount in service.get("volumes", [])]
    for source, *_ in mounts:
        assert (ROOT / source).is_file() if source.startswith(".") else source in FILE["volumes"], source
    nginx = {mount.split(":")[1] for mount in SERVICES["nginx"]["volumes"]}
    # /etc/nginx/tls stands in lines that are not in use.
    named = set(re.findall(r"^[^#\n]*?(/etc/nginx/[\w./]+)", (SHIPPED / "nginx.conf").read_text(), re.MULTILINE))
    assert named == nginx - {"/etc/nginx/nginx.conf"}


def test_the_password_is_made_once_and_only_its_readers_can_read_it(tmp_path: Path) -> None:
    [script] = SERVICES["secrets"]["command"]
    # An ordinary user cannot give files away; and the folder is ours.
    script = filled_in(script, {}).replace("chown 10001:10001", ":").replace("cd /secrets", f"cd {tmp_path}")
    made = []
    for _ in range(2):
        subprocess.run([*SERVICES["secrets"]["entrypoint"], script], check=True, env={"PATH": os.environ["PATH"]})
        made.append((tmp_path / "password").read_text())
    password = made[0]
    assert re.fullmatch(r"[0-9a-f]{64}", password)
    assert made == [password] * 2
    assert (tmp_path / "pgpass").read_text() == f"*:*:*:quickim:{password}\n"
    assert {path.name for path in tmp_path.iterdir()} == {"password", "pgpass"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}
    url = conninfo_to_dict(environment("quickim")["QUICKIM_DATABASE_URL"])
    assert (url["user"], url["passfile"]) == ("quickim", "/secrets/pgpass")
    assert SERVICES["postgres"]["environment"]["POSTGRES_PASSWORD_FILE"] == "/secrets/password"
    assert "chown 10001:10001 pgpass.new" in SERVICES["secrets"]["command"][0]
    assert "USER 10001:10001" in (ROOT / "Dockerfile").read_text()


def test_traces_are_looked_at_on_demand_only() -> None:
    assert {"jaeger"} == ON_DEMAND
    assert SERVICES["jaeger"]["profiles"] == ["tracing"]
    assert all("jaeger" not in service.get("depends_on", {}) for service in SERVICES.values())
    # Of .env, or off: what stands in `environment` would go before it.
    assert not any(name.startswith("OTEL_") for name in environment("quickim"))
