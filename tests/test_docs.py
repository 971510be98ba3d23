"""The documents say what the code does: settings, codes and paths are compared, links lead somewhere."""

import re
from itertools import takewhile
from pathlib import Path
from urllib.parse import unquote

import pytest
from django.urls import URLPattern

from quickim.env import VARIABLES
from quickim.errors import ALL_ERRORS
from quickim.urls import urlpatterns

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = ["README.md", "README.zh-CN.md", "CHANGELOG.md"]
IN_DOCS = ["architecture.md", "moving-from-quick-im-core.md", "protocol.md"]

# Put together so that this file does not hold what it forbids.
MACHINE_PATHS = [f"/{folder}/" for folder in ("work", "tmp", "root", "home", "Users")]


def text_of(name: str) -> str:
    """A document."""
    return (ROOT / name).read_text()


def all_documents() -> list[Path]:
    """Every document of the project."""
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def table_rows(text: str, first_column: str) -> list[list[str]]:
    """The cells of every row whose first cell matches, of any table; a ``\\|`` does not end a cell."""
    rows = []
    for line in text.splitlines():
        if line.strip().startswith("|"):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
            if re.fullmatch(first_column, cells[0]):
                rows.append(cells)
    return rows


def unquoted(cell: str) -> str:
    """A cell without the backticks around all of it."""
    match = re.fullmatch(r"`([^`]*)`", cell)
    return match[1] if match else cell


def settings_rows(document: str) -> dict[str, list[str]]:
    """By the variable's name: the other cells of its row."""
    rows = table_rows(text_of(document), r"`QUICKIM_[A-Z_]+`")
    names = [unquoted(row[0]) for row in rows]
    assert len(names) == len(set(names)), "a variable stands twice in the table"
    return {unquoted(row[0]): row[1:] for row in rows}


def without_code(text: str) -> str:
    """A document without its blocks of code."""
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def headings(text: str) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    found = re.findall(r"^#{1,6} +(.+?) *$", without_code(text), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).replace(" ", "-") for heading in found}


@pytest.mark.parametrize("name", [*DOCUMENTS, *(f"docs/{name}" for name in IN_DOCS)])
def test_the_document_is_there_and_has_a_title(name: str) -> None:
    assert text_of(name).startswith("# ")


def test_the_readmes_settings_table_names_every_variable_and_no_other() -> None:
    assert set(settings_rows("README.md")) == {variable.name for variable in VARIABLES}


def test_the_readmes_settings_table_says_the_defaults() -> None:
    rows = settings_rows("README.md")
    wrong = {}
    for variable in VARIABLES:
        default, *_ = rows[variable.name]
        said = unquoted(default)
        # Without a default of its own, words say what becomes of it: unset, none, generated.
        is_right = said.rstrip("/") == variable.default if variable.default else said and said == default
        if not is_right:
            wrong[variable.name] = f"says {default}, is {variable.default!r}"
    assert wrong == {}


def test_the_readmes_settings_table_says_what_each_is_for() -> None:
    assert {name for name, cells in settings_rows("README.md").items() if len(cells) != 2 or not cells[1]} == set()


def test_the_chinese_readme_names_the_same_variables() -> None:
    assert set(settings_rows("README.zh-CN.md")) == {variable.name for variable in VARIABLES}


def test_no_document_names_a_variable_that_does_not_exist() -> None:
    known = {variable.name for variable in VARIABLES}
    wrong = {
        (path.name, name)
        for path in all_documents()
        for name in re.findall(r"\bQUICKIM_(?!TEST_)[A-Z_]*[A-Z]\b", path.read_text())
        if name not in known
    }
    assert wrong == set()


def test_the_protocols_code_table_is_the_codes_own() -> None:
    documented = {
        (int(unquoted(code)), status, unquoted(text))
        for code, statuses, text, *_ in table_rows(text_of("docs/protocol.md"), r"`?\d{5}`?")
        for status in re.findall(r"\d{3}", statuses)
    }
    assert documented == {(error.code, str(error.status), error.text()) for error in ALL_ERRORS}


def test_the_protocol_names_every_path() -> None:
    text = text_of("docs/protocol.md")
    # What is included from elsewhere, such as the admin, is not ours to describe.
    paths = [f"/{pattern.pattern}" for pattern in urlpatterns if isinstance(pattern, URLPattern)]
    assert len(paths) > 20
    assert [path for path in paths if not re.search(rf"(?<![\w/]){re.escape(path)}(?![\w/])", text)] == []


@pytest.mark.parametrize("path", all_documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_lead_to_files_and_headings_that_exist(path: Path) -> None:
    text = without_code(path.read_text())
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"^\[[^\]]+\]: +(\S+)", text, flags=re.MULTILINE)
    broken = []
    for target in targets:
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = unquote(target).partition("#")
        file = path.parent / name if name else path
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in headings(file.read_text())):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("path", all_documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_document_names_a_path_of_somebodys_machine(path: Path) -> None:
    found = re.findall(r"(?<![\w.])(" + "|".join(map(re.escape, MACHINE_PATHS)) + r")\w*", path.read_text())
    assert found == []


def test_the_changelog_has_a_place_for_what_is_not_released_yet() -> None:
    lines = text_of("CHANGELOG.md").splitlines()
    before_first_release = list(takewhile(lambda line: not re.match(r"## \[?\d", line), lines))
    assert any(re.match(r"## \[?Unreleased\b", line) for line in before_first_release)
