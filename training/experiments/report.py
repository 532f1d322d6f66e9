"""Report of an experiment: Markdown, figures as JSON, every test frame as CSV, pictures."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from string import Template

import numpy as np

from depth_estimation_ros.estimator import DepthEstimator
from depth_estimation_ros.support.files import write_whole
from training.curves import draw_curves
from training.evaluate import evaluate, frame_of, open_frames
from training.experiments.results import Result, difference
from training.experiments.runner import DEPTH_SCALE, Runner
from training.experiments.spectra import draw_spectra
from training.experiments.study import PUBLISHED, STUDY, TRAININGS, Experiment
from training.files import write_image
from training.pictures import comparison_picture
from training.predictor import MedianPredictor, Predictor
from training.protocols import PROTOCOLS

_EIGEN = PROTOCOLS["eigen"]
_COLUMNS = ("abs_rel", "rmse", "log10", "delta1", "delta2", "delta3")
# Quantiles of the frames in the pictures: from nearly the best to nearly the worst of the first network.
_SHOWN = (0.05, 0.35, 0.65, 0.95)
_GRID = """
## The grid

![Spectra of the depth maps](spectra.png)

Power of rows and columns of the estimated depth maps: a grid is a peak at a period of 2, 4 or 8 pixels. Its amplitude
is what stands above the neighbouring frequencies (`training/experiments/grid.py`).
"""

_STUDY = """
The table of the study, on its own validation frames, trained on 50,688 frames where it does not say otherwise. Its
AbsRel comes from dividing by depths of zero as well and says nothing: compare delta1 and RMSE.

"""


def write_report(
    name: str, experiment: Experiment, results: dict[str, Result], runner: Runner, output: Path
) -> list[str]:
    """
    Write the report of an experiment.

    Parameters
    ----------
    name : str
        Name of the experiment.
    experiment : Experiment
        The experiment.
    results : dict of Result
        Results by training. The others are compared with the first.
    runner : Runner
        Runner that trained the networks.
    output : pathlib.Path
        Folder for ``README.md``, ``figures.json``, ``curves.png``, ``frames/``, and ``pictures/``, which contain frames
        of the dataset.

    Returns
    -------
    list of str
        Findings, one line each.
    """
    first = next(iter(results.values()))
    for folder in (output / "frames", output / "pictures"):
        folder.mkdir(parents=True, exist_ok=True)
    findings = [str(finding) for finding in experiment.findings(results)]
    draw_curves({r.title: r.folders[0] for r in results.values()}, output / "curves.png")
    for result in results.values():
        for seed, folder in enumerate(result.folders):
            shutil.copyfile(folder / "frames.csv", output / "frames" / f"{result.name}_{seed}.csv")
    figures = {r.name: {"title": r.title, "seeds": r.seeds} for r in results.values()}
    write_whole(output / "figures.json", json.dumps(figures, indent=1) + "\n")
    _write_pictures(results, runner, output / "pictures")
    seeds = len(first.seeds)
    grid = ""
    if name == "table3":
        draw_spectra({r.title: r.spectrum for r in results.values()}, output / "spectra.png")
        grid = _GRID
    command = ["python", "-m", "training.experiments", name, "--data", "FOLDER", "--scale", runner.scale_name]
    command += ["--seeds", str(seeds)]
    for option, value in runner.options.items():
        command += ["--set", f"{option}={value if isinstance(value, str) else json.dumps(value)}"]
    text = Template((Path(__file__).parent / "report.md").read_text()).substitute(
        title=experiment.title,
        question=experiment.question,
        command=shlex.join(command),
        scale=runner.scale_name,
        changes=runner.scale.summary + ("; what `--set` says takes precedence" if runner.options else ""),
        accuracy=_accuracy_table(results, runner),
        frames=len(first.frames["name"]),
        seeds=f"; in brackets the range of {seeds} seeds" if seeds > 1 else ", not that of the training's seed",
        published=_published_table(),
        study=study_table(name),
        findings="\n".join(findings),
        training=_training_table(results),
        grid=grid,
        commands="\n".join(_commands(results, runner)),
    )
    write_whole(output / "README.md", text)
    return findings


def _accuracy_table(results: dict[str, Result], runner: Runner) -> str:
    heads = ["", "AbsRel", "RMSE", "log10", "delta1", "delta2", "delta3", "AbsRel less the first's"]
    heads += ["FCRN: AbsRel", "RMSE", "delta1", "trained on: AbsRel"]
    first = next(iter(results.values()))
    rows = []
    for result in results.values():
        cells = [f"{result.mean('eigen', m):.3f}" for m in _COLUMNS]
        if len(result.seeds) > 1:
            cells[0] += " ({:.3f} to {:.3f})".format(*result.spread("abs_rel"))
        apart = "" if result is first else str(difference(result, first))
        fcrn = [f"{result.mean('fcrn', m):.3f}" for m in ("abs_rel", "rmse", "delta1")]
        rows.append((result.title, *cells, apart, *fcrn, f"{result.training_abs_rel:.3f}"))
    median = MedianPredictor(open_frames(runner.data, "train", DEPTH_SCALE, _EIGEN)[0])
    blind = evaluate(median, *open_frames(runner.data, "test", DEPTH_SCALE, _EIGEN), _EIGEN).mean()
    rows.append(("median of the training depths, blind", *(f"{blind[m]:.3f}" for m in _COLUMNS), "", "", "", "", ""))
    return _table(heads, rows)


def _published_table() -> str:
    heads = ("", "AbsRel", "RMSE", "log10", "delta1", "delta2", "delta3")
    rows = [(name, *("" if v is None else f"{v:.3f}" for v in values)) for name, values in PUBLISHED.items()]
    return _table(heads, rows)


def study_table(name: str) -> str:
    """Return the study's own table for an experiment, with a sentence before it, or nothing if it has none."""
    if name not in STUDY:
        return ""
    rows = [(title, *figures) for title, figures in STUDY[name].items()]
    return _STUDY + _table(("the study", "delta1", "RMSE", "AbsRel"), rows) + "\n"


