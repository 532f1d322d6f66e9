"""Processing of one frame, from an image message to the wanted output messages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from depth_estimation_ros.estimator import DepthEstimator
from depth_estimation_ros.pipeline.anchoring import Anchoring
from depth_estimation_ros.pipeline.frame import (
    OUTPUTS,
    Frame,
    FrameError,
    Surroundings,
)
from depth_estimation_ros.pipeline.messages import OutputMessages
from depth_estimation_ros.pipeline.navigation import Navigation
from depth_estimation_ros.pipeline.outputs import FrameOutputs, Tools
from depth_estimation_ros.pipeline.stopwatch import Stopwatch
from depth_estimation_ros.pipeline.view_selector import ViewSelector
from depth_estimation_ros.settings import Settings


class Pipeline:
    """
    Pipeline that computes output messages from image messages.

    Parameters
    ----------
    estimator : DepthEstimator
        The loaded model.
    warn : callable
        Function that logs a warning for the user; called with one sentence (str).

    Attributes
    ----------
    anchoring : Anchoring
        Correction of the metric scale.
    latest : FrameOutputs or None
        The last processed frame.
    """

    def __init__(self, estimator: DepthEstimator, warn: Callable[[str], None] = lambda _: None):
        self.anchoring = Anchoring()
        self._tools = Tools(
            estimator=estimator,
            messages=OutputMessages(),
            views=ViewSelector(estimator.model.info),
            anchoring=self.anchoring,
            navigation=Navigation(warn),
        )
        self.latest: FrameOutputs | None = None

    def outputs(
        self, frame: Frame, surroundings: Surroundings, settings: Settings, stage: Stopwatch
    ) -> Iterator[tuple[str, Any]]:
        """
        Process a frame and yield each wanted message with its topic as soon as it is ready.

        The next frame reuses the memory of the messages, so publish them before it. If one output fails, the others are
        still made.

        Parameters
        ----------
        frame : Frame
            Image and wanted output topics.
        surroundings : Surroundings
            Access to camera_info, transforms and anchor message.
        settings : Settings
            Settings of the frame.
        stage : Stopwatch
            Stopwatch that measures each stage.

        Yields
        ------
        topic : str
            Output topic.
        message : object
            Message of this topic.

        Raises
        ------
        FrameError
            If the image or the camera cannot be used, or the engine fails. If one output cannot be made, the error is
            raised after the other outputs.
        """
        made = FrameOutputs(self._tools, frame.image, surroundings, settings, stage)
        made.estimate()
        self.latest, failure = made, None
        for topic in OUTPUTS:
            if topic in frame.wanted:
                try:
                    message = made.output(topic)
                except FrameError as error:
                    failure = failure or error
                else:
                    yield topic, message
        if failure:
            raise failure
