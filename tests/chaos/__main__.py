"""The command: ``python -m tests.chaos``. Exits with 1 when a rule was broken, or a planted bug not found."""

import argparse
import sys
from itertools import chain
from pathlib import Path

from tests.chaos.lanes import Job, work
from tests.chaos.planting.table import EXPECTED
from tests.chaos.report import Report
from tests.chaos.scenarios import SCENARIOS

BUG_SEEDS = 3


def main() -> int:
    """Runs what the arguments say."""
    parser = argparse.ArgumentParser(prog="script/chaos", description="Real processes, real faults, exact rules.")
    parser.add_argument("--scenario", action="append", choices=list(SCENARIOS), help="may be repeated")
    parser.add_argument("--all", action="store_true", help="all scenarios")
    parser.add_argument("--seed", type=int, default=1, help="the first seed (default %(default)s)")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds of each (default %(default)s)")
    parser.add_argument("--seconds", type=float, help="of faults, instead of each scenario's own")
    parser.add_argument("--bugs", action="store_true", help="plant each bug: it must be found within three seeds")
    parser.add_argument("--bug", action="append", choices=EXPECTED, help="plant this one; may be repeated")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time (default %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("var/chaos"), help="where runs leave what they saw")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    names = list(SCENARIOS) if options.all else options.scenario or []
    bugs = list(EXPECTED) if options.bugs else options.bug or []
    if not names and not bugs:
        parser.error("say --all, --scenario, --bugs or --bug")
    seeds = range(options.seed, options.seed + options.seeds)
    jobs = [Job(name, (seed,), options.seconds) for seed in seeds for name in names]
    jobs += [
        Job(EXPECTED[bug].scenario, tuple(range(options.seed, options.seed + BUG_SEEDS)), options.seconds, bug)
        for bug in bugs
    ]
    report = Report(options.out)
    alone = [job for job in jobs if SCENARIOS[job.scenario].is_alone]
    shared = [job for job in jobs if job not in alone]
    for outcome in chain(work(shared, options.jobs, options.out), work(alone, 1, options.out)):
        report.add(outcome)
    return report.close()


if __name__ == "__main__":
    sys.exit(main())
