"""
Build the TensorRT engine of a model before the node needs it.

Run as ``build_engine MODEL.onnx [--precision fp16] [--cache DIR]``. The engine is stored in the cache that the node
uses, so the node starts without a build; for example in a robot's disk image, or for all robots of the same hardware.
"""

from __future__ import annotations

from depth_estimation_ros.backends import BackendError

if __name__ == "__main__":  # before the imports, because a package may be missing
    from depth_estimation_ros import entry

    entry.build_engine()

import argparse
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, ThreadPoolExecutor, wait
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from depth_estimation_ros.backends import PRECISIONS, EngineOptions
from depth_estimation_ros.backends.tensorrt.cache import default_folder
from depth_estimation_ros.backends.tensorrt.cuda import open_cuda
from depth_estimation_ros.backends.tensorrt.engine import EngineFactory
from depth_estimation_ros.backends.tensorrt.library import NAMES, find_library
from depth_estimation_ros.backends.tensorrt.private_files import write_privately
from depth_estimation_ros.model import load_model

_CANCELLED = 130  # exit status of shells after Ctrl-C
_SECONDS_BETWEEN_LINES = 5.0


def main(arguments: list[str] | None = None) -> int:
    """Build an engine from the command line. Returns the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.dry_run and options.precision == "best":
        parser.error("a dry run builds one precision: choose fp32, fp16 or int8")
    if options.dry_run and (options.output or options.cache or options.calibration):
        parser.error("a dry run keeps and compares nothing: leave out --output, --cache and --calibration")
    console = Console(stderr=True)
    try:
        print(_with_progress(options, console))
    except CancelledError:
        console.print("build_engine: cancelled, nothing was written")
        return _CANCELLED
    except (ValueError, BackendError, OSError) as error:
        console.print(f"build_engine: {error}", soft_wrap=True, highlight=False, markup=False)
        return 1
    return 0


def _with_progress(options: argparse.Namespace, console: Console) -> str:
    """Run the build with a progress bar, or with log lines if there is no terminal; return the final message."""
    cancelled, started, shown = threading.Event(), time.monotonic(), -_SECONDS_BETWEEN_LINES
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("starting", total=1.0)

        def log(sentence: str) -> None:
            console.print(sentence, soft_wrap=True, highlight=False, markup=False)

        def progress(phase: str, fraction: float) -> None:
            nonlocal shown
            bar.update(task, description=phase, completed=fraction)
            elapsed = time.monotonic() - started
            if not console.is_terminal and elapsed - shown >= _SECONDS_BETWEEN_LINES:
                shown = elapsed
                log(f"{elapsed:.0f} s: {phase}")

        return _wait(lambda: _work(options, progress, cancelled, log), cancelled, log)


def _work(options: argparse.Namespace, progress: Callable, cancelled: threading.Event, log: Callable) -> str:
    """Build the engine; called in a separate thread. Return the final message."""
    model = load_model(options.model)
    if options.output and (options.output.is_dir() or not os.access(options.output.parent, os.W_OK)):
        raise ValueError(f"{options.output} cannot be written: name a file in a folder that is there and yours")
    choice = EngineOptions(
        precision=options.precision,
        cameras=options.cameras,
        workspace=options.workspace,
        cache=options.cache,
        cache_limit=options.cache_limit,
        calibration=options.calibration,
        progress=progress,
        cancelled=cancelled,
        log=log,
    )
    library = find_library(options.library)
    factory = EngineFactory(library, open_cuda(), choice)
    if options.dry_run:
        size = len(factory.build(model, choice.precision).plan) / 1e6
        return f"{library.name} {library.version} builds {model.info.name}: {size:.1f} MB; nothing was kept or compared"
    backend = factory.open(model)
    if options.output:
        stored = factory.cache.load(factory.key(model))
        if stored is None:
            raise BackendError(f"the engine was removed from {factory.cache.folder} meanwhile: build it again")
        write_privately(options.output, stored[0])
    return f"{backend.name} is ready in {options.output or factory.cache.folder}"


def _wait(work: Callable[[], str], cancelled: threading.Event, log: Callable[[str], None]) -> str:
    """Run work in a separate thread, so that Ctrl-C is handled while TensorRT builds."""
    future = ThreadPoolExecutor(1).submit(work)
    while not future.done():
        try:
            wait([future], timeout=0.1)
        except KeyboardInterrupt:
            if cancelled.is_set():
                os._exit(_CANCELLED)
            cancelled.set()
            log("ending the build; Ctrl-C again ends the program at once")
    return future.result()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="build_engine", description="Build the TensorRT engine of a model.")
    parser.add_argument("model", help="name of a packaged model, or ONNX file")
    parser.add_argument(
        "--precision", choices=PRECISIONS, default=EngineOptions.precision, help="(default: %(default)s)"
    )
    parser.add_argument(
        "--cameras",
        "--max-batch",
        type=int,
        default=EngineOptions.cameras,
        help="number of cameras that share the engine: maximum number of images per run (default: %(default)s)",
    )
    parser.add_argument(
        "--workspace",
        type=int,
        default=EngineOptions.workspace,
        help="GPU memory for the builder in MiB (default: half of what is free)",
    )
    parser.add_argument(
        "--library", choices=NAMES, default=NAMES[0], help="TensorRT, or TensorRT for RTX (default: %(default)s)"
    )
    parser.add_argument(
        "--calibration",
        "--frames",
        default="",
        help="images, video or bag to compare the engine on (default: rendered rooms)",
    )
    parser.add_argument("--cache", default="", help=f"folder of the engines (default: {default_folder()})")
    parser.add_argument(
        "--cache-limit",
        type=int,
        default=EngineOptions.cache_limit,
        help="maximum size of the cache in MiB (default: %(default)s)",
    )
    parser.add_argument("--output", type=Path, help="write the plan to this file as well")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="build without storing the engine, to check whether TensorRT accepts the model",
    )
    return parser
