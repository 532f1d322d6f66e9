"""Arrangement of the views in the browser."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import rerun as rr
import rerun.blueprint as rrb

from depth_estimation_ros.viewer.scene import (
    DEPTH,
    FRAME,
    IMAGE,
    LATENCY,
    LEGEND,
    SCALE,
    TEXT,
    TIMELINE,
    TRUTH,
    WORLD,
    depth_of,
    error_of,
)

_LEGEND_SHARE = 0.28  # width of the colour scale beside a picture of width 1
_WINDOW = 30.0  # seconds of the curves


def live_layout(shown: Collection[str], frame: str, upright: bool) -> rrb.Blueprint:
    """
    Return the layout of the live view: pictures and curves on the left, the scene on the right.

    Parameters
    ----------
    shown : collection of str
        Entities that have data, of those that not every robot has: `TRUTH` and `SCALE`.
    frame : str
        TF frame that the scene is seen from.
    upright : bool
        Whether z of this frame points up, as in ``base_link``. Otherwise it is an optical frame.
    """
    curves = [_curves(LATENCY, "Milliseconds")]
    if SCALE in shown:
        curves.append(_curves(SCALE, "Anchor"))
    below = [_picture(TRUTH, "Ground truth")] if TRUTH in shown else []
    rows = [
        rrb.Horizontal(
            _picture(IMAGE, "Camera"), _picture(DEPTH, "Depth"), _legend(), column_shares=[1, 1, _LEGEND_SHARE]
        ),
        rrb.Horizontal(*below, *curves),
    ]
    return rrb.Blueprint(
        rrb.Horizontal(rrb.Vertical(*rows), _scene(frame, upright), column_shares=[1.2, 1.0]), collapse_panels=True
    )


def evaluation_layout(models: Sequence[str]) -> rrb.Blueprint:
    """Return the layout for frames of an evaluation: image and truth, then estimate and error of each model."""
    shares = [1, 1, _LEGEND_SHARE]
    rows = [rrb.Horizontal(_picture(IMAGE, "Camera"), _picture(TRUTH, "Ground truth"), _legend(), column_shares=shares)]
    for index, model in enumerate(models):
        title = f": {model}" if len(models) > 1 else ""
        about = rrb.TextDocumentView(origin=TEXT, name="Frame") if index == 0 else rrb.Vertical()
        rows.append(
            rrb.Horizontal(
                _picture(depth_of(model), f"Estimate{title}"),
                _picture(error_of(model), f"Error (blue: too near, red: too far){title}"),
                about,
                column_shares=shares,
            )
        )
    time = rrb.TimePanel(state="collapsed", timeline=FRAME, play_state="paused")
    return rrb.Blueprint(rrb.Vertical(*rows), time, collapse_panels=True)


def _picture(entity: str, title: str) -> rrb.Spatial2DView:
    return rrb.Spatial2DView(origin=entity, name=title)


def _curves(entity: str, title: str) -> rrb.TimeSeriesView:
    window = rrb.VisibleTimeRange(
        TIMELINE,
        start=rrb.TimeRangeBoundary.cursor_relative(seconds=-_WINDOW),
        end=rrb.TimeRangeBoundary.cursor_relative(),
    )
    return rrb.TimeSeriesView(origin=entity, name=title, time_ranges=window)


def _legend() -> rrb.Spatial2DView:
    return rrb.Spatial2DView(origin=LEGEND, name="Metres")


def _scene(frame: str, upright: bool) -> rrb.Spatial3DView:
    if upright:
        eye, target, up = (-2.0, 0.0, 3.0), (2.5, 0.0, 0.5), (0.0, 0.0, 1.0)
    else:
        eye, target, up = (0.0, -1.7, -2.0), (0.0, 0.0, 2.5), (0.0, -1.0, 0.0)
    axes = rr.components.ViewCoordinates.FLU if upright else rr.components.ViewCoordinates.RDF
    return rrb.Spatial3DView(
        origin=WORLD,
        name="Cloud, scan and anchors",
        spatial_information=rrb.SpatialInformation(target_frame=frame, axes=axes, show_axes=True),
        eye_controls=rrb.EyeControls3D(position=eye, look_target=target, eye_up=up),
        background=[24, 24, 24],
    )
