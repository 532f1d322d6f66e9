"""The node's figures as a diagnostic_msgs status."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from depth_estimation_ros.statistics import Snapshot


def diagnose(
    name: str, state: Mapping[str, str], now: Snapshot, before: Snapshot, complaints: Sequence[str]
) -> DiagnosticStatus:
    """
    Judge the node's figures.

    Parameters
    ----------
    name : str
        Name of the status.
    state : mapping of str to str
        ``state``; while it is configured ``progress``, and then ``model``, ``model_sha256`` and `backends.facts`;
        ``fault`` of what went wrong.
    now, before : Snapshot
        The figures, and those of the last report.
    complaints : sequence of str
        What is wrong with the inputs, one sentence each.

    Returns
    -------
    DiagnosticStatus
        ERROR if every frame since the last report failed, or the model could not be loaded or went lost; WARN if some
        frames failed or an input is silent; else OK.
    """
    failed, published = now.failed - before.failed, now.published - before.published
    if "fault" in state:
        level, message = DiagnosticStatus.ERROR, state["fault"]
    elif failed:
        level = DiagnosticStatus.WARN if published else DiagnosticStatus.ERROR
        new = [reason for reason, count in now.failures.items() if count > before.failures.get(reason, 0)]
        message = f"{failed} of {failed + published} frames failed: {', '.join(new)}"
    elif complaints:
        level, message = DiagnosticStatus.WARN, "; ".join(complaints)
    elif state["state"] != "active":
        level, message = DiagnosticStatus.OK, ": ".join(filter(None, (state["state"], state.get("progress"))))
    elif now.idle > before.idle and not published:
        level, message = DiagnosticStatus.OK, "active, nobody subscribes to an output"
    else:
        level, message = DiagnosticStatus.OK, f"active, {now.rate_hz:.1f} frames a second"
    return DiagnosticStatus(
        level=level,
        name=name,
        message=message,
        hardware_id=state.get("model", ""),
        values=[KeyValue(key=key, value=value) for key, value in {**state, **_figures(now)}.items()],
    )


def _figures(snapshot: Snapshot) -> dict[str, str]:
    counts = ("received", "published", "superseded", "failed", "pending", "idle")
    figures = {name: str(getattr(snapshot, name)) for name in counts}
    figures |= {f"failed: {reason}": str(count) for reason, count in snapshot.failures.items()}
    figures["rate_hz"] = f"{snapshot.rate_hz:.2f}"
    for stage, percentiles in snapshot.milliseconds.items():
        for percent, value in zip((50, 95), percentiles, strict=True):
            figures[f"{stage}_ms_p{percent}"] = f"{value:.3f}"
    return figures
