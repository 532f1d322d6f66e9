"""How the node looks at a camera: mounted otherwise than upright, with a lens, and how long that takes."""

import numpy as np
import pytest
from depth_client import CAMERA, MODULE, RELIABLE, DepthClient, picture
from ros_processes import output, ros_context, running_node
from sensor_msgs.msg import Image
from std_msgs.msg import Float32MultiArray

from depth_estimation_ros import DepthEstimator
from depth_estimation_ros.conversions import camera_from_info, camera_to_info, image_to_depth, rgb_to_image
from depth_estimation_ros.geometry.lens import Lens
from depth_estimation_ros.geometry.rotation import turned
from depth_estimation_ros.pipeline.stopwatch import STAGES

LENS = Lens(CAMERA, "plumb_bob", (-0.3, 0.1, 0.0, 0.0, 0.0))


@pytest.fixture(scope="module")
def depth():
    """Run a node on a topic whose name says that its images are rectified."""
    names = {"__ns": "/view", "image": "image_rect_color"}
    parameters = {"preview_rate": 0.0, "threads": 2}
    with ros_context() as node, running_node(MODULE, remappings=names, parameters=parameters) as process:
        client = DepthClient(node, process, "/view")
        node.destroy_publisher(client.images)
        client.images = node.create_publisher(Image, "/view/image_rect_color", RELIABLE)
        client.subscribe("depth/image", "depth/camera_info")
        client.send_until_published()
        yield client


@pytest.fixture(scope="module")
def estimator():
    return DepthEstimator.load(threads=2)


def scenery() -> np.ndarray:
    """Return a picture that a network takes for something else when it stands on its head."""
    image = picture()
    image[: CAMERA.height // 2] //= 3
    image[:, : CAMERA.width // 3, 2] //= 2
    return image


@pytest.mark.parametrize("degrees", (90, 180, 270))
def test_the_network_sees_an_upright_image_and_its_depth_comes_back_as_the_camera_is_mounted(depth, estimator, degrees):
    assert depth.set(image_rotation=degrees, depth_resolution="network").successful
    try:
        header = depth.send(image=rgb_to_image(scenery()))
        depth.wait(lambda: depth.result("depth/image", header))
    finally:
        assert depth.set(image_rotation=0, depth_resolution="camera").successful
    found = image_to_depth(depth.result("depth/image", header))
    upright = estimator.estimate(turned(scenery(), degrees), CAMERA.turned(degrees)).depth
    np.testing.assert_allclose(found, turned(upright, -degrees), rtol=1e-3)
    as_it_is = estimator.estimate(scenery(), CAMERA).depth
    assert found.shape != as_it_is.shape or np.nanmedian(np.abs(as_it_is / found - 1)) > 0.05, "no difference to see"


def send_through_lens(depth):
    info = camera_to_info(CAMERA)
    info.d, info.p = list(LENS.coefficients), [0.0] * 12
    return depth.send(info=info)


@pytest.mark.parametrize(
    ("distortion", "camera"), [("auto", CAMERA), ("rectified", CAMERA), ("rectify", LENS.rectified)]
)
def test_images_are_rectified_or_not_as_the_topic_or_the_parameter_says(depth, distortion, camera):
    assert depth.set(distortion=distortion).successful
    try:
        header = send_through_lens(depth)
        depth.wait(lambda: depth.result("depth/camera_info", header))
    finally:
        assert depth.set(distortion="auto").successful
    assert camera_from_info(depth.result("depth/camera_info", header)) == camera
    if distortion == "auto":
        assert output(depth.process).count("are taken as rectified, by the name of their topic") == 1


def test_distortion_can_be_refused_with_a_sentence(depth):
    assert depth.set(distortion="refuse").successful
    try:
        send_through_lens(depth)
        depth.wait(lambda: depth.figure("failed: camera_info not usable"))
        assert "camera_info has distortion ('plumb_bob'), which the parameter distortion refuses" in output(
            depth.process
        )
        header = depth.send()  # a camera without distortion is welcome
        depth.wait(lambda: depth.result("depth/image", header))
    finally:
        assert depth.set(distortion="auto").successful


def test_a_lens_that_is_not_known_fails_with_a_sentence(depth):
    info = camera_to_info(CAMERA)
    info.d, info.distortion_model = [0.1, 0.2, 0.3], "thin_prism"
    assert depth.set(distortion="rectify").successful
    before = depth.figure("failed: camera_info not usable")
    try:
        depth.send(info=info)
        depth.wait(lambda: depth.figure("failed: camera_info not usable") == before + 1)
    finally:
        assert depth.set(distortion="auto").successful


def test_latency_of_each_stage_is_published_for_plots(depth):
    messages = []
    subscription = depth.node.create_subscription(Float32MultiArray, "/view/depth/latency", messages.append, 10)
    try:
        depth.wait(lambda: depth.send() and messages)
    finally:
        depth.node.destroy_subscription(subscription)
    (dimension,) = messages[-1].layout.dim
    assert dimension.label.split(",") == list(STAGES) and dimension.size == len(messages[-1].data) == len(STAGES)
    times = dict(zip(STAGES, messages[-1].data, strict=True))
    assert all(times[stage] > 0.0 for stage in ("decode", "preprocess", "inference", "message", "publish"))
    assert times["cloud"] == times["scan"] == times["preview"] == 0.0, "nobody asked for these"
    work = sum(time for stage, time in times.items() if stage != "latency")
    assert times["latency"] > work > times["inference"]
