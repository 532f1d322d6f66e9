"""Diagnostic status of the node, as diagnostic_msgs/DiagnosticStatus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from depth_estimation_ros.runtime.statistics import Snapshot

# The same for every model: the panels of Foxglove select a status by its name and its hardware.
HARDWARE_ID = "depth_estimation_ros"


def diagnose(
    name: str, state: Mapping[str, str], now: Snapshot, before: Snapshot, complaints: Sequence[str]
) -> DiagnosticStatus:
    """
    Return the diagnostic status of a node.

    Parameters
    ----------
    name : str
        Name of the status.
    state : mapping of str to str
        ``state`` is the lifecycle state. ``progress`` is present while the node is being configured; ``model``,
        ``model_sha256``, ``licence`` and `backends.facts` once it is configured; ``fault`` after an error.
    now, before : Snapshot
        Statistics now and at the last report.
    complaints : sequence of str
        Problems of the inputs, one sentence each.

    Returns
    -------
    DiagnosticStatus
        ERROR if every frame since the last report failed, the model could not be loaded, or the engine is lost. WARN
        if some frames failed or lack an output, or an input receives nothing. Otherwise OK.
    """
    failed, published = now.failed - before.failed, now.published - before.published
    lacking = _new(now.lacking, before.lacking)
    if "fault" in state:
        level, message = DiagnosticStatus.ERROR, state["fault"]
    elif failed:
        level = DiagnosticStatus.WARN if published else DiagnosticStatus.ERROR
        reasons = ", ".join(_new(now.failures, before.failures))
        message = f"{failed} of {failed + published} frames failed: {reasons}"
    elif lacking:
        level = DiagnosticStatus.WARN
        message = f"{sum(lacking.values())} of {published} frames published in part: {', '.join(lacking)}"
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
        hardware_id=HARDWARE_ID,
        values=[KeyValue(key=key, value=value) for key, value in {**state, **_figures(now)}.items()],
    )


def _new(now: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    """Return the counts that increased, with the increase."""
    return {reason: more for reason, count in now.items() if (more := count - before.get(reason, 0))}


def _figures(snapshot: Snapshot) -> dict[str, str]:
    counts = ("received", "published", "superseded", "failed", "pending", "idle")
    figures = {name: str(getattr(snapshot, name)) for name in counts}
    figures |= {f"failed: {reason}": str(count) for reason, count in snapshot.failures.items()}
    figures |= {f"published in part: {reason}": str(count) for reason, count in snapshot.lacking.items()}
    figures["rate_hz"] = f"{snapshot.rate_hz:.2f}"
    for stage, percentiles in snapshot.milliseconds.items():
        for percent, value in zip((50, 95), percentiles, strict=True):
            figures[f"{stage}_ms_p{percent}"] = f"{value:.3f}"
    return figures
