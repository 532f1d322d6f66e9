"""``python -m training.experiments table1``: train, evaluate and report a comparison of the study."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import yaml
from rich.console import Console

from depth_estimation_ros.backends import BackendError
from training.experiments.report import write_report
from training.experiments.results import Result
from training.experiments.runner import Runner
from training.experiments.study import SCALES, TRAININGS, experiments


def main() -> None:
    """Run the command line; a mistake of the user ends with one sentence."""
    names = list(experiments(SCALES["full"]))
    parser = argparse.ArgumentParser(prog="python -m training.experiments", description=__doc__)
    parser.add_argument("experiments", nargs="+", choices=names, metavar="EXPERIMENT", help=", ".join(names))
    parser.add_argument("--data", type=Path, required=True, help="NYU folder with rgb/, depth/ and splits.mat")
    parser.add_argument("--scale", default="minutes", choices=SCALES, help="budget: minutes or hours on a CPU, or full")
    parser.add_argument(
        "--seeds", type=int, default=1, help="number of trainings of each network, with seeds 0, 1, ..."
    )
    parser.add_argument("--runs", type=Path, default=Path("runs/experiments"), help="folder that keeps the trainings")
    parser.add_argument(
        "--rooms",
        type=Path,
        default=Path("runs/data/synthetic_rooms"),
        help="folder of synthetic rooms; rendered if missing",
    )
    parser.add_argument("--output", type=Path, help="folder of the reports (default: RUNS/SCALE/reports)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="OPTION=VALUE",
        help="option of every training, e.g. trainer.devices=4",
    )
    arguments = parser.parse_args()
    try:
        _run(arguments)
    except (ValueError, OSError, BackendError) as error:
        sys.exit(f"experiments: {error}")
    except KeyboardInterrupt:
        sys.exit("experiments: interrupted; the same command resumes after the last complete epoch")


def _run(arguments: argparse.Namespace) -> None:
    if arguments.seeds < 1:
        raise ValueError(f"--seeds must be at least 1, got {arguments.seeds}")
    if wrong := [option for option in arguments.set if "=" not in option]:
        raise ValueError(f"--set takes OPTION=VALUE, got {wrong[0]!r}")
    if not (arguments.data / "splits.mat").is_file():
        raise ValueError(f"{arguments.data} is not NYU Depth v2's labelled set: splits.mat is missing")
    options = {name: yaml.safe_load(value) for name, value in (option.split("=", 1) for option in arguments.set)}
    scale = SCALES[arguments.scale]
    runner = Runner(arguments.scale, scale, arguments.data, arguments.runs, arguments.rooms, options)
    output = arguments.output or arguments.runs / arguments.scale / "reports"
    console = Console()
    for name in dict.fromkeys(arguments.experiments):
        experiment = experiments(scale)[name]
        results = {}
        steps = [(t, seed) for t in runner.needed(list(experiment.trainings)) for seed in range(arguments.seeds)]
        found: dict[str, list[dict]] = {}
        for i, (training, seed) in enumerate(steps, 1):
            console.rule(f"{name} {i}/{len(steps)}: {training}, seed {seed}")
            found.setdefault(training, []).append(runner.run(TRAININGS[training], seed))
        for training in experiment.trainings:
            title = experiment.titles.get(training, TRAININGS[training].title)
            folders = tuple(runner.folder(TRAININGS[training], seed) for seed in range(arguments.seeds))
            results[training] = Result(training, title, folders, tuple(found[training]))
        console.print(*write_report(name, experiment, results, runner, output / name), sep="\n", markup=False)
        console.print(f"report: {output / name / 'README.md'}", markup=False, soft_wrap=True)


if __name__ == "__main__":
    main()
