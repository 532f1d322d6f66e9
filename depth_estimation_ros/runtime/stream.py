"""Stream of frames in the active state: inputs, frame loop and publishers. Every frame is counted."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack

from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Float32MultiArray, MultiArrayDimension

from depth_estimation_ros.pipeline.frame import OUTPUT_TYPES, PREVIEW, FrameError
from depth_estimation_ros.pipeline.stopwatch import STAGES
from depth_estimation_ros.runtime.by_stamp import nanoseconds
from depth_estimation_ros.runtime.frame_loop import Arrived, FrameLoop, GivenUpError
from depth_estimation_ros.runtime.input_watch import REPEAT_SECONDS
from depth_estimation_ros.runtime.inputs import Inputs, qos_profile
from depth_estimation_ros.runtime.operations import Steps
from depth_estimation_ros.runtime.pace import Pace
from depth_estimation_ros.runtime.session import Session
from depth_estimation_ros.runtime.statistics import Statistics
from depth_estimation_ros.settings import Settings

WARNING_SECONDS = 10.0
"""Minimum seconds between two warnings about frames that fail for the same reason."""

LATENCY = "depth/latency"

GIVEN_UP = "engine busy, given up"
"""Reason of a frame that failed because its engine did not return in time."""

Ended = Callable[[Future], Steps[bool]]
"""Function that waits for work until a timeout and returns whether the work has ended."""


class Stream:
    """
    Subscriptions, publishers and the frame loop between them; it exists only while the node is active.

    The subscriptions' callbacks put the newest frame into the loop's mailbox and never wait. The loop runs in the
    session's thread and takes frames from the mailbox. The model can be replaced while the stream is running.

    Parameters
    ----------
    node : Node
        Node that owns the topics.
    settings : callable
        Function that returns the current settings.
    statistics : Statistics
        Counter of the frames.
    session : Session
        Session of the loaded model.
    """

    def __init__(self, node: Node, settings: Callable[[], Settings], statistics: Statistics, session: Session):
        self._node, self._settings, self._statistics, self._session = node, settings, statistics, session
        self._frames, self._previews = Pace(), Pace()
        self._warned: dict[str, float] = {}
        self._stuck = False
        self._loop = FrameLoop(self._process)
        with ExitStack() as undo:
            self._publishers = {}
            # Most subscribers need only the newest result, but a recorder must not miss any.
            qos = qos_profile(settings().topics.output_reliability, depth=5)
            for topic, message_type in {**OUTPUT_TYPES, LATENCY: Float32MultiArray}.items():
                self._publishers[topic] = node.create_publisher(message_type, topic, qos)
                undo.callback(node.destroy_publisher, self._publishers[topic])
            self._inputs = Inputs(node, settings, statistics, wanted=self._wanted, take=self._take)
            undo.callback(self._inputs.close)
            self._loop.begin(session)
            undo.pop_all()

    def close(self, ended: Ended) -> Steps[bool]:
        """
        Stop the stream: finish the current frame or give it up, and remove the topics.

        Returns
        -------
        bool
            Whether the engine returned from the current frame in time.
        """
        self._inputs.close()
        if self._loop.close() is not None:
            self._statistics.superseded()
        in_time = yield from self._end(self._loop, ended)
        for publisher in self._publishers.values():
            self._node.destroy_publisher(publisher)
        return in_time

    def go_on_with(self, session: Session, ended: Ended) -> Steps[bool]:
        """
        Process all further frames with another model.

        Returns
        -------
        bool
            Whether the old engine returned from its current frame in time.
        """
        before, self._loop = self._loop, FrameLoop(self._process)
        if (waiting := before.close()) is not None:
            self._loop.put(waiting)
        in_time = yield from self._end(before, ended)
        self._session = session
        self._loop.begin(session)
        return in_time

    def complaints(self) -> list[str]:
        """Return the problems of the inputs, one sentence each, and log them at a limited rate."""
        trouble = self._session.pipeline.anchoring.trouble
        if trouble:
            self._node.get_logger().warning(trouble, throttle_duration_sec=REPEAT_SECONDS)
        return self._inputs.complaints() + [trouble] * bool(trouble)

    def stuck(self) -> str:
        """Return one sentence if a frame has been in a stage for longer than ``output_timeout``, otherwise ""."""
        running, timeout = self._loop.stage.running, self._settings().topics.output_timeout
        sentence = ""
        if running and 0.0 < timeout < running[1]:
            sentence = f"no output: a frame has been in the stage {running[0]} for {running[1]:.0f} s"
        if sentence and not self._stuck:
            self._node.get_logger().error(sentence)
        elif self._stuck and not sentence:
            self._node.get_logger().info("frames are processed again")
        self._stuck = bool(sentence)
        return sentence

    def _end(self, loop: FrameLoop, ended: Ended) -> Steps[bool]:
        """Wait for a closed loop to end; if it does not end in time, give its frame up and count it."""
        in_time = yield from ended(loop.end)
        if not in_time and (sent := loop.give_up()) is not None:
            if sent:
                self._statistics.published({})
                self._statistics.lacking(GIVEN_UP)
            else:
                self._statistics.failed(GIVEN_UP)
        return in_time

    def _wanted(self) -> frozenset[str]:
        """Return the output topics for which an image that arrives now is needed."""
        wanted = {topic for topic, publisher in self._publishers.items() if publisher.get_subscription_count()}
        if not self._previews.due(time.monotonic(), self._settings().output.preview_rate):
            wanted.discard(PREVIEW)
        return frozenset(wanted)

    def _take(self, arrived: Arrived) -> None:
        if not self._frames.take(time.monotonic(), self._settings().max_rate) or self._loop.put(arrived):
            self._statistics.superseded()

    def _process(self, session: Session, arrived: Arrived, loop: FrameLoop) -> None:
        """Publish the wanted outputs of a frame and count the frame; runs in the session's thread."""
        (frame, surroundings), settings = arrived, self._settings()
        if PREVIEW in frame.wanted:
            self._previews.take(time.monotonic(), settings.output.preview_rate)
        trouble = None
        try:
            for topic, message in session.pipeline.outputs(frame, surroundings, settings, loop.stage):
                with loop.stage("publish"), loop.wanted():
                    self._publishers[topic].publish(message)
                    loop.sent.append(topic)
        except FrameError as error:
            trouble = error.reason, str(error)
        except GivenUpError:
            return
        except BaseException:  # an error in this program or the engine; the next frame may succeed
            trouble = "internal error", traceback.format_exc()
        try:
            with loop.settling():
                self._settle(frame.image, frame.wanted, loop, trouble)
        except GivenUpError:
            return

    def _settle(
        self, image: Image | CompressedImage, wanted: frozenset[str], loop: FrameLoop, trouble: tuple[str, str] | None
    ) -> None:
        """Count a frame, publish its stage times, and report outputs that could not be made."""
        elapsed = loop.stage.elapsed
        sent = bool(loop.sent) or (LATENCY in wanted and not trouble)
        if sent:
            now, moment = self._node.get_clock().now().nanoseconds, nanoseconds(image.header.stamp)
            if now and moment:  # simulated time is 0 until /clock is published
                elapsed = {**elapsed, "latency": 1e-6 * (now - moment)}
            self._statistics.published(elapsed)
            if LATENCY in wanted:
                message = Float32MultiArray(data=[elapsed.get(stage, 0.0) for stage in STAGES])
                message.layout.dim = [MultiArrayDimension(label=",".join(STAGES), size=len(STAGES), stride=len(STAGES))]
                self._publishers[LATENCY].publish(message)
        if trouble:
            self._complain(*trouble, sent)

    def _complain(self, reason: str, sentence: str, sent: bool) -> None:
        """Count a failed or partly published frame, and log the reason at a limited rate."""
        statistics, what = self._statistics, "frame published in part" if sent else "frame not published"
        count = statistics.lacking(reason) if sent else statistics.failed(reason)
        now = time.monotonic()
        if now - self._warned.get(reason, -WARNING_SECONDS) >= WARNING_SECONDS:
            self._warned[reason] = now
            self._node.get_logger().warning(f"{what}: {sentence} (number {count} of this kind)")
