"""The architecture as rules on the source: imports go down only, and a few things happen in one file only.

    roof            settings, urls, asgi, checks, health, pages, env, openapi, …   plugs everything together
      gateway
        messaging
          conversations
            ground  quickim.errors, rest, observability, bundles, database, tasks, console

Read from the syntax tree, function-level imports included: importing the modules would prove less.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("quickim", "conversations", "messaging", "gateway")
GROUND = (
    "quickim.errors",
    "quickim.rest",
    "quickim.observability",
    "quickim.bundles",
    "quickim.database",
    "quickim.tasks",
    "quickim.console",
)
FLOORS = ("ground", "conversations", "messaging", "gateway", "roof")
LONGEST_FILE_LINES = 350


@cache
def sources() -> dict[str, Path]:
    """Every module of the product by its dotted name, migrations left out: Django writes them."""
    found = {}
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            if "migrations" not in parts:
                found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    assert len(found) > 50
    return found


def tree(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text(), str(path))


def floor(module: str) -> str:
    """The floor on which a module of the product lives."""
    if any(module == ground or module.startswith(f"{ground}.") for ground in GROUND):
        return "ground"
    room = module.partition(".")[0]
    return "roof" if room == "quickim" else room


def imports(module: str, path: Path) -> Iterator[tuple[str, int]]:
    """(module of the product, line) of every import in a file, wherever it stands."""
    known = sources()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            base = node.module or ""
            # ``from package import module`` names a module, ``from module import name`` does not.
            names = [f"{base}.{a.name}" if f"{base}.{a.name}" in known else base for a in node.names]
        else:
            continue
        for name in names:
            if name.partition(".")[0] in ROOMS and name != "quickim":
                yield name, node.lineno


def test_imports_only_go_down() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {floor(module)} imports {name} of the {floor(name)}"
        for module, path in sources().items()
        for name, line in imports(module, path)
        if FLOORS.index(floor(name)) > FLOORS.index(floor(module))
    ]
    assert wrong == []


def test_the_roof_is_imported_by_nothing_below_it() -> None:
    importers = {
        module
        for module, path in sources().items()
        for name, _ in imports(module, path)
        if floor(name) == "roof" and floor(module) != "roof"
    }
    assert importers == set()


def test_every_import_of_the_product_leads_to_a_module() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for module, path in sources().items()
        for name, line in imports(module, path)
        if name not in sources()
    ]
    assert wrong == []


def _cycle_from(graph: dict[str, set[str]], start: str) -> list[str] | None:
    """A way from ``start`` back to it."""
    ways, seen = [[start]], {start}
    while ways:
        way = ways.pop()
        for following in sorted(graph[way[-1]]):
            if following == start:
                return [*way, start]
            if following not in seen:
                seen.add(following)
                ways.append([*way, following])
    return None


def _is_for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def test_no_two_modules_import_each_other() -> None:
    graph: dict[str, set[str]] = {}
    for module, path in sources().items():
        typing_lines = {
            inner.lineno
            for node in ast.walk(tree(path))
            if _is_for_types_only(node)
            for inner in ast.walk(node)
            if isinstance(inner, ast.Import | ast.ImportFrom)
        }
        graph[module] = {name for name, line in imports(module, path) if line not in typing_lines and name in sources()}
    cycles = [" → ".join(cycle) for module in graph if (cycle := _cycle_from(graph, module))]
    assert cycles == []


def files_that_use(name: str) -> set[str]:
    """Files of the product in which ``name`` is imported, called or reached as an attribute."""
    found = set()
    for path in sources().values():
        for node in ast.walk(tree(path)):
            names = {
                ast.Name: lambda n: [n.id],
                ast.Attribute: lambda n: [n.attr],
                ast.ImportFrom: lambda n: [alias.name for alias in n.names],
            }.get(type(node), lambda n: [])(node)
            if name in names:
                found.add(str(path.relative_to(ROOT)))
    return found


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("get_channel_layer", {"gateway/layer.py"}),
        ("create_task", {"quickim/tasks.py"}),
        ("ensure_future", set()),
        ("send_event", set()),
        ("sync_to_async", set()),
        ("database_sync_to_async", set()),
        ("to_thread", set()),
        ("post_save", set()),
        ("receiver", set()),
    ],
)
def test_it_is_used_in_its_one_file_only(name: str, where: set[str]) -> None:
    assert files_that_use(name) <= where


def test_what_has_one_file_is_used_there() -> None:
    assert files_that_use("get_channel_layer") == {"gateway/layer.py"}
    assert files_that_use("create_task") == {"quickim/tasks.py"}


def test_nothing_prints_but_commands() -> None:
    printing = {
        str(path.relative_to(ROOT))
        for path in sources().values()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    }
    assert {path for path in printing if "/management/commands/" not in path} == set()


def all_python() -> list[Path]:
    """The product's, the benchmarks' and the tests' own files."""
    folders = [ROOT / folder for folder in (*ROOMS, "bench", "tests")]
    return [ROOT / "manage.py", *(path for folder in folders for path in sorted(folder.rglob("*.py")))]


def test_every_file_can_be_read_in_one_sitting() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in all_python()}
    assert {path: lines for path, lines in lengths.items() if lines > LONGEST_FILE_LINES} == {}


def test_every_module_says_what_it_owns() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in all_python()
        if path.read_text().strip() and "migrations" not in path.parts and not ast.get_docstring(tree(path))
    ]
    assert silent == []


def test_no_file_is_a_drawer_for_everything() -> None:
    drawers = {"utils", "helpers", "common", "misc", "manager", "data", "info"}
    assert [str(path) for path in all_python() if path.stem in drawers] == []
