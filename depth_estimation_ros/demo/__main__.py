"""``python -m depth_estimation_ros.demo``: run camera and node in ROS 2, and show results as a table and a picture."""

from __future__ import annotations

if __name__ == "__main__":  # before the imports, because a package may be missing
    from depth_estimation_ros import entry

    entry.demo()

import argparse
import math
import os
import re
import shutil
import sys
import time
import webbrowser
from contextlib import closing
from pathlib import Path

import cv2
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from depth_estimation_ros.demo.source import COMMON_FOV, LEAST_FOV, MOST_FOV, DemoSource, assumption, look_at
from depth_estimation_ros.processes.stage import DEPTH_NODE, START_SECONDS, Stage, StageError
from depth_estimation_ros.support.files import write_json
from depth_estimation_ros.synthetic import Room

ROOM_CAMERA_HEIGHT = 1.3
CAMERA_PITCH = 9.0

LOGS = ("node.log", "camera.log")
OURS = ("bag", "summary.json", "preview.png", "view.log", *LOGS)


class DemoError(RuntimeError):
    """Error that ends the demo; the message says why."""


def main() -> None:
    """Run the demo from the command line; a user's mistake ends with a message of one sentence."""
    parser = argparse.ArgumentParser(prog="python -m depth_estimation_ros.demo", description=__doc__)
    parser.add_argument("--duration", type=float, default=20.0, help="seconds of recording (default 20)")
    parser.add_argument("--source", help="folder of images, video file, bag or camera index; default: a synthetic room")
    parser.add_argument(
        "--horizontal-fov",
        type=float,
        help=f"degrees, for a source without intrinsics (default {COMMON_FOV:.0f}, a common webcam)",
    )
    parser.add_argument("--model", default="default", help="name or path of the model")
    parser.add_argument(
        "--anchor",
        default="none",
        choices=("none", "floor", "points"),
        help="reference for the metric scale: the floor, or (in the synthetic room) 50 ground truth points per frame",
    )
    parser.add_argument(
        "--camera-height",
        type=float,
        help="metres above the floor, for the laser scan (default 1.3 in the room, unknown for a source)",
    )
    parser.add_argument("--camera-pitch", type=float, help=f"downward pitch in degrees (default {CAMERA_PITCH:.0f})")
    parser.add_argument("--view", action="store_true", help="show it live in a browser (pip install '.[view]')")
    parser.add_argument("--output", type=Path, default=Path("demo_output"), help="output folder")
    arguments = parser.parse_args()
    console = Console()
    try:
        if not 0 < arguments.duration < math.inf:
            raise DemoError("--duration must be positive, in seconds")
        if arguments.horizontal_fov is not None:
            if arguments.source is None:
                raise DemoError("--horizontal-fov needs --source; the synthetic room's camera is known")
            if not LEAST_FOV <= arguments.horizontal_fov <= MOST_FOV:
                raise DemoError(f"--horizontal-fov must be from {LEAST_FOV:.0f} to {MOST_FOV:.0f} degrees")
        if arguments.camera_height is None:
            arguments.camera_height = 0.0 if arguments.source else ROOM_CAMERA_HEIGHT
        if arguments.anchor == "points" and arguments.source:
            raise DemoError("--anchor points needs the synthetic room: a source has no true distances to send")
        if arguments.anchor == "floor" and not arguments.camera_height:
            raise DemoError("--anchor floor needs --camera-height: the scale comes from it")
        if arguments.camera_pitch is None:
            arguments.camera_pitch = CAMERA_PITCH
        elif not arguments.camera_height:
            raise DemoError("--camera-pitch needs --camera-height: without it there is no scan")
        if not 0 <= arguments.camera_height <= 2 or not -60 <= arguments.camera_pitch <= 60:
            raise DemoError("--camera-height must be from 0 to 2 metres, --camera-pitch from -60 to 60 degrees")
        source = None if arguments.source is None else _source(arguments, console)
        run(arguments, source, console)
    except (DemoError, StageError) as error:
        sys.exit(f"demo: {error}")
    except KeyboardInterrupt:
        sys.exit("demo: interrupted, nothing was measured")


def _source(arguments: argparse.Namespace, console: Console) -> DemoSource:
    """Inspect the user's source, and print what is known about it."""
    ours = [(arguments.output / name).resolve() for name in OURS]
    path = Path(arguments.source).expanduser().resolve()
    if any(path == own or own in path.parents for own in ours):
        raise DemoError(
            f"--source is a result of an earlier demo in {arguments.output}, which would be deleted: name another "
            "folder with --output"
        )
    try:
        source = look_at(arguments.source, arguments.horizontal_fov)
    except ValueError as error:
        raise DemoError(str(error)) from None
    for sentence in (source.description, *source.notes):
        console.print(sentence, soft_wrap=True, highlight=False, markup=False)
    if source.assumed_horizontal_fov is not None:
        console.print(assumption(source.assumed_horizontal_fov), soft_wrap=True, highlight=False)
    return source


