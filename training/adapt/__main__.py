"""
Adapt a model to a site, with a recording of it.

The recording needs ground truth that `evaluate_bag` understands: a depth camera, a point cloud, a laser scan or the
camera's poses. The end of each recording is held out: it decides when the training stops, and whether the new model is
written. Without --nyu, rendered rooms keep the model from forgetting other rooms.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from depth_estimation_ros.support.installing import advice
from depth_estimation_ros.support.options import at_least, finite, positive


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m training.adapt", description=__doc__)
    add = parser.add_argument
    add("bags", nargs="+", metavar="BAG", help="rosbag2 folder, .mcap, .db3 or ROS 1 .bag; or a folder or glob pattern")
    add("--output", type=_onnx, required=True, metavar="FILE", help="ONNX file; card and picture are written beside it")
    add("--model", default="default", metavar="M", help="model to start from: a packaged name or an ONNX file")
    add(
        "--minutes",
        type=positive,
        default=10.0,
        metavar="N",
        help="training time on two cores, as processor time: a busy machine takes longer (default: 10)",
    )
    add("--threads", type=at_least(1), metavar="N", help="train on N cores instead of two")
    add(
        "--held-out",
        type=_share,
        default=0.3,
        metavar="SHARE",
        help="share of each recording, at its end, that is not trained on; a gap of a tenth lies before it "
        "(default: 0.3)",
    )
    add(
        "--nyu",
        type=Path,
        metavar="FOLDER",
        help="NYU Depth v2 to train along and to measure on: folder with rgb/, depth/, splits.mat, or "
        "nyu_depth_v2_labeled.mat",
    )
    add(
        "--depth-scale",
        type=positive,
        default=10 / 255,
        metavar="METRES",
        help="metres per unit of the depth images of --nyu",
    )
    for name, what in {
        "--image": "image topic of the camera",
        "--depth": "topic of the ground truth",
        "--camera-info": "camera_info topic of --image",
        "--depth-camera-info": "camera_info topic of --depth",
    }.items():
        add(name, default="", metavar="TOPIC", help=f"{what}; chosen automatically as by evaluate_bag")
    add(
        "--max-gap",
        type=positive,
        default=0.02,
        metavar="SECONDS",
        help="maximum time between an image and its ground truth (default: 0.02)",
    )
    add(
        "--clock-offset",
        type=finite,
        metavar="SECONDS",
        help="how far the clock of the ground truth is ahead of the camera's; estimated by default",
    )
    add("--seed", type=int, default=0, help="seed of all random numbers (default: 0)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the command.

    Returns
    -------
    int
        0 if a better model was written. 1 if not, with one sentence on stderr. 130 after Ctrl-C; the best model so far
        was written if it is better.
    """
    chosen = parse(arguments)
    try:
        from depth_estimation_ros.backends import BackendError
        from training.adapt.command import Command
    except ImportError as error:
        if advice(error) is None:
            raise
        return _complain(f"the Python package {error.name} is missing: pip install -e '.[training]' in this clone")
    try:
        return Command(chosen).run()
    except (ValueError, OSError, BackendError) as error:
        return _complain(str(error))
    except KeyboardInterrupt:
        _complain("interrupted, nothing was written")
        return 130


def _share(text: str) -> float:
    if not 0.1 <= (value := finite(text)) <= 0.7:
        raise argparse.ArgumentTypeError(f"must lie between 0.1 and 0.7, got '{text}'")
    return value


def _onnx(text: str) -> Path:
    if Path(text).suffix != ".onnx":
        raise argparse.ArgumentTypeError(f"must be a file name that ends in .onnx, got '{text}'")
    return Path(text)


def _complain(sentence: str) -> int:
    """Print an error; returns the exit code 1."""
    print(f"adapt: {sentence}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
