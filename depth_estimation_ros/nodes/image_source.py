"""Node ``image_source``: publishes a folder of images, a video, a webcam or a bag as a camera."""

from __future__ import annotations

if __name__ == "__main__":  # before the imports, which take long enough for a Ctrl-C
    from depth_estimation_ros import entry

    entry.image_source()

import itertools
import math
import time

from builtin_interfaces.msg import Time
from rclpy.node import Node

from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.nodes.image_stream import ImageStream, Metronome, declare, run
from depth_estimation_ros.sources import Frame, open_source

_FOLDER_RATE = 10.0  # images a second where neither the user nor the source says


class ImageSource(Node):
    """
    Publishes the frames of a source (see ``sources``) at its own rate or another.

    Publishers
    ----------
    image : sensor_msgs/Image
    camera_info : sensor_msgs/CameraInfo
        A bag's as it was recorded, distortion included; K of zeros where the intrinsics are not known.
    ground_truth/depth : sensor_msgs/Image
        32FC1, metres; where the source has depth. Of the rectified image where the lens distorts.
    ground_truth/camera_info : sensor_msgs/CameraInfo
        Of that.

    Parameters are declared, with ranges and descriptions, in ``__init__`` and by :class:`ImageStream`.
    """

    def __init__(self):
        super().__init__("image_source")
        source = declare(self, "source", "", "Image, folder, video, bag, or the number of a webcam.")
        self._rate = declare(
            self,
            "rate",
            0.0,
            "Images a second; 0 is the source's own rate (a folder's is 10).",
            (0.0, 1000.0),
        )
        self._loop = declare(self, "loop", False, "Start again at the end.")
        self._wait = declare(
            self,
            "wait_for_subscribers",
            1,
            "Hold the first image until so many subscribe; they lose none then.",
            (0, 100),
        )
        self._restamp = declare(self, "restamp", True, "Stamp with the present time, not with a bag's own times.")
        depth_scale = declare(self, "depth_scale", 0.001, "Metres per unit of a folder's depth PNGs.", (1e-9, 1e3))
        self._fov = declare(
            self, "horizontal_fov", 0.0, "Horizontal field of view in radians; 0 is unknown.", (0.0, 3.1)
        )
        names = ("fx", "fy", "cx", "cy")
        self._intrinsics = {
            name: declare(self, name, 0.0, f"{name} in pixels; 0 is unknown.", (0.0, 1e6)) for name in names
        }
        topics = {
            f"{kind}_topic": declare(self, f"{kind}_topic", "", f"A bag's topic of {kind}; empty is the first.")
            for kind in ("image", "camera_info", "depth")
        }
        if (self._intrinsics["fx"] > 0) != (self._intrinsics["fy"] > 0):
            raise ValueError("parameters fx and fy belong together; give both or neither")
        if self._intrinsics["fx"] > 0:
            topics["camera_info_topic"] = None
        self._stream = ImageStream(self, "")
        self._source = open_source(source, depth_scale=depth_scale, **topics)
        self.get_logger().info(f"publishing {self._source.description}")
        for note in self._source.notes:
            self.get_logger().info(note)

    def work(self, metronome: Metronome) -> None:
        """Publish the source, once or for ever."""
        if self._wait and not self._source.live:
            if self._stream.subscribers < self._wait:
                self.get_logger().info(f"waiting for {self._wait} to subscribe to {self.resolve_topic_name('image')}")
            while self._stream.subscribers < self._wait:
                if not metronome.wait_until(time.monotonic() + 0.05):
                    return
            metronome.wait_until(time.monotonic() + 0.3)  # who subscribes the image often subscribes more
        for turn in itertools.count():
            if not self._publish_once(metronome):
                return
            if self._source.live or self._stream.published == 0:
                reasons = "; ".join(self._source.losses.sentences())
                raise ValueError(f"{self._source.description} gives no more images" + (reasons and f": {reasons}"))
            if not self._loop:
                break
            if turn == 0:
                self.get_logger().info("starting again from the beginning")
        self._stream.drain()
        self._tell_losses()
        for sentence in self._source.losses.sentences():
            self.get_logger().warning(sentence)
        self.get_logger().info(f"published {self._stream.published} images")

    def _tell_losses(self) -> None:
        """Say what is left out, once of each kind."""
        for sentence in self._source.losses.news():
            self.get_logger().warning(sentence)

    def _publish_once(self, metronome: Metronome) -> bool:
        """Publish all frames; False if the end was asked for."""
        moment, before = time.monotonic(), None
        for frame in self._source:
            self._tell_losses()
            due = moment + self._pause(before, frame)
            if self._source.live and time.monotonic() < due:
                continue  # a camera that is faster than asked for
            if not metronome.wait_until(due):
                return False
            moment, before = max(due, time.monotonic() - 0.1), frame  # small delays are caught up
            stamp = None
            if frame.time_ns is not None and not self._restamp and not self._source.rate:  # a video's begin at 0
                stamp = Time(sec=frame.time_ns // 10**9, nanosec=frame.time_ns % 10**9)
            camera = self._camera(frame)
            self._stream.publish(
                frame.image, frame.info or camera, frame.depth, stamp, depth_camera=camera, frame_id=frame.frame_id
            )
        return self._source.live or metronome.wait_until(moment + self._pause(before, before))

    def _pause(self, before: Frame | None, frame: Frame | None) -> float:
        """Seconds between two frames."""
        if before is None:
            return 0.0
        if self._rate > 0:
            return 1.0 / self._rate
        if self._source.live:
            return 0.0
        if frame is not before and frame.time_ns is not None and before.time_ns is not None:
            return min(max((frame.time_ns - before.time_ns) / 1e9, 0.0), 10.0)
        return 1.0 / (self._source.rate or _FOLDER_RATE)

    def _camera(self, frame: Frame) -> PinholeCamera | None:
        """Intrinsics of the rectified image: the user's, else the source's, else from the field of view."""
        height, width = frame.image.shape[:2]
        fx, fy, cx, cy = self._intrinsics.values()
        if fx > 0:
            return PinholeCamera(width, height, fx, fy, cx or (width - 1) / 2, cy or (height - 1) / 2)
        if frame.camera is not None:
            return frame.camera
        if 0 < self._fov < math.pi:
            return PinholeCamera.from_fov(width, height, self._fov)
        self.get_logger().warning(
            "intrinsics are not known and camera_info says so (K = 0); set horizontal_fov, or fx, fy, cx, cy",
            once=True,
        )
        return None


def main(args=None) -> int:
    """Run the node."""
    return run("image_source", ImageSource, args, "source:=my_bag")
