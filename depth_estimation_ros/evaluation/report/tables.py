"""Tables and lists of the page as HTML. All external text is escaped with `text`."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from depth_estimation_ros.evaluation.alignment import ALIGNED
from depth_estimation_ros.evaluation.metrics import METRICS
from depth_estimation_ros.evaluation.report.words import decision, distance_range, percent

# Title and decimals of the metrics; "up" where a higher value is better.
_METRIC_TITLES = {
    "abs_rel": ("AbsRel", 3),
    "sq_rel": ("SqRel, m", 3),
    "rmse": ("RMSE, m", 3),
    "rmse_log": ("RMSE log", 3),
    "log10": ("log10", 3),
    "silog": ("SILog", 1),
    "delta1": ("δ &lt; 1.25 ↑", 3),
    "delta2": ("δ &lt; 1.25² ↑", 3),
    "delta3": ("δ &lt; 1.25³ ↑", 3),
}
_FATES = {
    "received": "images received",
    "published": "depth published",
    "superseded": "superseded by newer images",
    "failed": "failed",
}
_NONE = "–"


def text(value: Any) -> str:
    """Return a value as escaped HTML text."""
    return html.escape(str(value))


def title(model: str) -> str:
    """Return a model's name for a column head, with line breaks allowed after underscores."""
    return text(model).replace("_", "_<wbr>")


def number(value: float | None, decimals: int, unit: str = "") -> str:
    """Format a number; a dash for None."""
    return _NONE if value is None else f"{value:.{decimals}f}{unit}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """Build an HTML table from cells of HTML; a cell that starts with ``<td`` is used unchanged."""
    lines = []
    for first, *rest in rows:
        cells = "".join(cell if cell.startswith("<td") else f"<td>{cell}</td>" for cell in rest)
        lines.append(f'<tr><th scope="row">{first}</th>{cells}</tr>')
    top = f"<thead><tr>{''.join(f'<th>{cell}</th>' for cell in head)}</tr></thead>" if head else ""
    return f'<div class="table"><table class="{kind}">{top}<tbody>{"".join(lines)}</tbody></table></div>'


def facts(values: Mapping[str, Any]) -> str:
    """Build a table of names and values."""
    return table((), ([text(name), text(value)] for name, value in values.items()), "words")


def items(sentences: Iterable[str]) -> str:
    """Build a list of sentences; empty without sentences."""
    lines = "".join(f"<li>{text(sentence)}</li>" for sentence in sentences)
    return lines and f"<ul>{lines}</ul>"


def metrics_table(models: Mapping[str, Mapping[str, Any]]) -> str:
    """Build the table of metrics with intervals, one column per model."""
    rows = []
    for metric in METRICS:
        label, decimals = _METRIC_TITLES[metric]
        cells = [_with_interval(figures, metric, decimals) for figures in models.values()]
        rows.append([label, *cells])
    return table(["", *map(title, models)], rows)


def sequence_table(models: Mapping[str, Mapping[str, float]]) -> str:
    """Build the table of metrics without intervals, one column per model."""
    labels = {metric: _METRIC_TITLES[metric] for metric in ALIGNED}
    rows = [
        [label, *(number(figures[metric], decimals) for figures in models.values())]
        for metric, (label, decimals) in labels.items()
    ]
    return table(["", *map(title, models)], rows)


def recordings_table(models: Mapping[str, Mapping[str, Any]]) -> str:
    """Build the table of AbsRel and number of frames by recording, one column per model."""
    names = sorted({name for figures in models.values() for name in figures["by_recording"]})
    rows = []
    for name in names:
        found = [figures["by_recording"].get(name) for figures in models.values()]
        cells = [_NONE if f is None else f"{f['abs_rel']:.3f}<small>{f['frames']} frames</small>" for f in found]
        rows.append([f'<span class="name">{text(name)}</span>', *cells])
    return table(["AbsRel", *map(title, models)], rows)


def distance_table(models: Mapping[str, Mapping[str, Any]]) -> str:
    """Build the table of AbsRel, RMSE and share of pixels by distance, one column per model."""
    found = {name: {row["from"]: row for row in figures["by_distance"]} for name, figures in models.items()}
    ranges = {row["from"]: row for rows in found.values() for row in rows.values()}
    rows = []
    for start, row in sorted(ranges.items()):
        cells = [
            f"{row[start]['abs_rel']:.3f}<small>RMSE {row[start]['rmse']:.2f} m</small>" if start in row else _NONE
            for row in found.values()
        ]
        rows.append([distance_range(row), percent(row["share"]), *cells])
    return table(["AbsRel", "pixels", *map(title, models)], rows)


def paired_table(pair: Mapping[str, Any]) -> str:
    """Build the table of differences between two models over their common frames."""
    rows = []
    for metric, found in pair["differences"].items():
        label, decimals = _METRIC_TITLES[metric]
        said = decision(found, higher_is_better=metric.startswith("delta"))
        mean, low, high = (f"{found[key]:+.{decimals}f}".replace("-", "−") for key in ("mean", "low", "high"))
        kind = {"better": "good", "worse": "bad"}.get(said, "open")
        rows.append([label, f"{mean}<small>{low} to {high}</small>", f'<td class="{kind}">{said}</td>'])
    return table(["", "difference", title(pair["model"])], rows)


def flicker_table(models: Mapping[str, Mapping[str, Any]]) -> str:
    """Build the table of flicker, one column per model."""
    labels = {"change": "estimate", "common": "common part", "truth": "ground truth", "share": "static pixels"}
    found = [figures["flicker"] for figures in models.values()]
    rows = [
        [label, *(number(f and 100 * f[key], 0 if key == "share" else 2, " %") for f in found)]
        for key, label in labels.items()
    ]
    rows.append(["pairs of frames", *(str(f["pairs"] if f else 0) for f in found)])
    return table(["", *map(title, models)], rows)


def speed_table(models: Mapping[str, Mapping[str, Any]]) -> str:
    """Build the table of times and, for a live run, of frame counts, one column per model."""
    rows = []
    for time in ("inference", "latency"):
        found = [figures[f"{time}_ms"] for figures in models.values()]
        for p, label in (("p50", "median"), ("p95", "95th percentile")):
            if any(found):
                rows.append([f"{time}, {label}", *(number(f and f[p], 1, " ms") for f in found)])
    live = [figures.get("live", {}) for figures in models.values()]
    if any(live):
        rows.append(["depth images per second", *(number(counts.get("rate_hz"), 1) for counts in live)])
        for key, label in _FATES.items():
            rows.append([label, *(text(counts.get(key, _NONE)) for counts in live)])
    return table(["", *map(title, models)], rows)


def _with_interval(figures: Mapping[str, Any], metric: str, decimals: int) -> str:
    if figures[metric] is None:
        return _NONE
    low, high = figures["intervals"][metric]
    return f"{figures[metric]:.{decimals}f}<small>{low:.{decimals}f} to {high:.{decimals}f}</small>"
