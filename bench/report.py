"""The report: one JSON with every round's figures, and the same as Markdown tables of medians.

Law: the Markdown says nothing that the JSON does not hold.
"""

import json
import math
from dataclasses import asdict
from pathlib import Path

from bench.plan import Result


def write(directory: Path, conditions: dict[str, str], results: list[Result]) -> list[Path]:
    """Writes both files into ``directory`` and returns their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    measured = [asdict(result) | {"medians": _medians(result)} for result in results]
    content = {
        "results.json": json.dumps({"conditions": conditions, "results": measured}, indent=2, ensure_ascii=False),
        "results.md": markdown(conditions, results),
    }
    for name, text in content.items():
        (directory / name).write_text(text + "\n", encoding="utf-8")
    return [directory / name for name in content]


def markdown(conditions: dict[str, str], results: list[Result]) -> str:
    """Conditions first, then a table for each benchmark."""
    parts = ["## Conditions", _table([["", ""], *([label, text] for label, text in conditions.items())])]
    parts += [section(result) for result in results]
    return "\n\n".join(parts)


def section(result: Result) -> str:
    """One benchmark's heading and table, or what it failed with."""
    heading = f"## {result.name}: {result.question}"
    if result.failure:
        return f"{heading}\n\nFailed, no figures:\n\n```\n{result.failure}\n```"
    # Cases may have columns of their own, such as the CPU of what stands behind the server.
    columns = max((list(case.medians()) for case in result.cases), key=len)
    rows = [["", columns[0], "least … greatest", *columns[1:]]]
    for case in result.cases:
        medians = case.medians()
        first, *others = (_figure(medians[column]) if column in medians else "" for column in columns)
        rows.append([case.label, first, " … ".join(_figure(value) for value in case.spread()), *others])
    return f"{heading}\n\n{_table(rows)}"


def _medians(result: Result) -> dict[str, dict[str, float]]:
    return {case.label: case.medians() for case in result.cases}


def _figure(value: float) -> str:
    if math.isnan(value):
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _table(rows: list[list[str]]) -> str:
    head, *body = rows
    numbers = ["---", *["---:"] * (len(head) - 1)] if len(head) > 2 else ["---"] * len(head)
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, numbers, *body])
