"""Plots of a report: ``python -m bench.plots var/bench/results.json docs/performance/`` draws an SVG for each of its
questions that a curve answers.

Laws: nothing is drawn that the report does not hold; a question that was not measured has no file. A plot is one SVG
without scripts or fonts of its own, whose colours follow the reader's light or dark.
"""

import argparse
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import NamedTuple

Medians = Mapping[str, Mapping[str, float]]
"""By case, the medians of its columns."""
Curve = list[tuple[float, float]]

WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, BOTTOM = 84, 180, 52, 60
LINE = 17
_MARKS = 5
_SERIES = 6
_STYLE = """
svg{font:13px system-ui,sans-serif;background:#fff}
text{fill:#24292f}.quiet{fill:#57606a}.grid{stroke:#d0d7de}.axis{stroke:#57606a}
.s0{--own:#0969da}.s1{--own:#bc4c00}.s2{--own:#1a7f37}.s3{--own:#8250df}.s4{--own:#bf3989}.s5{--own:#6e7781}
.line{fill:none;stroke:var(--own);stroke-width:2.5;stroke-linejoin:round}circle,.name{fill:var(--own)}
@media(prefers-color-scheme:dark){
svg{background:#0d1117}text{fill:#e6edf3}.quiet{fill:#9198a1}.grid{stroke:#30363d}.axis{stroke:#9198a1}
.s0{--own:#4493f8}.s1{--own:#f0883e}.s2{--own:#3fb950}.s3{--own:#ab7df8}.s4{--own:#f778ba}.s5{--own:#9198a1}
circle,.name{fill:var(--own)}}
"""


@dataclass
class Plot:
    """Curves over a logarithmic x; y from 0 on, unless ``log_y``."""

    name: str
    title: str
    x_label: str
    y_label: str
    log_y: bool = False
    curves: dict[str, Curve] = field(default_factory=dict)

    def add(self, curve: str, x: float, y: float) -> None:
        """A point; nothing that a logarithm has no place for."""
        if x > 0 and (y > 0 or not self.log_y):
            self.curves.setdefault(curve, []).append((x, y))


class _Scale(NamedTuple):
    marks: Sequence[float]
    place: Callable[[float], float]


def plots_of(report: Mapping[str, Medians]) -> list[Plot]:
    """Of the benchmarks' medians by their names, what can be drawn."""
    plots = [_fan_out(report), _sends(report), _memory(report), _reads(report)]
    return [plot for plot in plots if plot.curves]


def svg(plot: Plot) -> str:
    """The plot as a document."""
    points = [point for curve in plot.curves.values() for point in curve]
    x_scale = _log_scale([x for x, _ in points], LEFT, WIDTH - RIGHT, every=True)
    y_values = [y for _, y in points]
    y_scale = (
        _log_scale(y_values, HEIGHT - BOTTOM, TOP) if plot.log_y else _linear_scale(y_values, HEIGHT - BOTTOM, TOP)
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>{escape(plot.title)}</title><style>{_STYLE}</style>",
        f'<text x="{LEFT}" y="26" font-size="16" font-weight="600">{escape(plot.title)}</text>',
        *_axes(plot, x_scale, y_scale),
        *_curves(plot, x_scale, y_scale),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _fan_out(report: Mapping[str, Medians]) -> Plot:
    plot = Plot(
        "fan-out",
        "Deliveries of committed messages",
        "members connected",
        "deliveries per CPU-second of the server",
        log_y=True,
    )
    for protocol in ("ws", "sse", "poll"):
        for case, medians in report.get(f"deliveries_{protocol}", {}).items():
            if found := re.fullmatch(r"([\d,]+) members?, 1 sender", case):
                plot.add(protocol, _number(found[1]), medians["deliveries per server CPU-s"])
    return plot


def _sends(report: Mapping[str, Medians]) -> Plot:
    plot = Plot("sends", "Durable sends", "senders, one call in flight each", "sends per CPU-second, database included")
    for name, protocol in (("sends_http", "HTTP"), ("sends_ws", "ws")):
        for case, medians in report.get(name, {}).items():
            if found := re.fullmatch(r"(.+), ([\d,]+) connections?", case):
                curve = f"{protocol}, {found[1].removesuffix(' and Valkey')}"
                plot.add(curve, _number(found[2]), medians["sends per CPU-s of all"])
    return plot


def _memory(report: Mapping[str, Medians]) -> Plot:
    plot = Plot("memory", "Memory of an idle connection", "connections", "KiB per connection (PSS)")
    for case, medians in report.get("idle_memory", {}).items():
        if found := re.fullmatch(r"([\d,]+) (ws|sse)", case):
            plot.add(found[2], _number(found[1]), medians["KiB per connection (PSS)"])
    return plot


def _reads(report: Mapping[str, Medians]) -> Plot:
    plot = Plot("reads", "Reads by the size of the table", "messages in the table", "CPU ms of PostgreSQL a call")
    wanted = {
        "last 30": "last 30",
        "30 before, middle of a big conversation": "30 before",
        "range of 1,000 from anywhere, oldest first": "range of 1,000",
        "connect, 100 conversations": "connect (100)",
        "resume by a poll's cursor, 100 conversations": "resume (100)",
        "first page of 500 missed in each of 3": "500 missed",
    }
    for case, medians in report.get("reads_postgres", {}).items():
        if case in wanted:
            for column, value in medians.items():
                if found := re.fullmatch(r"CPU ms at ([\d,]+)", column):
                    plot.add(wanted[case], _number(found[1]), value)
    return plot


def _number(text: str) -> float:
    return float(text.replace(",", ""))


def _log_scale(values: Sequence[float], start: float, end: float, *, every: bool = False) -> _Scale:
    """From ``start`` to ``end`` in pixels. Marks: with ``every`` the values themselves, else the powers of ten."""
    low, high = math.log10(min(values)), math.log10(max(values))
    if not every or low == high:
        low, high = math.floor(low), max(math.ceil(high), math.floor(low) + 1)
    marks = sorted(set(values)) if every else [10.0**power for power in range(int(low), int(high) + 1)]
    return _Scale(marks, lambda value: start + (math.log10(value) - low) / (high - low) * (end - start))


def _linear_scale(values: Sequence[float], start: float, end: float) -> _Scale:
    """From 0 at ``start`` to a round number at ``end``, in pixels."""
    rough = max(values) / _MARKS
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= rough)
    top = step * math.ceil(max(values) / step)
    marks = [step * number for number in range(round(top / step) + 1)]
    return _Scale(marks, lambda value: start + value / top * (end - start))


