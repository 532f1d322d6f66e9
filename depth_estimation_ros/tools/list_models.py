"""``list_models``: list models, with their speed here and the accuracy in their cards."""

from __future__ import annotations

if __name__ == "__main__":  # before the imports, because a package may be missing
    from depth_estimation_ros import entry

    entry.list_models()

import argparse
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

from depth_estimation_ros.backends import BACKENDS, Backend, BackendError, create_backend
from depth_estimation_ros.backends.tensorrt.parity import calibration_frames
from depth_estimation_ros.model import ModelInfo, load_model
from depth_estimation_ros.model_card import accuracy_in
from depth_estimation_ros.weights import FETCHED, NAMES, PACKAGED, fetched_file

_FIGURES = ("absrel", "delta1")


@dataclass
class _Row:
    """A model file: its names, metadata and engine, and what was measured."""

    names: list[str]
    path: Path
    info: ModelInfo
    backend: Backend
    frame: np.ndarray
    output: str = ""
    times: list[float] = field(default_factory=list)

    def run(self) -> None:
        """Run the model once and note the time."""
        begin = perf_counter()
        depth = self.backend.infer(self.frame)["depth"]
        self.times.append(1e3 * (perf_counter() - begin))
        self.output = "{1}x{0}".format(*depth.shape[2:])


def main(arguments: list[str] | None = None) -> int:
    """List the models from the command line. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="list_models", description=__doc__.split(":", 1)[1].strip())
    parser.add_argument(
        "models", nargs="*", metavar="MODEL", help="names or ONNX files (default: those that have a name)"
    )
    parser.add_argument("--backend", choices=BACKENDS, default="auto", help="engine to measure (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads of the engine; 0 uses all cores")
    parser.add_argument("--rounds", type=int, default=20, help="measurements of each model (default: %(default)s)")
    options = parser.parse_args(arguments)
    console = Console()
    try:
        if options.rounds < 1 or options.threads < 0:
            raise ValueError("--rounds must be at least 1 and --threads not negative")
        files = {name: _file(name) for name in options.models or NAMES}
        rows = [
            _open([name for name in files if files[name] == path], options.backend, options.threads)
            for path in dict.fromkeys(files.values())
            if options.models or path.exists()
        ]
        # In turn, so that other work on the machine slows all of them equally. The first two rounds are not counted.
        for _ in track(range(2 + options.rounds), "measuring", console=console, transient=True):
            for row in rows:
                row.run()
    except (ValueError, BackendError) as error:
        print(f"list_models: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("list_models: interrupted", file=sys.stderr)
        return 130
    console.print(_table(rows))
    for row in rows:
        card = row.path.with_suffix(".md")
        told = f"card {card}" if card.exists() else "no card"
        console.print(f"{row.names[0]}: {row.info.licence}; {told}", soft_wrap=True, highlight=False)
    for name, path in files.items():
        if not path.exists():
            console.print(f"{name}: not on this machine; `fetch_model {name}` makes it", soft_wrap=True)
    console.print("Accuracy is the first row of a card; it says on which frames.", soft_wrap=True)
    return 0


def _file(name: str) -> Path:
    """Return the file of a name or a path, which may not exist."""
    return fetched_file(name) if name in FETCHED else PACKAGED.get(name, Path(os.path.expanduser(name)))


def _open(names: list[str], backend: str, threads: int) -> _Row:
    model = load_model(names[0])
    frame = calibration_frames(model.info, count=1)
    return _Row(names, model.path, model.info, create_backend(model, backend, threads), frame)


def _table(rows: list[_Row]) -> Table:
    engine = ", ".join(dict.fromkeys(row.backend.name for row in rows))
    table = Table(title=f"Models, on {engine}", title_justify="left", box=box.SIMPLE, pad_edge=False)
    table.add_column("name", overflow="fold")
    for column in ("input", "depth", "ms", "MB", "AbsRel", "delta1"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        stated = accuracy_in(row.path.with_suffix(".md"))
        table.add_row(
            "\n".join(row.names),
            f"{row.info.input_width}x{row.info.input_height}",
            row.output,
            f"{median(row.times[2:]):.1f}",
            f"{row.path.stat().st_size / 1e6:.1f}",
            *(f"{stated[name]:.3f}" if name in stated else "-" for name in _FIGURES),
        )
    return table
