"""
From any bag with a camera and true depth to an accuracy report.

Compares the depth that models estimate from a camera's images with the depth that was recorded beside them.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports, as a package may be missing
    from depth_estimation_ros import entry

    entry.evaluate_bag()

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from depth_estimation_ros.backends import BACKENDS, BackendError


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="evaluate_bag", description=__doc__)
    add = parser.add_argument
    add("bags", nargs="+", metavar="BAG", help="rosbag2 folder, .mcap, .db3, ROS 1 .bag, a folder or pattern of them")
    add("--image", default="", metavar="TOPIC", help="the camera's images; guessed where there is but one")
    add(
        "--depth",
        default="",
        metavar="TOPIC",
        help="the truth: depth image, PointCloud2, LaserScan, or the camera's poses (Odometry, PoseStamped, /tf), by "
        "which it is triangulated; guessed likewise",
    )
    add("--camera-info", default="", metavar="TOPIC", help="the intrinsics of --image; guessed likewise")
    add(
        "--depth-camera-info",
        default="",
        metavar="TOPIC",
        help="the intrinsics of a depth camera that has its own; guessed likewise",
    )
    add("--model", nargs="+", default=["default"], metavar="M", help="model files, or 'default'; several are compared")
    add("--output", type=Path, default=Path("bag_report"), metavar="DIR", help="folder of the report (bag_report)")
    add("--backend", default="auto", choices=BACKENDS, help="engine that runs the models")
    add("--threads", type=_at_least(0), default=0, metavar="N", help="CPU threads of an engine; 0 shares the cores out")
    add("--jobs", type=_at_least(1), metavar="N", help="processes, each with its own engines (up to 4, one a core)")
    add("--max-gap", type=_positive, default=0.02, metavar="SECONDS", help="between an image and its truth (0.02)")
    add(
        "--clock-offset",
        type=_finite,
        metavar="SECONDS",
        help="of the truth's clock ahead of the camera's; else estimated",
    )
    add("--every", type=_at_least(1), metavar="N", help="take every N-th image only")
    add("--no-bag-output", dest="bag_output", action="store_false", help="write no bag of depth, cloud and error")
    add("--live", action="store_true", help="play the bags at their own pace through the real node, which may be late")
    add("--rate", type=_positive, metavar="R", help="with --live: R times their pace")
    add("--cluster", metavar="ADDRESS", help="let a Dask scheduler's workers do it (tcp://HOST:8786); no output bag")
    chosen = parser.parse_args(arguments)
    # An option that would do nothing is a mistake.
    for first, others in {"live": ("jobs", "every", "cluster"), "cluster": ("jobs", "rate")}.items():
        for other in others:
            if getattr(chosen, first) and getattr(chosen, other) is not None:
                parser.error(f"--{first} and --{other} do not go together")
    if chosen.rate and not chosen.live:
        parser.error("--rate is the pace of --live")
    return chosen


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the command.

    Returns
    -------
    int
        0 if all was evaluated; 1 if something is wrong with the input, each named in a line on stderr, whether or not
        the rest made a report; 130 after Ctrl-C, with a report of what was done.
    """
    chosen = parse(arguments)
    try:
        from depth_estimation_ros.evaluation.run.command import Command

        return Command(chosen, _complain).run()
    except (ValueError, BackendError) as error:
        return _complain(str(error))
    except KeyboardInterrupt:
        _complain("interrupted, no report")
        return 130


def _at_least(least: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isdigit() or int(text) < least:
            raise argparse.ArgumentTypeError(f"must be a whole number from {least} on, got '{text}'")
        return int(text)

    return read


def _finite(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"must be a number, got '{text}'")
    return value


def _positive(text: str) -> float:
    if (value := _finite(text)) <= 0:
        raise argparse.ArgumentTypeError(f"must be a positive number, got '{text}'")
    return value


def _complain(sentence: str) -> int:
    """Say what is wrong; returns the exit code for it."""
    print(f"evaluate_bag: {sentence}", file=sys.stderr)
    return 1
