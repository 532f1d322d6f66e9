"""Node ``image_source``, which publishes a folder of images, a video, a webcam or a bag as a camera."""

from __future__ import annotations

if __name__ == "__main__":  # before the slow imports, during which a user may press Ctrl-C
    from depth_estimation_ros import entry

    entry.image_source()

import itertools
import time
from dataclasses import dataclass, field

from builtin_interfaces.msg import Time

from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.nodes.image_stream import FRAME_ID, CameraNode, ImageStream, Metronome, StreamParameters, run
from depth_estimation_ros.parameters.declaration import ParameterGroup, constant
from depth_estimation_ros.parameters.declare import declare
from depth_estimation_ros.parameters.text import frame_fault
from depth_estimation_ros.sources import Frame, open_source

_FOLDER_RATE = 10.0  # images per second if neither the user nor the source gives a rate


@dataclass(frozen=True)
class RecordedStreamParameters(StreamParameters):
    """Parameters of a stream whose recording may name the TF frame."""

    frame_id: str = constant(
        "",
        "TF frame of the images (optical frame, REP 103). Empty uses the frame of the recording, or "
        f"{FRAME_ID} if it has none.",
        parse=str,
        text=lambda name: frame_fault(name) if name else "",
    )


def _topic(kind: str) -> str:
    description = f"Topic of {kind} in a bag. Empty uses the one that fits best."
    return constant("", description, parse=str)


def _pixels(name: str) -> float:
    return constant(0.0, f"{name} in pixels. 0 means unknown.", limits=(0.0, 1e6))


@dataclass(frozen=True)
class ImageSourceParameters(ParameterGroup):
    """Parameters of the node ``image_source``."""

    # YAML reads the webcam in source:=0 as a number, so text is made of any value.
    source: str = constant("", "Image, folder, video, bag, or the number of a webcam.", parse=str)
    rate: float = constant(
        0.0,
        "Images per second. 0 uses the rate of the source (10 for a folder).",
        limits=(0.0, 1000.0),
    )
    loop: bool = constant(False, "Restart the source at its end.")
    wait_for_subscribers: int = constant(
        1,
        "Number of subscribers to wait for before the first image, so that they miss no image.",
        limits=(0, 100),
    )
    restamp: bool = constant(True, "Stamp images with the present time instead of a bag's stamps.")
    depth_scale: float = constant(0.001, "Metres per unit of the depth PNGs in a folder.", limits=(1e-9, 1e3))
    horizontal_fov: float = constant(0.0, "Horizontal field of view in radians. 0 means unknown.", limits=(0.0, 2.96))
    fx: float = _pixels("fx")
    fy: float = _pixels("fy")
    cx: float = _pixels("cx")
    cy: float = _pixels("cy")
    image_topic: str = _topic("image")
    camera_info_topic: str = _topic("camera_info")
    depth_topic: str = _topic("depth")
    stream: RecordedStreamParameters = field(default=RecordedStreamParameters())


