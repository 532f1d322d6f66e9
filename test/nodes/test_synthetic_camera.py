"""The synthetic camera as a process of its own: what it publishes, how it refuses, how it ends."""

import numpy as np
import pytest

pytest.importorskip("rclpy")
from ros_processes import output, ros_context, running_node, stop, wait_for
from sensor_msgs.msg import CameraInfo, Image

from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.conversions import camera_from_info, image_to_depth, image_to_rgb

CAMERA = "depth_estimation_ros.nodes.synthetic_camera"
SMALL = {"width": 160, "height": 120}


def stamp(message):
    return message.header.stamp.sec, message.header.stamp.nanosec


def test_image_intrinsics_and_depth_belong_together():
    images, infos, depths = {}, {}, {}
    with running_node(CAMERA, parameters=SMALL) as camera, ros_context() as node:
        node.create_subscription(Image, "image", lambda m: images.update({stamp(m): m}), 10)
        node.create_subscription(CameraInfo, "camera_info", lambda m: infos.update({stamp(m): m}), 10)
        node.create_subscription(Image, "ground_truth/depth", lambda m: depths.update({stamp(m): m}), 10)
        wait_for(node, lambda: len(images.keys() & infos.keys() & depths.keys()) >= 10, process=camera)
        assert stop(camera) == 0
    key = max(images.keys() & infos.keys() & depths.keys())
    image, info, depth = images[key], infos[key], depths[key]
    assert {m.header.frame_id for m in (image, info, depth)} == {"camera_optical_frame"}
    assert (image.encoding, depth.encoding) == ("rgb8", "32FC1")
    assert image_to_rgb(image).shape == (120, 160, 3)
    metres = image_to_depth(depth)
    assert metres.shape == (120, 160)
    assert np.isfinite(metres).all() and metres.min() > 0.3 and metres.max() < 9.0
    # NYU's camera sees 640 pixels with a focal length of 518.86.
    assert camera_from_info(info) == PinholeCamera.from_fov(160, 120, 2 * np.arctan(320 / 518.86))
    assert info.k[0] == pytest.approx(518.86 / 4)


def test_the_picture_moves_and_time_goes_forward():
    images = []
    with running_node(CAMERA, parameters=SMALL) as camera, ros_context() as node:
        node.create_subscription(Image, "image", images.append, 10)
        wait_for(node, lambda: len(images) >= 15, process=camera)
    stamps = [stamp(m) for m in images]
    assert stamps == sorted(set(stamps))
    assert bytes(images[0].data) != bytes(images[-1].data)


def test_parameters_choose_encoding_frame_view_and_reliability():
    images, infos = [], []
    parameters = {
        **SMALL,
        "image_encoding": "mono8",
        "frame_id": "eye",
        "horizontal_fov": 1.0,
        "speed": 0.0,
        "reliability": "best_effort",
    }
    with running_node(CAMERA, parameters=parameters) as camera, ros_context() as node:
        from rclpy.qos import qos_profile_sensor_data

        node.create_subscription(Image, "image", images.append, qos_profile_sensor_data)
        node.create_subscription(CameraInfo, "camera_info", infos.append, qos_profile_sensor_data)
        wait_for(node, lambda: len(images) >= 5 and infos, process=camera)
        publisher = node.get_publishers_info_by_topic("/image")[0]
    assert images[0].encoding == "mono8" and len(images[0].data) == 160 * 120
    assert images[0].header.frame_id == "eye"
    assert infos[0].k[0] == pytest.approx(80 / np.tan(0.5))
    assert publisher.qos_profile.reliability.name == "BEST_EFFORT"
    assert bytes(images[0].data) == bytes(images[-1].data)  # at speed 0 it stands still


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"width": 2}, "width"),
        ({"rate": 0.0}, "rate"),
        ({"rate": "fast"}, "rate"),
        ({"horizontal_fov": 4.0}, "horizontal_fov"),
        ({"image_encoding": "jpeg"}, "image_encoding"),
        ({"reliability": "maybe"}, "reliability"),
    ],
)
def test_a_wrong_parameter_is_refused_in_one_sentence(parameters, named):
    with running_node(CAMERA, parameters=parameters) as camera:
        assert camera.wait(30) == 1
        lines = output(camera).strip().splitlines()
        assert len(lines) == 1
        assert lines[0].replace("parameter ", "").startswith(f"synthetic_camera: {named} must be")


def test_a_parameter_cannot_be_changed_silently_while_running():
    from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
    from rcl_interfaces.srv import SetParameters

    with running_node(CAMERA, parameters=SMALL) as camera, ros_context() as node:
        client = node.create_client(SetParameters, "/synthetic_camera/set_parameters")
        wait_for(node, client.service_is_ready, process=camera)
        value = ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=5.0)
        answer = client.call_async(SetParameters.Request(parameters=[Parameter(name="rate", value=value)]))
        wait_for(node, answer.done, process=camera)
    assert not answer.result().results[0].successful
