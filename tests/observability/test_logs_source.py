"""Every line that the product logs, read from its source: what may stand in one, and that somebody explained it."""

import ast
import re
from pathlib import Path

import pytest

from tests.test_architecture import ROOT, sources, tree

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "exception": 40, "critical": 50, "log": 40}
SECRET = re.compile(
    r"content|token|ticket|session|authorization|header|body|params|query|password|secret|\bkeys?\b|raw|frame|payload"
)
OPERATIONS = ROOT / "docs" / "operations.md"


def calls() -> list[tuple[str, ast.Call, str]]:
    """(place, call, method) of every call of a logger."""
    return [
        (f"{path.relative_to(ROOT)}:{node.lineno}", node, node.func.attr)
        for path in sources().values()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "logger"
        and node.func.attr in LEVELS
    ]


def template(call: ast.Call) -> str:
    """The text of its template, ``""`` when it is not a constant."""
    first = call.args[0] if call.args else None
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else ""


def test_every_template_is_a_constant() -> None:
    found = calls()
    assert len(found) > 20
    assert [place for place, call, _ in found if not template(call)] == []


def test_no_argument_is_named_like_a_secret_or_a_content() -> None:
    wrong = [
        f"{place}: {ast.unparse(argument)}"
        for place, call, _ in calls()
        for argument in call.args[1:]
        # How many of something there are is no secret.
        if not ast.unparse(argument).startswith("len(") and SECRET.search(ast.unparse(argument))
    ]
    assert wrong == []


WARNINGS = [(place, template(call)) for place, call, method in calls() if LEVELS[method] >= 30]


@pytest.mark.parametrize(("place", "text"), WARNINGS, ids=[place for place, _ in WARNINGS])
def test_a_warning_ends_its_sentence_and_is_explained_in_the_operations_guide(place: str, text: str) -> None:
    assert text.endswith((".", "?")), place
    table = Path(OPERATIONS).read_text().partition("## Logs\n")[2].partition("\n## ")[0]
    explained = [
        re.escape(beginning).replace("…", r"\S+")
        for row in table.splitlines()
        for beginning in re.findall(r"`([A-Z][^`]+)`", row)
    ]
    assert any(re.match(beginning, text) for beginning in explained), f"{place}: {text}"
