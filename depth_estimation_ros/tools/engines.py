"""``engines list`` and ``engines prune``: list the cache of TensorRT engines, and delete engines from it."""

from __future__ import annotations

if __name__ == "__main__":  # before the imports, because a package may be missing
    from depth_estimation_ros import entry

    entry.engines()

import argparse
import sys
import time
from collections import defaultdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from depth_estimation_ros.backends import BackendError
from depth_estimation_ros.backends.options import CACHE_LIMIT
from depth_estimation_ros.backends.tensorrt.cache import EngineCache, default_folder


def main(arguments: list[str] | None = None) -> int:
    """List or prune the cache from the command line. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="engines", description="The cache of TensorRT engines.")
    parser.add_argument("--cache", type=Path, help=f"its folder (default: {default_folder()})")
    parser.set_defaults(limit=CACHE_LIMIT)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="show the engines, the latest used first")
    prune = commands.add_parser("prune", help="drop the engines not used for longest")
    prune.add_argument("--limit", type=int, help=f"maximum size in MiB; 0 deletes all engines (default: {CACHE_LIMIT})")
    options = parser.parse_args(arguments)
    console = Console()
    try:
        cache = EngineCache(options.cache, options.limit)
        if options.command == "list":
            _show(cache, console)
        else:
            dropped = cache.prune()
            freed = sum(entry.size for entry in dropped)
            console.print(
                f"{len(dropped)} of {len(dropped) + len(cache.entries())} engines deleted, {freed / 1e6:.1f} MB"
            )
    except (BackendError, OSError) as error:
        print(f"engines: {error}", file=sys.stderr)
        return 1
    return 0


def _show(cache: EngineCache, console: Console) -> None:
    entries = cache.entries()
    if not entries:
        console.print(f"no engines in {cache.folder}", soft_wrap=True)
        return
    table = Table(title=f"engines in {cache.folder}")
    for column in ("model", "precision", "for", "TensorRT", "MB", "off by", "last used"):
        table.add_column(column, justify="right" if column in ("MB", "off by") else "left")
    for entry in entries:
        # The engine of an older version may lack a field.
        key, parity = defaultdict(str, entry.key), entry.facts.get("parity")
        chosen = entry.facts.get("precision", key["precision"])
        release = f", L4T {key['l4t']}" if key["l4t"] else ""
        table.add_row(
            f"{key['model']}\n{key['model_sha256'][:12]}",
            chosen if chosen == key["precision"] else f"{key['precision']}: {chosen}",
            f"{key['gpu']}\n{key['compute_capability']}, CUDA {key['cuda']}{release}",
            f"{key['tensorrt']}\n{key['tensorrt_version']}",
            f"{entry.size / 1e6:.1f}",
            f"{parity['mean']:.3%}" if parity else "",
            time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.used)),
        )
    console.print(table)
