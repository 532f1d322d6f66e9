"""Settings of the subscriptions and publishers."""

from __future__ import annotations

from dataclasses import dataclass

from depth_estimation_ros.parameters.declaration import Effect, ParameterGroup, parameter

_RELIABILITIES = ("best_effort", "reliable")


@dataclass(frozen=True)
class TopicSettings(ParameterGroup):
    """Quality of service and timeouts of the topics."""

    image_reliability: str = parameter(
        "best_effort",
        "QoS reliability of the subscriptions. reliable receives from reliable publishers only.",
        Effect.ACTIVATE,
        choices=_RELIABILITIES,
    )
    queue_depth: int = parameter(
        5,
        "QoS queue depth of the image subscription. It adds no delay, because the node takes each image at once and "
        "keeps only the newest. The middleware drops images beyond this depth, and the node cannot count those.",
        Effect.ACTIVATE,
        limits=(1, 100),
    )
    output_reliability: str = parameter(
        "reliable",
        "QoS reliability of the publishers. best_effort reaches best-effort subscribers only.",
        Effect.ACTIVATE,
        choices=_RELIABILITIES,
    )
    input_timeout: float = parameter(
        5.0,
        "Time in seconds without an image or camera_info after which the node warns. 0 never warns.",
        limits=(0.1, 3600.0),
        off=0.0,
    )
    output_timeout: float = parameter(
        5.0,
        "Time in seconds after which a frame still being processed is reported as an error. It is also the maximum "
        "wait for that frame when the node is deactivated or its model is replaced. 0 never reports, and waits 10 s.",
        limits=(0.1, 3600.0),
        off=0.0,
    )