def _axes(plot: Plot, x_scale: _Scale, y_scale: _Scale) -> Iterator[str]:
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    for mark in y_scale.marks:
        y = y_scale.place(mark)
        yield f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text class="quiet" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{_figure(mark)}</text>'
    yield f'<line class="axis" x1="{LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}"/>'
    for mark in x_scale.marks:
        x = x_scale.place(mark)
        yield f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{bottom}" y2="{bottom + 5}"/>'
        yield f'<text class="quiet" x="{x:.1f}" y="{bottom + 20}" text-anchor="middle">{_figure(mark)}</text>'
    middle = (LEFT + right) / 2
    yield f'<text x="{middle:.0f}" y="{HEIGHT - 14}" text-anchor="middle">{escape(plot.x_label)}</text>'
    yield (
        f'<text transform="translate(18 {(TOP + bottom) / 2:.0f}) rotate(-90)" text-anchor="middle">'
        f"{escape(plot.y_label)}</text>"
    )


def _curves(plot: Plot, x_scale: _Scale, y_scale: _Scale) -> Iterator[str]:
    names: list[tuple[float, str, str]] = []
    for number, (name, curve) in enumerate(plot.curves.items()):
        colour = f"s{number % _SERIES}"
        places = [(x_scale.place(x), y_scale.place(y)) for x, y in sorted(curve)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        yield f'<polyline class="line {colour}" points="{path}"/>'
        for (x, y), (x_value, y_value) in zip(places, sorted(curve), strict=True):
            told = escape(f"{name}: {_figure(y_value)} at {_figure(x_value)}")
            yield f'<circle class="{colour}" cx="{x:.1f}" cy="{y:.1f}" r="4"><title>{told}</title></circle>'
        names.append((places[-1][1], name, colour))
    # Beside the curve's end, no two closer than a line of text.
    lowest = float(TOP - LINE)
    for y, name, colour in sorted(names):
        lowest = max(y, lowest + LINE)
        x = WIDTH - RIGHT + 12
        yield f'<text class="name {colour}" x="{x}" y="{lowest + 4:.1f}" font-weight="600">{escape(name)}</text>'


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.3g}"


def main() -> None:
    """Reads the report, writes the plots, and says which."""
    parser = argparse.ArgumentParser(prog="python -m bench.plots", description="Plots of a report of script/bench.")
    parser.add_argument("report", type=Path, help="results.json")
    parser.add_argument("directory", type=Path, help="where the SVGs go")
    arguments = parser.parse_args()
    results = json.loads(arguments.report.read_text(encoding="utf-8"))["results"]
    arguments.directory.mkdir(parents=True, exist_ok=True)
    for plot in plots_of({result["name"]: result["medians"] for result in results}):
        path = arguments.directory / f"{plot.name}.svg"
        path.write_text(svg(plot), encoding="utf-8")
        print(f"Written: {path}")


if __name__ == "__main__":
    main()
