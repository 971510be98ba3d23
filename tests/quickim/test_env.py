"""The environment as a deployment writes it: what each variable means, and what is said about a wrong one."""

from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path

import pytest

from quickim.env import VARIABLES, Configuration, ConfigurationError, JwtKey, Rate, read_configuration

KEY = "0123456789abcdef0123456789abcdef"
OTHER_KEY = "fedcba9876543210fedcba9876543210"


def configure(tmp_path: Path, **variables: str) -> Configuration:
    """The configuration of an environment with these QUICKIM_ variables."""
    return read_configuration({f"QUICKIM_{name}": value for name, value in variables.items()}, tmp_path)


def problems(tmp_path: Path, environ: Mapping[str, str]) -> list[str]:
    """The lines with which this environment is refused."""
    with pytest.raises(ConfigurationError) as refused:
        read_configuration(environ, tmp_path)
    return str(refused.value).split("\n")


def test_an_empty_environment_means_the_documented_defaults(tmp_path: Path) -> None:
    configuration = read_configuration({}, tmp_path)
    assert (configuration.bind_host, configuration.bind_port, configuration.workers) == ("127.0.0.1", 8088, 1)
    assert configuration.data_dir == tmp_path / "var"
    assert configuration.database_url is None
    assert configuration.redis_urls == ()
    assert configuration.token_ttl_seconds == 86400
    assert configuration.inner_allow == (ip_network("127.0.0.0/8"), ip_network("::1/128"))
    assert configuration.inner_api_keys == ()
    assert configuration.trusted_proxies == ()
    assert configuration.allowed_hosts == ("localhost", "127.0.0.1", "[::1]")
    assert configuration.allowed_origins == ()
    assert (configuration.poll_wait_seconds, configuration.sweep_seconds) == (25.0, 2.0)
    assert (configuration.max_content_bytes, configuration.max_body_bytes) == (65536, 2097152)
    assert (configuration.outbox_bytes, configuration.max_connections_per_session) == (1048576, 32)
    assert 1 not in configuration.single_login_platforms
    assert configuration.send_rate == Rate(50.0, 200)
    assert configuration.frame_rate == Rate(200.0, 800)
    assert (configuration.public_join, configuration.public_create) == (True, "all")
    assert (configuration.legacy, configuration.log_format, configuration.debug) == (False, "console", False)
    assert configuration.generated == {"QUICKIM_SECRET_KEY", "QUICKIM_JWT_KEYS"}


@pytest.mark.parametrize(
    ("variables", "is_served"),
    [
        ({}, True),
        ({"BIND": "[::1]:80"}, True),
        ({"BIND": "localhost:80"}, True),
        ({"BIND": "0.0.0.0:80"}, False),
        ({"BIND": "10.0.0.7:80"}, False),
        ({"TRUSTED_PROXIES": "127.0.0.1"}, False),
        ({"BIND": "0.0.0.0:80", "ADMIN": "1"}, True),
        ({"TRUSTED_PROXIES": "127.0.0.1", "ADMIN": "1"}, True),
        ({"ADMIN": "0"}, False),
    ],
)
def test_the_desk_is_served_unasked_only_where_nobody_outside_can_come(
    tmp_path: Path, variables: dict[str, str], is_served: bool
) -> None:
    assert configure(tmp_path, **variables).admin is is_served


@pytest.mark.parametrize(
    ("variables", "playground"),
    [
        ({}, "local"),
        ({"BIND": "[::1]:80"}, "local"),
        ({"BIND": "0.0.0.0:80"}, "off"),
        ({"TRUSTED_PROXIES": "127.0.0.1"}, "off"),
        ({"BIND": "0.0.0.0:80", "DEBUG": "1"}, "on"),
        ({"BIND": "0.0.0.0:80", "PLAYGROUND": "1"}, "on"),
        ({"PLAYGROUND": "0"}, "off"),
        ({"PLAYGROUND": "0", "DEBUG": "1"}, "off"),
    ],
)
def test_the_playground_is_there_for_whom_it_is_meant(
    tmp_path: Path, variables: dict[str, str], playground: str
) -> None:
    assert configure(tmp_path, **variables).playground == playground


