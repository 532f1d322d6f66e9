"""Messages of a stream reuse their memory, and never show anything of an earlier frame."""

import numpy as np
import pytest
from std_msgs.msg import Header

from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.conversions import depth_to_image, image_to_depth, message_to_cloud
from depth_estimation_ros.estimator import DepthMap
from depth_estimation_ros.geometry import point_cloud
from depth_estimation_ros.pipeline.messages import OutputMessages

CAMERA = PinholeCamera(8, 6, 10.0, 10.0, 3.5, 2.5)


def depth_map(value=None):
    depth = np.random.default_rng(0).uniform(0.5, 9.0, (6, 8)).astype(np.float32)
    depth[2, 3] = np.nan
    return DepthMap(depth if value is None else np.full_like(depth, value), CAMERA)


@pytest.mark.parametrize("encoding", ["32FC1", "16UC1"])
@pytest.mark.parametrize("size", [(8, 6), (32, 24)])
def test_depth_is_that_of_the_resized_map(encoding, size):
    expected = depth_map().resized(*size)
    image, resampled = OutputMessages().depth_image(depth_map(), *size, Header(frame_id="optical"), encoding)
    np.testing.assert_array_equal(resampled.depth, expected.depth)
    assert resampled.camera == expected.camera
    assert image == depth_to_image(expected.depth, Header(frame_id="optical"), encoding)


def test_cloud_is_that_of_the_depth_map():
    rgb = np.random.default_rng(1).integers(0, 256, (6, 8, 3), np.uint8)
    xyz, colours = message_to_cloud(OutputMessages().cloud(depth_map(), rgb, Header()))
    np.testing.assert_array_equal(xyz, point_cloud(depth_map().depth, CAMERA, rgb)[..., :3])
    np.testing.assert_array_equal(colours, rgb)


def test_frames_after_the_first_use_the_same_memory():
    messages = OutputMessages()
    first, _ = messages.depth_image(depth_map(1.0), 32, 24, Header())
    cloud = messages.cloud(depth_map(1.0), None, Header())
    addresses = first.data.buffer_info(), cloud.data.buffer_info()
    second, _ = messages.depth_image(depth_map(2.0), 32, 24, Header(frame_id="second"))
    cloud = messages.cloud(depth_map(2.0), None, Header(frame_id="second"))
    assert (second.data.buffer_info(), cloud.data.buffer_info()) == addresses
    assert (image_to_depth(second) == 2.0).all() and (message_to_cloud(cloud)[0][..., 2] == 2.0).all()
    assert second.header.frame_id == cloud.header.frame_id == "second"


def test_size_and_encoding_may_change_between_frames():
    messages = OutputMessages()
    for size, encoding in [((8, 6), "32FC1"), ((16, 12), "32FC1"), ((16, 12), "16UC1"), ((8, 6), "32FC1")]:
        image, large = messages.depth_image(depth_map(2.0), *size, Header(), encoding)
        assert (image.width, image.height, image.encoding) == (*size, encoding)
        assert (image_to_depth(image) == 2.0).all()
        cloud = messages.cloud(large, None, Header())
        assert (cloud.width, cloud.height, len(cloud.data)) == (*size, 16 * size[0] * size[1])


def test_a_cloud_without_intrinsics_is_refused():
    with pytest.raises(ValueError, match="provide camera_info"):
        OutputMessages().cloud(DepthMap(np.ones((2, 2), np.float32)), None, Header())
