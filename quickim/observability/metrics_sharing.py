"""One answer for all processes of a machine: each writes its numbers into a directory, whoever is asked adds them up.

Laws: what was counted is never lost with a process that ends (its supervisor adds it to ``ended.json``), and never
counted twice; the gauges of a process that is gone, or stands still, are dropped. Without a directory (one process)
nothing is written at all. The directory is named by prometheus-client's own variable, ``PROMETHEUS_MULTIPROC_DIR``:
`serve` makes one, and whoever starts several processes by other means may give them one.
"""

import asyncio
import logging
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from quickim.observability.metrics_series import Across, Family, Histogram, Labels

logger = logging.getLogger(__name__)

DIRECTORY_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
SHARE_SECONDS = 1.0
"""How old the numbers of other processes may be."""
MAX_SHARE = 0.01
"""Of the event loop's time that may go into reading the numbers: with very many connections they get older."""
STALE_SECONDS = 30.0
REMEMBERED_ENDED = 200
_ENDED = "ended.json"

Values = dict[str, list[tuple[Labels, list[float]]]]
"""By a family's name: the labels' values and the numbers of each of its series."""

_ONE: Values = {"quickim_workers": [((), [1.0])]}
_instance = f"{os.getpid()}-{uuid.uuid4().hex[:12]}"


class _Ended(msgspec.Struct):
    """What the processes that ended had counted, and the names of their files."""

    files: list[str] = []
    values: Values = {}


def read_values() -> Values:
    """This process's numbers, now."""
    return {family.name: list(family.values().items()) for family in Family.all.values()}


@contextmanager
def shared_directory() -> Iterator[Path]:
    """A directory for the processes that are started meanwhile; removed at the end."""
    path = Path(tempfile.mkdtemp(prefix="quickim-metrics-"))
    os.environ[DIRECTORY_VARIABLE] = str(path)
    try:
        yield path
    finally:
        del os.environ[DIRECTORY_VARIABLE]
        remove_directory(path)


def directory() -> Path | None:
    """Where this process shares its numbers, if it does."""
    path = os.environ.get(DIRECTORY_VARIABLE, "")
    return Path(path) if path else None


def remove_directory(path: Path | None) -> None:
    """Its supervisor is gone, or ends."""
    if path is not None:
        shutil.rmtree(path, ignore_errors=True)


async def keep_sharing() -> None:
    """Write this process's numbers again and again; runs for ever, and a last time when it is cancelled."""
    path = directory()
    if path is None:
        return
    loop = asyncio.get_running_loop()
    try:
        while True:
            began = time.perf_counter()
            values = read_values()
            spent = time.perf_counter() - began
            try:
                await loop.run_in_executor(None, _write, path / f"{_instance}.json", values)
            except OSError as error:
                logger.warning(
                    "The metrics of this process could not be shared (%s): make room on, or access to, the directory"
                    " for temporary files.",
                    error.strerror,
                )
            await asyncio.sleep(max(SHARE_SECONDS, spent / MAX_SHARE))
    finally:
        with suppress(OSError):
            _write(path / f"{_instance}.json", read_values())


def bury(pid: int | None) -> None:
    """The process ``pid`` has ended: keep what it counted, drop its gauges. For the supervisor alone."""
    path = directory()
    if path is None or pid is None:
        return
    files = sorted(path.glob(f"{pid}-*.json"))
    if not files:
        return
    try:
        ended = _read_ended(path)
        buried = [_only_counted(values) for file in files if (values := _read(file)) is not None]
        ended.values = _merged([ended.values, *buried])
        ended.files = [*ended.files, *(file.name for file in files)][-REMEMBERED_ENDED:]
        # First there, then gone here: whoever reads meanwhile passes over the files that are named there.
        _write(path / _ENDED, ended)
        for file in files:
            file.unlink(missing_ok=True)
    except OSError as error:
        logger.warning(
            "The metrics of worker %d could not be kept (%s): make room for temporary files.", pid, error.strerror
        )