def _training_table(results: dict[str, Result]) -> str:
    heads = ("", "parameters", "epochs", "best", "minutes", "held-out loss over training loss, last epoch")
    rows = []
    for result in results.values():
        epochs, best = ("/".join(str(s[k]) for s in result.seeds) for k in ("epochs", "best_epoch"))
        minutes = "/".join(f"{s['minutes']:.0f}" for s in result.seeds)
        rows.append(
            (result.title, f"{result.seeds[0]['parameters']:,}", epochs, best, minutes, f"{result.loss_gap:.1f}")
        )
    return _table(heads, rows)


def _table(heads: Sequence[str], rows: list[tuple]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, ("---",) * len(heads), *rows))


def _commands(results: dict[str, Result], runner: Runner) -> list[str]:
    return [
        shlex.join(runner.fit_command(TRAININGS[name], seed))
        for name in runner.needed(list(results))
        for seed in range(len(next(iter(results.values())).seeds))
    ]


def _write_pictures(results: dict[str, Result], runner: Runner, folder: Path) -> None:
    first = next(iter(results.values()))
    order = np.argsort(first.frames["abs_rel"], kind="stable")
    frames, names = open_frames(runner.data, "test", DEPTH_SCALE, _EIGEN)
    predictors = {r.title: Predictor(DepthEstimator.load(r.folders[0] / "model.onnx")) for r in results.values()}
    for share in _SHOWN:
        i = int(order[round(share * (len(order) - 1))])
        rgb, truth, camera = frame_of(frames, i)
        depths = {title: predict(rgb, camera).depth for title, predict in predictors.items()}
        picture = comparison_picture(rgb, truth, depths)
        write_image(folder / f"{round(100 * share):02d}_{names[i]}.png", picture)