def test_an_empty_variable_is_an_unset_one(tmp_path: Path) -> None:
    assert configure(tmp_path, WORKERS="", BIND="  ", INNER_ALLOW="") == read_configuration({}, tmp_path)


def test_every_default_and_every_secret_free_example_is_accepted_by_its_own_variable() -> None:
    for variable in VARIABLES:
        variable.parse(variable.default)
        # A file has to be there.
        if "<" not in variable.example and variable.name != "QUICKIM_JWKS_FILE":
            variable.parse(variable.example)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("0.0.0.0:80", "0.0.0.0", 80), ("[::1]:8088", "::1", 8088), ("im.internal:0", "im.internal", 0)],
)
def test_an_address_and_a_port_can_be_bound(tmp_path: Path, text: str, host: str, port: int) -> None:
    configuration = configure(tmp_path, BIND=text)
    assert (configuration.bind_host, configuration.bind_port) == (host, port)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("50/s", Rate(50, 200)), ("0.5/s", Rate(0.5, 2)), ("0.1/s", Rate(0.1, 1)), ("off", None)],
)
def test_a_rate_allows_a_burst_of_four_seconds(tmp_path: Path, text: str, expected: Rate | None) -> None:
    assert configure(tmp_path, SEND_RATE=text, FRAME_RATE=text).send_rate == expected


def test_platforms_are_listed_or_all(tmp_path: Path) -> None:
    listed = configure(tmp_path, SINGLE_LOGIN_PLATFORMS="1, 32767").single_login_platforms
    assert [1 in listed, 2 in listed, 32767 in listed] == [True, False, True]
    assert 2 in configure(tmp_path, SINGLE_LOGIN_PLATFORMS="*").single_login_platforms


def test_origins_are_kept_in_the_form_in_which_browsers_send_them(tmp_path: Path) -> None:
    text = "HTTPS://App.Example.com:443, http://localhost:3000,http://[::1]:80"
    assert configure(tmp_path, ALLOWED_ORIGINS=text).allowed_origins == (
        "https://app.example.com",
        "http://localhost:3000",
        "http://[::1]",
    )
    assert configure(tmp_path, ALLOWED_ORIGINS="*").allowed_origins == ("*",)


def test_the_first_jwt_key_comes_first_and_a_key_may_hold_a_colon(tmp_path: Path) -> None:
    keys = configure(tmp_path, JWT_KEYS=f"b:{KEY}:x, a:{OTHER_KEY}").jwt_keys
    assert keys == (JwtKey("b", f"{KEY}:x"), JwtKey("a", OTHER_KEY))


def test_the_configuration_can_be_printed_without_its_secrets(tmp_path: Path) -> None:
    configuration = configure(
        tmp_path,
        SECRET_KEY="hush-hush-" * 4,
        JWT_KEYS="kid:" + "hush-hush!" * 4,
        INNER_API_KEYS="hush-hush-hush-hush",
        DATABASE_URL="postgres://user:hush-hush@db/quickim",
        REDIS_URL="redis://:hush-hush@cache",
    )
    assert "hush" not in repr(configuration)


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    lines = problems(tmp_path, {"QUICKIM_BIND": "here", "QUICKIM_WORKERS": "many", "QUICKIM_PORT": "80"})
    assert [line.split()[0] for line in lines] == ["'QUICKIM_PORT'", "QUICKIM_BIND", "QUICKIM_WORKERS"]


def test_an_unknown_variable_is_refused_with_the_one_that_was_probably_meant(tmp_path: Path) -> None:
    (line,) = problems(tmp_path, {"QUICKIM_WORKER": "2"})
    assert line == "'QUICKIM_WORKER' is no variable of quickim; did you mean QUICKIM_WORKERS?"


