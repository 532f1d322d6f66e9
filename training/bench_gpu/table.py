"""Tables of the results."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table


def show(report: dict, console: Console) -> None:
    """
    Print a report.

    Parameters
    ----------
    report : dict
        Report as written to the JSON file.
    console : rich.console.Console
        Console to print on.
    """
    ceilings = report["ceilings"]
    peaks = Table(title=f"{report['device']}: {ceilings['bandwidth'] / 1e9:.0f} GB/s copied, and at most")
    for column in ("precision", "matrix product", "convolution"):
        peaks.add_column(column)
    for precision, found in ceilings["peaks"].items():
        cells = (f"{found[k] / 1e12:.3g} TFLOP/s" if k in found else "-" for k in ("matmul", "convolution"))
        peaks.add_row(precision, *cells)
    console.print(peaks)
    for network in report["networks"]:
        _show_network(network, report["batches"], console)
    if stages := report.get("pipeline"):
        table = Table(title=f"the node's pipeline on 640x480 images, milliseconds, with {stages['engine']}")
        for name in stages["stages_ms"]:
            table.add_column(name, justify="right")
        table.add_column("together", justify="right")
        table.add_row(*(f"{ms:.3f}" for ms in stages["stages_ms"].values()), f"{stages['together_ms']:.3f}")
        console.print(table)


def _show_network(network: dict, batches: list[int], console: Console) -> None:
    width, height = network["input"]
    title = f"{network['name']}, {width}x{height}, {network['giga_operations']:.1f} GFLOP an image"
    columns = {
        "ms": ("ms", ".3f"),
        "p95": ("p95_ms", ".3f"),
        "floor": ("floor_ms", ".3f"),
        "ms/floor": ("ms_over_floor", ".1f"),
        "device ms": ("device_ms", ".3f"),
        "device/floor": ("device_ms_over_floor", ".1f"),
        "differs": ("mean_difference", ".1e"),
        "p99": ("p99_difference", ".1e"),
        "MiB": ("memory_mib", ".0f"),
        "build s": ("build_seconds", ".1f"),
        "cached s": ("cached_seconds", ".1f"),
        "abs_rel": ("abs_rel", ".4f"),
        "delta1": ("delta1", ".4f"),
    }
    found = [{**row, **row["batches"].get(1, {})} for row in network["rows"]]
    there = {name: how for name, how in columns.items() if any(how[0] in row for row in found)}
    table = _table(f"{title}: one image, copies in and out counted", there)
    for row in found:
        table.add_row(row["engine"], row["precision"], row["decoder"], *(_cell(row, *how) for how in there.values()))
    console.print(table)
    if len(batches) > 1:
        names = [f"batch {n}" for n in batches[1:]]
        table = _table(f"{title}: images a second (times the floor)", [*names, f"MiB at {batches[-1]}"])
        for row in network["rows"]:
            found = [row["batches"].get(n, {}) for n in batches[1:]]
            cells = [f"{_cell(f, 'images_per_second', '.0f')} ({_cell(f, 'ms_over_floor', '.1f')})" for f in found]
            table.add_row(
                row["engine"], row["precision"], row["decoder"], *cells, _cell(found[-1], "memory_mib", ".0f")
            )
        console.print(table)
    for row in network["rows"]:
        if row["ended"]:
            console.print(f"{row['engine']}, {row['precision']}, {row['decoder']}: {row['ended']}", soft_wrap=True)


def _table(title: str, columns: Iterable[str]) -> Table:
    table = Table(title=title)
    for name in ("engine", "precision", "decoder"):
        table.add_column(name, no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right")
    return table


def _cell(figures: dict, name: str, form: str) -> str:
    return f"{figures[name]:{form}}" if name in figures else "-"