class ImageSource(CameraNode):
    """
    Node that publishes the frames of a source (see ``sources``) at the source's rate or a given one.

    Publishers
    ----------
    image : sensor_msgs/Image
    camera_info : sensor_msgs/CameraInfo
        As recorded if the source is a bag, including distortion. K is zero if the intrinsics are unknown.
    ground_truth/depth : sensor_msgs/Image
        Ground truth depth, 32FC1 in metres, if the source has depth. It belongs to the rectified image if the lens has
        distortion.
    ground_truth/camera_info : sensor_msgs/CameraInfo
        Intrinsics of ``ground_truth/depth``.

    The ROS parameters are those of `ImageSourceParameters`.
    """

    def __init__(self):
        super().__init__("image_source")
        self._chosen = p = declare(self, ImageSourceParameters, read_only=True)
        if (p.fx > 0) != (p.fy > 0):
            raise ValueError("parameters fx and fy belong together; give both or neither")
        self._stream = ImageStream(self, p.stream)
        self._source = open_source(
            p.source,
            depth_scale=p.depth_scale,
            image_topic=p.image_topic,
            camera_info_topic=None if p.fx > 0 else p.camera_info_topic,
            depth_topic=p.depth_topic,
        )
        self.get_logger().info(f"publishing {self._source.description}")
        for note in self._source.notes:
            self.get_logger().info(note)

    def work(self, metronome: Metronome) -> None:
        """Publish the source once, or repeatedly if ``loop`` is set."""
        enough = self._chosen.wait_for_subscribers
        if enough and not self._source.live:
            if self._stream.subscribers < enough:
                self.get_logger().info(f"waiting for {enough} to subscribe to {self.resolve_topic_name('image')}")
            while self._stream.subscribers < enough:
                if not metronome.wait_until(time.monotonic() + 0.05):
                    return
            metronome.wait_until(time.monotonic() + 0.3)  # the same subscriber often needs other topics too
        for turn in itertools.count():
            if not self._publish_once(metronome):
                return
            if self._source.live or self._stream.published == 0:
                reasons = "; ".join(self._source.losses.sentences())
                raise ValueError(f"{self._source.description} gives no more images" + (reasons and f": {reasons}"))
            if not self._chosen.loop:
                break
            if turn == 0:
                self.get_logger().info("starting again from the beginning")
        self._stream.drain()
        self._tell_losses()
        for sentence in self._source.losses.sentences():
            self.get_logger().warning(sentence)
        self.get_logger().info(f"published {self._stream.published} images")

    def _tell_losses(self) -> None:
        """Log which frames the source leaves out, once per kind."""
        for sentence in self._source.losses.news():
            self.get_logger().warning(sentence)

    def _publish_once(self, metronome: Metronome) -> bool:
        """Publish all frames; return False if the program is to end."""
        moment, before = time.monotonic(), None
        for frame in self._source:
            self._tell_losses()
            due = moment + self._pause(before, frame)
            if self._source.live and time.monotonic() < due:
                continue  # the camera is faster than the requested rate
            if not metronome.wait_until(due):
                return False
            moment, before = max(due, time.monotonic() - 0.1), frame  # delays of up to 0.1 s are made up for
            stamp = None
            if (
                frame.time_ns is not None and not self._chosen.restamp and not self._source.rate
            ):  # times of a video start at 0
                stamp = Time(sec=frame.time_ns // 10**9, nanosec=frame.time_ns % 10**9)
            camera = self._camera(frame)
            self._stream.publish(
                frame.image, frame.info or camera, frame.depth, stamp, depth_camera=camera, frame_id=frame.frame_id
            )
        return self._source.live or metronome.wait_until(moment + self._pause(before, before))

    def _pause(self, before: Frame | None, frame: Frame | None) -> float:
        """Return the time between two frames in seconds."""
        if before is None or frame is None:
            return 0.0
        if self._chosen.rate > 0:
            return 1.0 / self._chosen.rate
        if self._source.live:
            return 0.0
        if frame is not before and frame.time_ns is not None and before.time_ns is not None:
            return min(max((frame.time_ns - before.time_ns) / 1e9, 0.0), 10.0)
        return 1.0 / (self._source.rate or _FOLDER_RATE)

    def _camera(self, frame: Frame) -> PinholeCamera | None:
        """Return the rectified image's intrinsics: the user's, else the source's, else from the field of view."""
        (height, width), p = frame.image.shape[:2], self._chosen
        if p.fx > 0:
            return PinholeCamera(width, height, p.fx, p.fy, p.cx or (width - 1) / 2, p.cy or (height - 1) / 2)
        if frame.camera is not None:
            return frame.camera
        if p.horizontal_fov > 0:
            return PinholeCamera.from_fov(width, height, p.horizontal_fov)
        self.get_logger().warning(
            "intrinsics are not known and camera_info says so (K = 0); set horizontal_fov, or fx, fy, cx, cy",
            once=True,
        )
        return None


def main(args=None) -> int:
    """Run the node."""
    return run("image_source", ImageSource, args, "source:=my_bag")
