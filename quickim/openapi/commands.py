"""The operations of the document as curl lines, for a shell in which BASE and TOKEN are set."""

import json
import shlex
from typing import Any
from urllib.parse import urlencode


def access(security: list[dict[str, Any]]) -> str:
    """Who may call: ``open`` to all, with a ``token``, or the ``inner`` guard."""
    if not security:
        return "open"
    return "inner" if {} in security else "token"


def shown(value: Any) -> str:
    """``value`` for reading: text as it is, all else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)


def curl_lines(path: str, operation: dict[str, Any], example: Any) -> list[str]:
    """Commands for a shell in which BASE and TOKEN are set."""
    token = ' \\\n  -H "Authorization: Bearer $TOKEN"' if access(operation["security"]) == "token" else ""
    if path == "/notify":
        since = operation["parameters"][1]["example"]
        queries = ({"protoc": "sse"}, {"protoc": "poll"}, {"protoc": "poll", "since": since})
        return [f'curl -N "$BASE{path}?{urlencode(query)}"{token}' for query in queries]
    if example is not None:
        return [f"curl $BASE{path}{token} \\\n  -d {shlex.quote(shown(example))}"]
    post = " -X POST" if token else ""
    return [f"curl{post} $BASE{path}{token}"]
