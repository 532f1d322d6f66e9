"""
The hostile input with a large budget: rounds of the tests, each from a seed of its own, until the time is up.

``python test/hostile/fuzz.py --seconds 3600`` ends with 1 at the first round that fails, and says how to repeat it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]


def main() -> int:
    """Run the command line; returns 1 if a round failed."""
    parser = argparse.ArgumentParser(description="Try hostile input until the time is up.")
    parser.add_argument("--seconds", type=float, default=3600.0, help="how long (default %(default)g)")
    parser.add_argument("--seed", type=int, default=None, help="repeat the one round of this seed")
    parser.add_argument("tests", nargs="*", default=[str(HERE)], help="files of tests (default: all)")
    options = parser.parse_args()
    deadline, rounds, figures = time.monotonic() + options.seconds, 0, {}
    number = random.randrange(10**9) if options.seed is None else options.seed
    while True:
        rounds += 1
        print(f"round {rounds}, seed {number}", flush=True)
        failed = _round(options.tests, number, figures)
        if failed:
            print(f"the round of seed {number} failed; repeat it with: make fuzz SEED={number}")
        if failed or options.seed is not None or time.monotonic() > deadline:
            _print(figures, rounds)
            return int(failed)
        number += 1


def _round(tests: list[str], number: int, total: dict) -> bool:
    """Run the tests once, and add what they came to; returns whether one failed."""
    with tempfile.TemporaryDirectory() as folder:
        figures = Path(folder) / "figures.json"
        environment = {
            **os.environ,
            "FUZZ_FIGURES": str(figures),
            "PYTHONPATH": str(REPOSITORY),
            "ROS_PYTHON_CHECK_FIELDS": "1",
            # Memory that is freed goes back to the system, so that the peak of each call is seen.
            "MALLOC_MMAP_THRESHOLD_": "131072",
            "MALLOC_TRIM_THRESHOLD_": "131072",
        }
        command = [sys.executable, "-m", "pytest", "-q", "-x", f"--hypothesis-seed={number}", "-k", "mutated", *tests]
        failed = subprocess.run(command, env=environment, cwd=REPOSITORY).returncode != 0
        for name, found in (json.loads(figures.read_text()) if figures.exists() else {}).items():
            added = total.setdefault(name, dict.fromkeys(found, 0))
            for key, value in found.items():
                added[key] = added[key] + value if key in ("calls", "refused") else max(added[key], value)
        return failed


def _print(figures: dict, rounds: int) -> None:
    calls = sum(found["calls"] for found in figures.values())
    print(f"{calls} calls in {rounds} rounds")
    print(f"{'':44}{'calls':>9}{'refused':>9}{'slowest':>10}{'memory':>9}{'of input':>10}")
    for name, f in sorted(figures.items()):
        print(
            f"{name[-43:]:44}{f['calls']:9}{f['refused']:9}{f['slowest_ms']:7.1f} ms"
            f"{f['most_mb']:6.0f} MB{f['largest_ratio']:9.1f}x"
        )


if __name__ == "__main__":
    sys.exit(main())
