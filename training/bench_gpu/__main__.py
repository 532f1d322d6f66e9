"""
Command ``python -m training.bench_gpu``: ``prepare FOLDER``, ``run FOLDER`` and ``show FILE.json``.

``prepare`` works on any machine. ``run`` needs only PyTorch, torchvision, timm, OpenCV and rich, and the folder; with
ONNX Runtime or TensorRT it measures them too. Times are medians, from images in memory to depth in memory. They are
compared with the shortest time that the GPU allows, and the depth with that of PyTorch or ONNX Runtime on the CPU.
"""

from __future__ import annotations

from time import monotonic

STARTED = monotonic()  # before the imports, so that --minutes counts them

import argparse  # noqa: E402
import json  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402

from rich.console import Console  # noqa: E402

from training.bench_gpu.run import run  # noqa: E402
from training.bench_gpu.table import name_of, show  # noqa: E402
from training.bench_gpu.task import MODES, Task  # noqa: E402

_TERMINATED = 143  # exit status of shells after SIGTERM
_INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> int:
    """Prepare, run or show a measurement. Returns the exit status."""
    started = STARTED if arguments is None else monotonic()
    parser = _parser()
    options = parser.parse_args(arguments)
    console = Console()
    console.width = max(console.width, 160)
    try:
        return options.command(options, console, started)
    except (ValueError, RuntimeError, OSError) as error:
        print(f"bench_gpu: {' '.join(str(error).split())}", file=sys.stderr)
        return 1


def _prepare(options: argparse.Namespace, console: Console, started: float) -> int:
    from training.bench_gpu.prepare import prepare

    prepare(options.folder, options.models, options.onnx)
    size = sum(path.stat().st_size for path in options.folder.rglob("*") if path.is_file()) / 2**20
    print(f"{options.folder}: {size:.1f} MiB; measure with `python -m training.bench_gpu run {options.folder}`")
    return 0


def _run(options: argparse.Namespace, console: Console, started: float) -> int:
    if min(options.batches) < 1 or options.minutes <= 0:
        raise ValueError("--batches must be at least 1, and --minutes positive")

    def tell(message: dict) -> None:
        if row := message.get("row"):
            figures = row["ended"] or f"{row['ms']:.3f} ms, {row['images_per_second']:.0f} images a second"
            console.print(f"{monotonic() - started:6.1f} s  {name_of(row)}: {figures}", soft_wrap=True, highlight=False)

    task = Task(options.folder, Path(), options.device, options.batches, options.modes)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))
    try:
        place = run(task, options.minutes, started, options.output, tell)
    except KeyboardInterrupt:
        print("bench_gpu: interrupted; what was measured is in the file", file=sys.stderr)
        return _INTERRUPTED
    if place is None:
        raise ValueError("the process that measures ended before it found its device, or the time was up")
    report = json.loads(place.read_text(encoding="utf-8"))
    show(report, console)
    console.print(f"written to {place}", soft_wrap=True)
    return 0 if any("ms" in row for row in report["rows"]) else 1


def _show(options: argparse.Namespace, console: Console, started: float) -> int:
    try:
        show(json.loads(options.file.read_text(encoding="utf-8")), console)
    except (json.JSONDecodeError, KeyError, TypeError):
        raise ValueError(f"{options.file} is not a report of `python -m training.bench_gpu run`") from None
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.bench_gpu",
        description=__doc__.strip().partition("\n\n")[2],
    )
    commands = parser.add_subparsers(required=True, metavar="{prepare,run,show}")
    prepare = commands.add_parser("prepare", help="write a folder with everything that needs no GPU")
    prepare.set_defaults(command=_prepare)
    prepare.add_argument("folder", type=Path, help="new folder")
    prepare.add_argument(
        "--models",
        nargs="+",
        default=["resnet50", "default"],
        help="resnet50 (the network of Laina et al. with random weights), packaged models, ONNX files, and "
        "checkpoints, which PyTorch runs too (default: resnet50 default)",
    )
    prepare.add_argument(
        "--onnx",
        action="store_true",
        help="also export the networks of PyTorch, for TensorRT and ONNX Runtime (500 MB for resnet50)",
    )
    run = commands.add_parser("run", help="measure a prepared folder")
    run.set_defaults(command=_run)
    run.add_argument("folder", type=Path, help="folder from `prepare`")
    run.add_argument("--minutes", type=float, default=2.9, help="end after so long (default: %(default)s)")
    run.add_argument(
        "--batches", nargs="+", type=int, default=[1, 16], help="batch sizes, in this order (default: 1 16)"
    )
    run.add_argument("--modes", nargs="*", choices=MODES, default=list(MODES), help="modes of PyTorch (default: all)")
    run.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu only tests the command")
    run.add_argument("--output", type=Path, help="JSON file (default: bench_output/gpu/DEVICE.json)")
    show = commands.add_parser("show", help="print the tables of a JSON file")
    show.set_defaults(command=_show)
    show.add_argument("file", type=Path)
    return parser


if __name__ == "__main__":
    sys.exit(main())
