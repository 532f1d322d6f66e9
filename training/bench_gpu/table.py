"""Tables of the results."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

# Column, figure, and how it is printed.
_COLUMNS = {
    "ms": ("ms", ".3f"),
    "p95": ("p95_ms", ".3f"),
    "images/s": ("images_per_second", ".0f"),
    "floor": ("floor_ms", ".3f"),
    "ms/floor": ("ms_over_floor", ".1f"),
    "device ms": ("device_ms", ".3f"),
    "device/floor": ("device_ms_over_floor", ".1f"),
    "differs": ("mean_difference", ".1e"),
    "p99": ("p99_difference", ".1e"),
    "MiB": ("memory_mib", ".0f"),
    "build s": ("build_seconds", ".1f"),
    "cached s": ("cached_seconds", ".1f"),
}


def name_of(row: dict) -> str:
    """Return a row's name, with everything that distinguishes it from other rows."""
    parts = (row["network"], row["engine"], row["precision"], row["decoder"])
    return f"{', '.join(parts)}, batch of {row['batch']}"


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
    if ceilings := report["ceilings"]:
        peaks = Table(title=f"{report['device']}: {ceilings['bandwidth'] / 1e9:.0f} GB/s copied, and at most")
        for column in ("precision", "matrix product", "convolution"):
            peaks.add_column(column)
        for precision, found in ceilings["peaks"].items():
            cells = (f"{found[k] / 1e12:.3g} TFLOP/s" if k in found else "-" for k in ("matmul", "convolution"))
            peaks.add_row(precision, *cells)
        console.print(peaks)
    for network in report["networks"]:
        rows = [row for row in report["rows"] if row["network"] == network["name"]]
        if measured := [row for row in rows if "ms" in row]:
            console.print(_table(network, measured))
        for row in rows:
            if row["ended"]:
                console.print(f"{name_of(row)}: {row['ended']}", soft_wrap=True)
    for sentence in report["without"]:
        console.print(f"without {sentence}", soft_wrap=True)


def _table(network: dict, rows: list[dict]) -> Table:
    width, height = network["input"]
    title = f"{network['name']}, {width}x{height}, {network['giga_operations']:.1f} GFLOP an image"
    table = Table(title=f"{title}; copies in and out counted")
    there = {name: how for name, how in _COLUMNS.items() if any(how[0] in row for row in rows)}
    for name in ("engine", "precision", "decoder"):
        table.add_column(name, no_wrap=True)
    for name in ("batch", *there):
        table.add_column(name, justify="right")
    for row in sorted(rows, key=lambda row: (row["engine"], row["precision"], row["decoder"], row["batch"])):
        cells = (f"{row[figure]:{form}}" if figure in row else "-" for figure, form in there.values())
        table.add_row(row["engine"], row["precision"], row["decoder"], str(row["batch"]), *cells)
    return table