def test_variables_of_the_tests_and_of_others_are_passed_over(tmp_path: Path) -> None:
    read_configuration({"QUICKIM_TEST_ANYTHING": "1", "PATH": "/bin", "quickim_workers": "x"}, tmp_path)


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({}, "QUICKIM_DATABASE_URL and QUICKIM_REDIS_URL"),
        ({"QUICKIM_REDIS_URL": "redis://cache"}, "QUICKIM_DATABASE_URL"),
        ({"QUICKIM_DATABASE_URL": "postgres://db/quickim"}, "QUICKIM_REDIS_URL"),
    ],
)
def test_several_workers_need_postgresql_and_redis(tmp_path: Path, given: dict[str, str], missing: str) -> None:
    (line,) = problems(tmp_path, {"QUICKIM_WORKERS": "2", **given})
    assert line.endswith(f"missing: {missing}")


def test_several_workers_are_fine_with_postgresql_and_redis(tmp_path: Path) -> None:
    urls = {"DATABASE_URL": "postgres://db/quickim", "REDIS_URL": "redis://a, redis://b"}
    configuration = configure(tmp_path, WORKERS="2", **urls)
    assert (configuration.workers, configuration.redis_urls) == (2, ("redis://a", "redis://b"))


@pytest.mark.parametrize(
    ("given", "partitions"),
    [
        ({}, 1),
        ({"REDIS_URL": "redis://a"}, 1),
        ({"REDIS_URL": "redis://a,redis://b"}, 16),
        ({"REDIS_URL": "redis://a,redis://b", "LAYER_PARTITIONS": "4"}, 4),
    ],
)
def test_several_redis_get_enough_groups_to_share(tmp_path: Path, given: dict[str, str], partitions: int) -> None:
    assert configure(tmp_path, **given).layer_partitions == partitions


@pytest.mark.parametrize("name", ["QUICKIM_MAX_BODY_BYTES", "QUICKIM_OUTBOX_BYTES"])
def test_the_largest_message_must_pass_through_body_and_outbox(tmp_path: Path, name: str) -> None:
    (line,) = problems(tmp_path, {name: "65535"})
    assert line.startswith(f"{name} must be at least QUICKIM_MAX_CONTENT_BYTES (65536)")


def test_djangos_key_never_signs_tokens(tmp_path: Path) -> None:
    (line,) = problems(tmp_path, {"QUICKIM_SECRET_KEY": KEY, "QUICKIM_JWT_KEYS": f"a:{OTHER_KEY},b:{KEY}"})
    assert line.startswith("QUICKIM_SECRET_KEY must not be one of QUICKIM_JWT_KEYS")
    assert KEY not in line


def test_the_longest_life_of_a_token_is_thirty_days_or_that_of_issued_ones(tmp_path: Path) -> None:
    def longest(**variables: str) -> int:
        return configure(tmp_path, **variables).token_max_life_seconds

    assert longest() == 2_592_000
    assert longest(TOKEN_TTL_SECONDS="5000000") == 5_000_000
    assert longest(TOKEN_MAX_LIFE_SECONDS="86400") == 86_400
    (line,) = problems(tmp_path, {"QUICKIM_TOKEN_MAX_LIFE_SECONDS": "86399"})
    assert line.startswith("QUICKIM_TOKEN_MAX_LIFE_SECONDS must be at least QUICKIM_TOKEN_TTL_SECONDS (86400)")


def test_issuers_and_audiences_are_lists_of_names(tmp_path: Path) -> None:
    configuration = configure(tmp_path, JWT_ISSUER="https://a.example/, b", JWT_AUDIENCE="im")
    assert configuration.jwt_issuers == ("https://a.example/", "b")
    assert configuration.jwt_audiences == ("im",)
    assert (configure(tmp_path).jwt_issuers, configure(tmp_path).jwks_file) == ((), None)
