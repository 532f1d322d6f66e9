"""A camera, a subscriber and an operator in one: the other side of ``depth_estimation_node`` in its tests."""

from __future__ import annotations

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_processes import wait_for
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.conversions import camera_to_info, rgb_to_image
from depth_estimation_ros.pipeline.frame import OUTPUT_TYPES, OUTPUTS

MODULE = "depth_estimation_ros.nodes.depth_estimation"
RELIABLE = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE)
CAMERA = PinholeCamera(320, 240, 260.0, 261.0, 158.0, 121.0)


def picture(camera=CAMERA, seed=0) -> np.ndarray:
    """Return a picture of the camera's size, uint8 [h, w, 3]: smooth colours and some noise."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(40, 200, camera.width, dtype=np.float32)[None, :, None]
    noise = rng.uniform(-20, 20, (camera.height, camera.width, 3))
    return (ramp + noise).astype(np.uint8)


class DepthClient:
    """Publishes frames to a depth node, keeps what it publishes, and operates it."""

    def __init__(self, node, process, namespace="", qos=RELIABLE):
        self.node, self.process, self.namespace = node, process, namespace
        self.images = node.create_publisher(Image, f"{namespace}/image", qos)
        self.infos = node.create_publisher(CameraInfo, f"{namespace}/camera_info", qos)
        self.got = {topic: [] for topic in OUTPUTS}
        self.subscriptions = {}
        self.figures = {}
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)

    def _on_diagnostics(self, msg):
        status = msg.status[0]
        if status.name != f"{self.namespace}/depth_estimation: depth".lstrip("/"):
            return
        self.figures = {entry.key: entry.value for entry in status.values}
        self.figures |= {"level": status.level, "message": status.message, "name": status.name}

    def subscribe(self, *topics, qos=RELIABLE):
        for topic in topics or OUTPUTS:
            keep = self.got[topic].append
            self.subscriptions[topic] = self.node.create_subscription(
                OUTPUT_TYPES[topic], f"{self.namespace}/{topic}", keep, qos
            )
        self.wait(lambda: all(self.node.count_publishers(s.topic_name) for s in self.subscriptions.values()))

    def unsubscribe(self):
        for subscription in self.subscriptions.values():
            self.node.destroy_subscription(subscription)
        self.subscriptions.clear()

    def wait(self, condition, timeout=30.0):
        try:
            wait_for(self.node, condition, timeout, self.process)
        except AssertionError as error:
            raise AssertionError(f"{error}\nlast diagnostics: {self.figures}") from None

    def header(self) -> Header:
        """Return a header with a stamp of its own."""
        return Header(frame_id="camera_optical_frame", stamp=self.node.get_clock().now().to_msg())

    def send(self, image=None, info=None, camera=CAMERA):
        """Publish an image and its camera_info, with one header; returns the header."""
        header = self.header()
        image = rgb_to_image(picture(camera)) if image is None else image
        info = camera_to_info(camera) if info is None else info
        image.header = info.header = header
        self.infos.publish(info)
        self.images.publish(image)
        return header

    def result(self, topic, header):
        """Return the message of this stamp, None until it is there."""
        return next((msg for msg in self.got[topic] if msg.header.stamp == header.stamp), None)

    def send_until_published(self, topic="depth/image", **kwargs):
        """Publish frames, one after the other, until one comes back, as discovery takes its time."""
        headers = []

        def answered():
            if not headers or self.tick % 5 == 0:
                headers.append(self.send(**kwargs))
            self.tick += 1
            return any(self.result(topic, header) for header in headers)

        self.tick = 0
        self.wait(answered)
        return self.got[topic][-1]

    def figure(self, key) -> int:
        return int(self.figures.get(key, "0"))

    def settled(self):
        """Wait for diagnostics of which no frame is pending, and return them."""
        self.figures = {}
        self.wait(lambda: self.figures and self.figure("pending") == 0)
        f = self.figures
        assert self.figure("received") == sum(map(self.figure, ("published", "superseded", "failed"))), f
        return f

    def ask(self, service_type, name, request):
        """Call a service, and do not wait for the answer; returns its future."""
        client = self.node.create_client(service_type, f"{self.namespace}/depth_estimation/{name}")
        self.wait(client.service_is_ready)
        future = client.call_async(request)
        future.add_done_callback(lambda _: self.node.destroy_client(client))
        return future

    def answer(self, future):
        """Wait for the answer of a service."""
        self.wait(future.done)
        return future.result()

    def call(self, service_type, name, request):
        return self.answer(self.ask(service_type, name, request))

    def set(self, **values):
        """Set parameters together; returns the result."""
        parameters = [Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
        request = SetParametersAtomically.Request(parameters=parameters)
        return self.call(SetParametersAtomically, "set_parameters_atomically", request).result

    def ask_for(self, transition):
        """Ask for a transition by its name, as ``ros2 lifecycle set`` does; returns the future of the answer."""
        request = ChangeState.Request(transition=Transition(label=transition))
        return self.ask(ChangeState, "change_state", request)

    def change_state(self, transition) -> bool:
        """Ask for a transition, and say whether it succeeded."""
        return self.answer(self.ask_for(transition)).success