def run(arguments: argparse.Namespace, source: DemoSource | None, console: Console) -> None:
    """Start camera and node, record, and report."""
    from depth_estimation_ros.demo import report
    from depth_estimation_ros.demo.overview import draw_overview
    from depth_estimation_ros.demo.recorder import Recorder

    output = _clean(arguments.output)
    stage = Stage(output, lambda: Recorder(output / "bag", scan=arguments.camera_height > 0))
    with stage, closing(stage.client) as recorder:
        console.print(
            f"Running with ROS_DOMAIN_ID={os.environ['ROS_DOMAIN_ID']}: set it in another terminal to see the topics."
        )
        # Reliable, so that no frame is lost on a busy machine.
        parameters = {"model": arguments.model, "image_reliability": "reliable", "anchor": arguments.anchor}
        parameters |= _mount(arguments)
        stage.start("node", DEPTH_NODE, parameters, {"anchor/points": "ground_truth/points"})
        if not stage.spin(START_SECONDS, lambda: recorder.diagnostics):
            raise _too_late(START_SECONDS, "the node's start", output)
        if arguments.view:
            _start_view(stage, arguments, console)
        _start_camera(stage, arguments, source)
        image = recorder.topics["depth/image"]
        if not stage.spin(30.0, lambda: image.count):
            raise _too_late(30.0, "the first depth image", output)
        _record(stage, arguments.duration, console)
        if stage.stop("camera"):
            raise stage.failure("camera")
        if not stage.spin(15.0, stage.settling()):
            raise _too_late(15.0, "the node's last count", output)
        if stage.stop("node"):
            raise stage.failure("node")
    room = None if source else Room()
    summary, pictured = report.summarise(recorder, room, source.facts() if source else None), recorder.pictured
    write_json(output / "summary.json", summary)
    report.print_table(summary, console)
    size = sum(file.stat().st_size for file in (output / "bag").iterdir()) / 1e6
    written = ["summary.json", f"bag ({size:.0f} MB)"]
    if pictured is not None:
        cv2.imwrite(str(output / "preview.png"), cv2.cvtColor(draw_overview(pictured, room), cv2.COLOR_RGB2BGR))
        written.insert(0, "preview.png")
    console.print("Written: " + ", ".join(str(output / name) for name in written))


def _too_late(seconds: float, what: str, output: Path) -> DemoError:
    return DemoError(f"waited {seconds:.0f} s for {what}; see node.log and camera.log in {output}")


def _clean(output: Path) -> Path:
    """Create the output folder, or delete an earlier demo's files in it."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        there = [name for name in OURS if (output / name).exists()]
        if there and not all((output / name).is_file() for name in LOGS):
            raise DemoError(
                f"{output} holds {', '.join(there)} that the demo did not write: name another folder with --output"
            )
        for name in OURS:
            path = output / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        for name in LOGS:
            (output / name).touch()
        return output
    except OSError as error:
        raise DemoError(
            f"nothing can be written to {output} ({error.strerror}): name another folder with --output"
        ) from None


def _mount(arguments: argparse.Namespace) -> dict[str, float]:
    """Return the parameters of the camera's mounting pose, which both nodes have."""
    return {"camera_height": arguments.camera_height, "camera_pitch": math.radians(arguments.camera_pitch)}


def _start_camera(stage: Stage, arguments: argparse.Namespace, source: DemoSource | None) -> None:
    if source is None:
        stage.start("camera", "depth_estimation_ros.nodes.synthetic_camera", _mount(arguments))
        return
    parameters = {
        "source": source.name,
        "horizontal_fov": source.fov_radians,
        "wait_for_subscribers": 2,  # the node and the recorder
    }
    stage.start("camera", "depth_estimation_ros.nodes.image_source", parameters, may_end=True)


def _start_view(stage: Stage, arguments: argparse.Namespace, console: Console) -> None:
    """Start the live view, print its address, and open it where there is a screen."""
    log = arguments.output / "view.log"

    def page() -> str:
        return "".join(re.findall(r"open (http\S+)", log.read_text(errors="replace")))

    anchor = {"anchor/points": "ground_truth/points"} if arguments.anchor == "points" else {}
    stage.start("view", "depth_estimation_ros.nodes.view_depth", _mount(arguments), anchor)
    if not stage.spin(START_SECONDS, page):
        raise DemoError(f"waited {START_SECONDS:.0f} s for the view; see {log}")
    console.print(f"Look at it live: {page()}", soft_wrap=True, highlight=False)
    if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        webbrowser.open(page())


def _record(stage: Stage, duration: float, console: Console) -> None:
    """Spin until the duration is over or the source has ended."""
    begin = time.monotonic()
    stage.client.picture_until = begin + 0.5 * duration
    columns = (TextColumn("recording"), BarColumn(), TextColumn("{task.fields[rate]}"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=duration, rate="")
        while (elapsed := time.monotonic() - begin) < duration and stage.is_running("camera"):
            stage.spin(0.1)
            rate = f"{stage.client.topics['depth/image'].rate_hz:.1f} depth images/s"
            progress.update(task, completed=elapsed, rate=rate)
