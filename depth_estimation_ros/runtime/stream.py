"""The running stream: from the inputs through the mailbox to the publishers, with every frame accounted for."""

from __future__ import annotations

import time
import traceback
from contextlib import ExitStack
from typing import TYPE_CHECKING

from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Float32MultiArray, MultiArrayDimension

from depth_estimation_ros.frame.pipeline import OUTPUT_TYPES, PREVIEW, Frame, FrameError
from depth_estimation_ros.frame.stopwatch import STAGES, Stopwatch
from depth_estimation_ros.runtime.by_stamp import nanoseconds
from depth_estimation_ros.runtime.input_watch import REPEAT_SECONDS
from depth_estimation_ros.runtime.inputs import Inputs, qos_profile
from depth_estimation_ros.runtime.mailbox import Mailbox
from depth_estimation_ros.runtime.pace import Pace
from depth_estimation_ros.runtime.session import Session, finished

if TYPE_CHECKING:
    from depth_estimation_ros.node import DepthEstimationNode

WARNING_SECONDS = 10.0
"""Frames that fail for one reason are warned of at most so often."""

LATENCY = "depth/latency"


class Stream:
    """
    What exists only while the node is active: subscriptions, publishers, and the loop between them.

    Callbacks of the subscriptions leave the newest frame in a mailbox and never wait; the loop runs in the
    session's thread and takes it from there.

    Parameters
    ----------
    node : DepthEstimationNode
        Whose settings, statistics and topics they are.
    session : Session
        The loaded model.
    """

    def __init__(self, node: DepthEstimationNode, session: Session):
        self._node, self._session = node, session
        self._mailbox: Mailbox[Frame] = Mailbox()
        self._frames, self._previews = Pace(), Pace()
        self._warned: dict[str, float] = {}
        self._stage = Stopwatch()
        self._stuck = False
        with ExitStack() as undo:
            self._publishers = {}
            # The newest result is the one that matters, but a recorder wants to miss none of them.
            qos = qos_profile(node.settings.output_reliability, depth=5)
            for topic, message_type in OUTPUT_TYPES.items():
                self._publishers[topic] = node.create_publisher(message_type, topic, qos)
                undo.callback(node.destroy_publisher, self._publishers[topic])
            self._latency = node.create_publisher(Float32MultiArray, LATENCY, qos)
            undo.callback(node.destroy_publisher, self._latency)
            self._loop = session.submit(self._run)
            undo.callback(self._mailbox.close)
            self._inputs = Inputs(node, self._take)
            self._undo = undo.pop_all()

    def close(self, patience: float | None = None) -> bool:
        """
        Stop: no frame is taken any more, the one in work is finished, the topics disappear.

        Parameters
        ----------
        patience : float, optional
            Wait at most so many seconds for the frame in work.

        Returns
        -------
        bool
            Whether it was finished. If not, it counts as failed.
        """
        self._inputs.close()
        if self._mailbox.close() is not None:
            self._node.statistics.superseded()
        ended = finished(self._loop, patience)
        if not ended:
            self._node.statistics.failed("engine busy at shutdown")
        self._undo.close()
        return ended

    def complaints(self) -> list[str]:
        """Say what is wrong with the inputs, one sentence each, and log it at a sensible pace."""
        trouble = self._session.pipeline.anchoring.trouble
        if trouble:
            self._node.get_logger().warning(trouble, throttle_duration_sec=REPEAT_SECONDS)
        return self._inputs.complaints() + [trouble] * bool(trouble)

    def stuck(self) -> str:
        """Say in which stage a frame has been in work for longer than ``output_timeout``; empty while none has."""
        running, timeout = self._stage.running, self._node.settings.output_timeout
        sentence = ""
        if running and 0.0 < timeout < running[1]:
            sentence = f"no output: a frame has been in the stage {running[0]} for {running[1]:.0f} s"
        if sentence and not self._stuck:
            self._node.get_logger().error(sentence)
        elif self._stuck and not sentence:
            self._node.get_logger().info("frames are processed again")
        self._stuck = bool(sentence)
        return sentence

    def _take(self, msg: Image | CompressedImage) -> None:
        settings, statistics, now = self._node.settings, self._node.statistics, time.monotonic()
        wanted = {topic for topic, p in self._publishers.items() if p.get_subscription_count()}
        if not self._previews.due(now, settings.preview_rate):
            wanted.discard(PREVIEW)
        if not wanted:
            statistics.idle()
            return
        self._inputs.prepare(wanted)
        statistics.received()
        if not self._frames.take(now, settings.max_rate) or self._mailbox.put(Frame(msg, frozenset(wanted))):
            statistics.superseded()

    def _run(self) -> None:
        for frame in self._mailbox:
            self._process(frame)

    def _process(self, frame: Frame) -> None:
        """Publish what is wanted of a frame, and count what became of it."""
        settings, stage = self._node.settings, Stopwatch()
        self._stage = stage
        if PREVIEW in frame.wanted:
            self._previews.take(time.monotonic(), settings.preview_rate)
        surroundings = self._inputs.surroundings(frame.image, settings)
        sent, trouble = [], None
        try:
            for topic, message in self._session.pipeline.outputs(frame, surroundings, settings, stage):
                with stage("publish"):
                    self._publishers[topic].publish(message)
                sent.append(topic)
        except FrameError as error:
            trouble = error.reason, str(error)
        except Exception:  # a fault of this program; the next frame may do better
            trouble = "internal error", traceback.format_exc()
        if sent:
            self._count(frame.image, stage.elapsed)
        if trouble:
            self._complain(*trouble, bool(sent))

    def _count(self, image: Image | CompressedImage, elapsed: dict[str, float]) -> None:
        now, moment = self._node.get_clock().now().nanoseconds, nanoseconds(image.header.stamp)
        if now and moment:  # simulated time is 0 until somebody publishes it
            elapsed = {**elapsed, "latency": 1e-6 * (now - moment)}
        self._node.statistics.published(elapsed)
        if self._latency.get_subscription_count():
            message = Float32MultiArray(data=[elapsed.get(stage, 0.0) for stage in STAGES])
            message.layout.dim = [MultiArrayDimension(label=",".join(STAGES), size=len(STAGES), stride=len(STAGES))]
            self._latency.publish(message)

    def _complain(self, reason: str, sentence: str, sent: bool) -> None:
        """Count, and say at a sensible pace, what of a frame could not be made: all of it, or what is not sent."""
        statistics, what = self._node.statistics, "frame published in part" if sent else "frame not published"
        count = statistics.lacking(reason) if sent else statistics.failed(reason)
        now = time.monotonic()
        if now - self._warned.get(reason, -WARNING_SECONDS) >= WARNING_SECONDS:
            self._warned[reason] = now
            self._node.get_logger().warning(f"{what}: {sentence} (number {count} of this kind)")