def gather(own: Values) -> Values:
    """``own`` numbers together with those of all other processes. Reads files."""
    path = directory()
    parts = [own, _ONE]
    if path is None:
        return _merged(parts)
    found = {file: _read(file) for file in path.glob("*-*.json") if not file.name.startswith(_instance)}
    # Only now: a process that was buried after its file was read is passed over.
    ended = _read_ended(path)
    for file, values in found.items():
        if values is None or file.name in ended.files:
            continue
        if _is_alive(file):
            parts += [values, _ONE]
        else:
            parts.append(_only_counted(values))
    return _merged([*parts, ended.values])


def exposition(values: Values, accept: str) -> tuple[bytes, str]:
    """``values`` in Prometheus' format, or OpenMetrics' when ``accept`` asks for it, and its content type."""
    try:
        encode, content_type = choose_encoder(accept)
    except (ValueError, TypeError):
        # What the library makes of versions that are none.
        encode, content_type = choose_encoder("")
    return encode(_Told(values)), content_type


class _Told(Collector):
    def __init__(self, values: Values) -> None:
        self._values = values

    def collect(self) -> Iterable[Metric]:
        """Prometheus' own objects."""
        for family in Family.all.values():
            yield _metric(family, self._values.get(family.name, ()))


def _metric(family: Family, series: Iterable[tuple[Labels, list[float]]]) -> Metric:
    if isinstance(family, Histogram):
        histogram = HistogramMetricFamily(family.name, family.text, labels=family.labels)
        for labels, numbers in series:
            histogram.add_metric(labels, _cumulated(family.bounds, numbers), numbers[-1])
        return histogram
    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = kind(family.name, family.text, labels=family.labels)
    for labels, (number,) in series:
        metric.add_metric(labels, number)
    return metric


def _cumulated(bounds: tuple[float, ...], numbers: list[float]) -> list[tuple[str, float]]:
    buckets, total = [], 0.0
    for bound, count in zip([*map(floatToGoString, bounds), "+Inf"], numbers[:-1], strict=True):
        total += count
        buckets.append((bound, total))
    return buckets


def _merged(parts: Iterable[Values]) -> Values:
    merged: dict[str, dict[Labels, list[float]]] = {}
    for part in parts:
        for name, series in part.items():
            family = Family.all.get(name)
            if family is None:
                # Of a process with another version, during a rolling restart.
                continue
            known = merged.setdefault(name, {})
            for labels, numbers in series:
                before = known.get(labels)
                known[labels] = numbers if before is None else _together(family.across, before, numbers)
    return {name: list(series.items()) for name, series in merged.items()}


def _together(across: Across, some: list[float], others: list[float]) -> list[float]:
    if len(some) != len(others):
        return some
    choose = _CHOICES[across]
    return [choose(pair) for pair in zip(some, others, strict=True)]


_CHOICES: dict[Across, Callable[[Iterable[float]], float]] = {"sum": sum, "min": min, "max": max}


def _only_counted(values: Values) -> Values:
    return {
        name: series
        for name, series in values.items()
        if (family := Family.all.get(name)) is not None and family.kind != "gauge"
    }


def _is_alive(file: Path) -> bool:
    try:
        os.kill(int(file.name.partition("-")[0]), 0)
        return time.time() - file.stat().st_mtime < STALE_SECONDS
    except PermissionError:
        return True
    except (OSError, ValueError, OverflowError):
        return False


def _write(path: Path, what: object) -> None:
    beside = path.with_suffix(".new")
    beside.write_bytes(msgspec.json.encode(what))
    beside.replace(path)


def _read(path: Path) -> Values | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Values)
    except (OSError, msgspec.DecodeError):
        return None


def _read_ended(path: Path) -> _Ended:
    try:
        return msgspec.json.decode((path / _ENDED).read_bytes(), type=_Ended)
    except (OSError, msgspec.DecodeError):
        return _Ended()
