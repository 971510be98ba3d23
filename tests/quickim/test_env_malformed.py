"""What is said about a malformed variable: which one, on one line, with a right value, and never the secret in it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quickim.env import VARIABLES
from quickim.variables import Variable
from tests.quickim.test_env import KEY, OTHER_KEY, problems

MALFORMED = [
    ("BIND", "8088"),
    ("BIND", ":8088"),
    ("BIND", "::1:8088"),
    ("BIND", "[host]x:80"),
    ("BIND", "127.0.0.1:65536"),
    ("WORKERS", "0"),
    ("WORKERS", "two"),
    ("WORKERS", "1_0"),
    ("DATA_DIR", "~no-such-user-here/var"),
    ("DATABASE_URL", "mysql://db/quickim"),
    ("DATABASE_URL", "postgres://db"),
    ("DATABASE_URL", "postgres://db:port/quickim"),
    ("DATABASE_URL", "postgres://db:65536/quickim"),
    ("DATABASE_URL", "postgres://db/quickim?sslmod=require"),
    ("DATABASE_URL", "postgres://user:50%@db/quickim"),
    ("REDIS_URL", "localhost:6379"),
    ("REDIS_URL", "redis://"),
    ("REDIS_URL", "redis://cache/zero"),
    ("REDIS_URL", "redis://cache:99999/0"),
    ("REDIS_URL", "redis://cache/0?unknown=1"),
    ("REDIS_URL", "redis://cache/0,http://cache"),
    ("LAYER_KEYS", "short"),
    ("LAYER_KEYS", "long-enough-to-encrypt-what-is-published,short"),
    ("LAYER_PARTITIONS", "0"),
    ("LAYER_PARTITIONS", "65"),
    ("LAYER_PARTITIONS", "all"),
    ("SECRET_KEY", "short"),
    ("JWT_KEYS", KEY),
    ("JWT_KEYS", "a:short"),
    ("JWT_KEYS", f"a:{KEY},a:{OTHER_KEY}"),
    ("JWT_KEYS", f"no spaces:{KEY}"),
    ("TOKEN_TTL_SECONDS", "0"),
    ("TOKEN_TTL_SECONDS", "1e5"),
    ("TOKEN_MAX_LIFE_SECONDS", "0"),
    ("TOKEN_MAX_LIFE_SECONDS", "30d"),
    ("JWKS_FILE", "no/such/file.json"),
    ("JWKS_FILE", "."),
    ("JWT_ISSUER", "two words"),
    ("JWT_AUDIENCE", "é"),
    ("INNER_ALLOW", "10.0.0.1/8"),
    ("INNER_ALLOW", "10.0.0.0/33"),
    ("INNER_ALLOW", "localhost"),
    ("INNER_API_KEYS", "short"),
    ("INNER_HMAC_KEYS", KEY),
    ("INNER_HMAC_KEYS", "a:short"),
    ("INNER_BIND", "8089"),
    ("HTTPS", "yes"),
    ("INNER_API_KEYS", "sixteen characters with spaces"),
    ("TRUSTED_PROXIES", "proxy"),
    ("ALLOWED_HOSTS", "https://im.example.com"),
    ("ALLOWED_HOSTS", "im.example.com:8088"),
    ("ALLOWED_HOSTS", "::1"),
    ("ALLOWED_ORIGINS", "app.example.com"),
    ("ALLOWED_ORIGINS", "https://app.example.com/"),
    ("ALLOWED_ORIGINS", "https://*.example.com"),
    ("ALLOWED_ORIGINS", "*,https://app.example.com"),
    ("ALLOWED_ORIGINS", "https://app.example.com:port"),
    ("POLL_WAIT_SECONDS", "-1"),
    ("POLL_WAIT_SECONDS", "nan"),
    ("SWEEP_SECONDS", "6"),
    ("MAX_CONTENT_BYTES", "0"),
    ("MAX_BODY_BYTES", "2MB"),
    ("OUTBOX_BYTES", "1"),
    ("MAX_CONNECTIONS_PER_SESSION", "0"),
    ("MAX_CONNECTIONS_PER_ADDRESS", "0"),
    ("MAX_CONNECTIONS", "many"),
    ("CALL_RATE", "0/s"),
    ("HANDSHAKE_RATE", "fast"),
    ("ADDRESS_RATE", "50"),
    ("ADDRESS_HANDSHAKE_RATE", "50/m"),
    ("LIMIT_EXEMPT", "localhost"),
    ("SINGLE_LOGIN_PLATFORMS", "32768"),
    ("SINGLE_LOGIN_PLATFORMS", "web"),
    ("SEND_RATE", "50"),
    ("SEND_RATE", "0/s"),
    ("FRAME_RATE", "50/m"),
    ("CALL_RATE", "100"),
    ("HANDSHAKE_RATE", "0/s"),
    ("ADDRESS_RATE", "1000/m"),
    ("ADDRESS_HANDSHAKE_RATE", "-1/s"),
    ("LIMIT_EXEMPT", "everybody"),
    ("MAX_CONNECTIONS_PER_ADDRESS", "0"),
    ("MAX_CONNECTIONS", "many"),
    ("INNER_HMAC_KEYS", "shop"),
    ("INNER_HMAC_KEYS", "shop:short"),
    ("INNER_BIND", "10.0.0.5"),
    ("ADMIN_HOSTS", "https://desk.example.com"),
    ("HTTPS", "yes"),
    ("PUBLIC_JOIN", "yes"),
    ("PUBLIC_CREATE", "none"),
    ("ADMIN", "yes"),
    ("ADMIN_HOSTS", "https://admin.example.com"),
    ("PLAYGROUND", "local"),
    ("LEGACY", "true"),
    ("LOG_FORMAT", "text"),
    ("ACCESS_LOG", "on"),
    ("DEBUG", "on"),
]


@pytest.mark.parametrize(("name", "text"), MALFORMED)
def test_a_malformed_variable_is_named_on_one_line_with_a_right_value(tmp_path: Path, name: str, text: str) -> None:
    (line,) = problems(tmp_path, {f"QUICKIM_{name}": text})
    assert line.startswith(f"QUICKIM_{name} must ")
    assert f"; a right value: QUICKIM_{name}=" in line
    assert not (tmp_path / "var").exists(), "a refused start leaves nothing behind"


def test_every_variable_can_be_malformed() -> None:
    assert {f"QUICKIM_{name}" for name, _ in MALFORMED} == {variable.name for variable in VARIABLES}


@given(variable=st.sampled_from(VARIABLES), text=st.text(st.characters(exclude_characters="\0")))
def test_any_text_is_either_read_or_refused_on_one_line(variable: Variable[object], text: str) -> None:
    def refusal() -> str:
        try:
            variable.parse(text.strip())
        except ValueError as reason:
            return variable.problem(text, reason)
        return "read"

    assert len(refusal().splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("SECRET_KEY", "hush-hush"),
        ("JWT_KEYS", "kid:hush-hush"),
        ("INNER_API_KEYS", "hush-hush"),
        ("DATABASE_URL", "postgres://user:hush-hush@db"),
        ("DATABASE_URL", "postgres://user:hush-hush%@db/quickim"),
        ("DATABASE_URL", "postgres://user:hush hush@db/quickim"),
        ("REDIS_URL", "redis://:hush-hush@cache/0?unknown=1"),
        ("REDIS_URL", "redis://:hush-hush@cache:port"),
    ],
)
def test_a_refusal_never_repeats_a_secret(tmp_path: Path, name: str, text: str) -> None:
    (line,) = problems(tmp_path, {f"QUICKIM_{name}": text})
    assert "hush" not in line
