"""Node ``player``: publishes the images and camera_info of a bag at the recorded rate or a multiple of it."""

from __future__ import annotations

import array
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from builtin_interfaces.msg import Time
from rclpy.duration import Duration
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from depth_estimation_ros.bags.messages import frame_of, stamp_of
from depth_estimation_ros.bags.reader import BagReader
from depth_estimation_ros.conversions import recorded_info
from depth_estimation_ros.nodes.image_stream import CameraNode, Metronome, run
from depth_estimation_ros.parameters.declaration import ParameterGroup, constant
from depth_estimation_ros.parameters.declare import declare

PLAYED = "played"
"""Topic with the std_msgs/Header of each image, published right before the image."""


@dataclass(frozen=True)
class PlayerParameters(ParameterGroup):
    """Parameters of the node ``player``."""

    bag: str = constant("", "Path of the bag.")
    image: str = constant("", "Topic of image in the bag.")
    camera_info: str = constant("", "Topic of camera_info in the bag.")
    speed: float = constant(1.0, "Playback speed as a factor of the recorded rate.", limits=(0.01, 1000.0))


class Player(CameraNode):
    """
    Node that plays the images and the camera_info of a bag without changing the messages.

    Unlike `image_source`, it does not rectify or decompress images; like a camera driver, it leaves that to the
    subscriber.

    Publishers
    ----------
    image : sensor_msgs/Image, or image/compressed : sensor_msgs/CompressedImage
    camera_info : sensor_msgs/CameraInfo
    played : std_msgs/Header
    """

    def __init__(self):
        super().__init__("player")
        self._chosen = declare(self, PlayerParameters, read_only=True)
        qos = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
        self._image = self.create_publisher(Image, "image", qos)
        self._compressed = self.create_publisher(CompressedImage, "image/compressed", qos)
        self._info = self.create_publisher(CameraInfo, "camera_info", qos)
        self._played = self.create_publisher(Header, PLAYED, qos)

    def work(self, metronome: Metronome) -> None:
        """Play the bag once. It starts when all topics have subscribers, and does not wait for slow subscribers."""
        everybody = (self._played, self._info)
        while not all(p.get_subscription_count() for p in everybody) or not self._images_are_heard:
            if not metronome.wait_until(time.monotonic() + 0.05):
                return
        metronome.wait_until(time.monotonic() + 0.5)  # the subscribers may discover the publishers a little later
        begin = None
        topics = filter(None, (self._chosen.image, self._chosen.camera_info))
        with BagReader(Path(self._chosen.bag)) as reader:
            for topic, received, message in reader.messages(topics):
                if message is None:
                    continue
                begin = begin or (time.monotonic(), received)
                if not metronome.wait_until(begin[0] + (received - begin[1]) * 1e-9 / self._chosen.speed):
                    return
                self._publish(topic, message, received)
        for publisher in (self._played, self._info, self._image, self._compressed):
            publisher.wait_for_all_acked(Duration(seconds=1))

    @property
    def _images_are_heard(self) -> bool:
        return self._image.get_subscription_count() + self._compressed.get_subscription_count() > 0

    def _publish(self, topic: str, message, received: int) -> None:
        # As everywhere in the evaluation, the time of receipt replaces a stamp of zero.
        stamp = stamp_of(message) or received
        header = Header(stamp=Time(sec=stamp // 10**9, nanosec=stamp % 10**9), frame_id=frame_of(message))
        if topic == self._chosen.camera_info:
            self._info.publish(recorded_info(message, header))
        else:
            made, publisher = _image(message, header), self._image
            if isinstance(made, CompressedImage):
                publisher = self._compressed
            self._played.publish(header)
            publisher.publish(made)


def _image(message, header: Header) -> Image | CompressedImage:
    if hasattr(message, "format"):
        made = CompressedImage(header=header, format=message.format)
    else:
        names = ("height", "width", "encoding", "is_bigendian", "step")
        made = Image(header=header, **{name: getattr(message, name) for name in names})
    made.data = array.array("B")
    made.data.frombytes(memoryview(message.data))
    return made


def main(args=None) -> int:
    """Run the node."""
    return run("player", Player, args, "bag:=my_bag")


if __name__ == "__main__":
    sys.exit(main())
