"""
Measure the accuracy of estimated depth on a bag and write a report.

The depth that models estimate from the images of a camera is compared with the ground truth in the same bag.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports, because a package may be missing
    from depth_estimation_ros import entry

    entry.evaluate_bag()

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from depth_estimation_ros.backends import BACKENDS, BackendError
from depth_estimation_ros.support.options import at_least, finite, positive


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="evaluate_bag", description=__doc__)
    add = parser.add_argument
    add("bags", nargs="+", metavar="BAG", help="rosbag2 folder, .mcap, .db3 or ROS 1 .bag; or a folder or glob pattern")
    add("--image", default="", metavar="TOPIC", help="image topic of the camera; chosen automatically if only one fits")
    add(
        "--depth",
        default="",
        metavar="TOPIC",
        help="ground truth topic: depth image, PointCloud2, LaserScan, or the camera's poses (Odometry, PoseStamped, "
        "/tf) for triangulation; chosen automatically if only one fits",
    )
    add("--camera-info", default="", metavar="TOPIC", help="camera_info topic of --image; chosen automatically")
    add(
        "--depth-camera-info",
        default="",
        metavar="TOPIC",
        help="camera_info topic of --depth if it has its own; chosen automatically",
    )
    add(
        "--model",
        nargs="+",
        default=["default"],
        metavar="M",
        help="model files, or 'default'; several models are compared",
    )
    add(
        "--output",
        type=Path,
        default=Path("bag_report"),
        metavar="DIR",
        help="output folder of the report (default: bag_report)",
    )
    add("--backend", default="auto", choices=BACKENDS, help="engine that runs the models")
    add(
        "--threads",
        type=at_least(0),
        default=0,
        metavar="N",
        help="CPU threads per engine; 0 divides the cores among the jobs",
    )
    add("--jobs", type=at_least(1), metavar="N", help="worker processes (default: one per core, at most 4)")
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
    add("--every", type=at_least(1), metavar="N", help="evaluate only every N-th image")
    add(
        "--no-bag-output",
        dest="bag_output",
        action="store_false",
        help="do not write a bag with depth, cloud and error",
    )
    add(
        "--view",
        action="store_true",
        help="write view.rrd and show it in a browser until Ctrl-C: the worst frames with estimate, truth and error",
    )
    add(
        "--live",
        action="store_true",
        help="play the bags in real time through the node, and measure its latency and lost frames",
    )
    add("--rate", type=positive, metavar="R", help="with --live: playback speed as a factor of real time (default: 1)")
    add("--cluster", metavar="ADDRESS", help="use the workers of a Dask scheduler (tcp://HOST:8786); no output bag")
    chosen = parser.parse_args(arguments)
    # An option without effect is an error.
    for first, others in {"live": ("jobs", "every", "cluster"), "cluster": ("jobs", "rate")}.items():
        for other in others:
            if getattr(chosen, first) and getattr(chosen, other) is not None:
                parser.error(f"--{first} and --{other} cannot be used together")
    for other, given in {"no-bag-output": not chosen.bag_output, "cluster": chosen.cluster}.items():
        if chosen.view and given:
            parser.error(f"--view and --{other} cannot be used together: it shows the output bags")
    if chosen.rate and not chosen.live:
        parser.error("--rate needs --live")
    return chosen


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the command.

    Returns
    -------
    int
        0 if everything was evaluated. 1 if there were errors, each in one line on stderr; the report covers what could
        be evaluated. 130 after Ctrl-C, with a report of the frames that were done.
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


def _complain(sentence: str) -> int:
    """Print an error; returns the exit code 1."""
    print(f"evaluate_bag: {sentence}", file=sys.stderr)
    return 1
