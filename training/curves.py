"""``python -m training.curves RUN... --output curves.png``: plot loss and accuracy of trainings by epoch."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from training.pictures import empty_figure

# Panels: TensorBoard tag and name of the axis.
PANELS = {
    "train/loss": "loss: training (line), held-out frames (dashed)",
    "val/abs_rel": "AbsRel, held-out frames",
    "val/rmse": "RMSE in metres, held-out frames",
    "val/delta1": "delta < 1.25, held-out frames",
}


def read_curves(run: Path) -> dict[str, tuple[list[float], list[float]]]:
    """
    Read the curves of a run from its TensorBoard files.

    Parameters
    ----------
    run : pathlib.Path
        Folder of one version of a run, e.g. ``runs/demo/version_0``.

    Returns
    -------
    dict
        Epochs and values by tag, for each logged tag of `PANELS` and ``val/loss``.

    Raises
    ------
    ValueError
        If there are no curves.
    """
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run))
    events.Reload()
    tags = events.Tags()["scalars"]
    if "epoch" not in tags:
        raise ValueError(f"{run} holds no TensorBoard curves; name a folder such as runs/demo/version_0")
    # Lightning logs the epoch at the same steps as the other values.
    epochs = {event.step: event.value for event in events.Scalars("epoch")}
    return {
        tag: ([epochs[e.step] + 1 for e in events.Scalars(tag)], [e.value for e in events.Scalars(tag)])
        for tag in (*PANELS, "val/loss")
        if tag in tags
    }


def draw_curves(runs: dict[str, Path], output: Path) -> None:
    """
    Plot the curves of several runs.

    Parameters
    ----------
    runs : dict
        Folder of each run by its name in the legend.
    output : pathlib.Path
        Picture to write.
    """
    figure = empty_figure(10, 6)
    panels = dict(zip(PANELS, figure.subplots(2, 2).flat, strict=True))
    for name, run in runs.items():
        curves = read_curves(run)
        held_out = curves.pop("val/loss", None)
        for tag, (epochs, values) in curves.items():
            (line,) = panels[tag].plot(epochs, values, label=name, marker="." if len(epochs) < 50 else None)
            if tag == "train/loss" and held_out:
                panels[tag].plot(*held_out, color=line.get_color(), linestyle="--")
    for tag, axes in panels.items():
        axes.set(xlabel="epoch", title=PANELS[tag])
        axes.grid(alpha=0.3)
    if len(runs) > 1:
        panels["train/loss"].legend()
    figure.savefig(output, dpi=100)


def main() -> None:
    """Run the command line; a mistake of the user ends with one sentence."""
    parser = argparse.ArgumentParser(prog="python -m training.curves", description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folders such as runs/demo/version_0")
    parser.add_argument("--output", type=Path, default=Path("curves.png"))
    arguments = parser.parse_args()
    try:
        draw_curves({f"{run.parent.name}/{run.name}": run for run in arguments.runs}, arguments.output)
    except (ValueError, OSError) as error:
        sys.exit(f"curves: {error}")


if __name__ == "__main__":
    main()
