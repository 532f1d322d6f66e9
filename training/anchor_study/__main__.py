"""``python -m training.anchor_study MODEL --data SET``: accuracy with scale anchoring by number of true depths."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

from depth_estimation_ros.anchor import CORRECTIONS
from depth_estimation_ros.backends import BackendError
from depth_estimation_ros.estimator import DepthEstimator
from depth_estimation_ros.support.files import refuse_missing_folder, write_json
from training.anchor_study.relative import print_relative, relative_study
from training.anchor_study.study import NOISE, POINTS, PROTOCOL, Reference, estimate_frames, study, tune
from training.pictures import empty_figure

SHOWN = ("abs_rel", "rmse", "delta1")


def draw(rows: list[dict], path: Path) -> None:
    """
    Plot ``abs_rel`` over the number of points.

    Parameters
    ----------
    rows : list of dict
        From `study`.
    path : pathlib.Path
        The PNG file.
    """
    figure = empty_figure(7, 4.5)
    axes = figure.subplots()
    axes.axhline(rows[0]["abs_rel"], color="0.6", label="no reference")
    for i, correction in enumerate(CORRECTIONS):
        for style, outliers in zip(("-", "--", ":"), sorted({row["outliers"] for row in rows[1:]}), strict=False):
            chosen = [r for r in rows[1:] if r["points"] and (r["correction"], r["outliers"]) == (correction, outliers)]
            label = f"{correction}, {outliers:.0%} wrong"
            values = ([r["points"] for r in chosen], [r["abs_rel"] for r in chosen])
            axes.plot(*values, style, color=f"C{i}", marker="o", label=label)
    axes.set(xlabel="true depths a frame", ylabel="AbsRel", xscale="log", ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=100, format="png")


def _print(rows: list[dict], title: str) -> None:
    print(title)
    heads = (*SHOWN, "inliers", "confidence")
    print(f"{'reference':<12}{'wrong':>6}  {'correction':<12}" + "".join(f"{h:>11}" for h in heads) + f"{'ms':>8}")
    for row in rows:
        line = f"{row['reference']:<12}{row['outliers']:>6.0%}  {row['correction']:<12}"
        line += "".join(f"{row[name]:11.4f}" if name in row else f"{'':11}" for name in heads)
        print(line + (f"{row['milliseconds']:8.2f}" if "milliseconds" in row else ""))


def main() -> None:
    """Run the command line; a mistake of the user ends with one sentence."""
    parser = argparse.ArgumentParser(prog="python -m training.anchor_study", description=__doc__)
    parser.add_argument("model", nargs="?", default="default", help="'default' or an ONNX file")
    parser.add_argument(
        "--data", type=Path, required=True, help="NYU folder with rgb/, depth/, splits.mat, or nyu_depth_v2_labeled.mat"
    )
    parser.add_argument("--points", type=int, nargs="+", default=list(POINTS), help="numbers of points to try")
    parser.add_argument(
        "--outliers", type=float, nargs="+", default=[0.0, 1 / 3], help="fractions of wrong points to try"
    )
    parser.add_argument("--depth-scale", type=float, default=10 / 255, help="metres per unit of the depth images")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads of the model; 0 takes all cores")
    parser.add_argument(
        "--tune", action="store_true", help="choose the assumptions of the field on held-out training frames instead"
    )
    parser.add_argument(
        "--relative", action="store_true", help="turn the model into a relative one, and compare it with itself"
    )
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--picture", type=Path, help="also draw AbsRel over the number of points, a PNG file")
    arguments = parser.parse_args()
    try:
        refuse_missing_folder(arguments.json, arguments.picture)
        if any(points < 1 for points in arguments.points):
            raise ValueError(f"--points must be at least 1, got {min(arguments.points)}")
        if not all(0.0 <= share <= 1.0 for share in arguments.outliers):
            raise ValueError(f"--outliers must lie between 0 and 1, got {arguments.outliers}")
        if arguments.tune and arguments.picture:
            raise ValueError("--tune draws no picture: leave --picture out")
        if arguments.relative and (arguments.tune or arguments.picture):
            raise ValueError("--relative prints a table only: leave --tune and --picture out")
        split = "held_out" if arguments.tune else "test"
        estimator = DepthEstimator.load(arguments.model, threads=arguments.threads)
        if estimator.model.info.is_relative:
            raise ValueError(
                f"the depth of {estimator.model.info.name} is relative: the study compares with the model's own metres"
            )
        frames = estimate_frames(estimator, arguments.data, arguments.depth_scale, split)
        name = estimator.model.info.name
        if arguments.tune:
            best, trials = tune(frames)
            for trial in sorted(trials, key=lambda t: t["abs_rel"], reverse=True):
                print("  ".join(f"{key} {value:g}" for key, value in trial.items()))
            print(f"\nbest of {len(trials)} on {len(frames)} held-out training frames of {name}: {best}")
            found: object = {"model": name, "frames": len(frames), "best": asdict(best), "trials": trials}
        elif arguments.relative:
            references = [Reference(n, share) for share in arguments.outliers for n in [*arguments.points, 0]]
            rows = relative_study(frames, references)
            title = f"AbsRel of anchored depth of {name}, as it is and turned into a relative model"
            print_relative(rows, f"{title}, on {len(frames)} test frames, {PROTOCOL.title}")
            found = {"model": name, "frames": len(frames), "protocol": PROTOCOL.name, "noise": NOISE, "rows": rows}
        else:
            references = [Reference(n, share) for share in arguments.outliers for n in [*arguments.points, 0]]
            rows = study(frames, references)
            _print(rows, f"{name} on {len(frames)} test frames, {PROTOCOL.title}; true depths with {NOISE:.0%} noise")
            found = {"model": name, "frames": len(frames), "protocol": PROTOCOL.name, "noise": NOISE, "rows": rows}
            if arguments.picture:
                draw(rows, arguments.picture)
        if arguments.json:
            write_json(arguments.json, found)
    except (ValueError, OSError, BackendError) as error:
        sys.exit(f"anchor_study: {error}")


if __name__ == "__main__":
    main()
