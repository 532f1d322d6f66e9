"""Clouds become messages that others read, and messages of others clouds; a malformed one gets one clear sentence."""

import numpy as np
import pytest
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.conversions import cloud_to_message, message_to_cloud, message_to_points, new_cloud
from depth_estimation_ros.geometry import point_cloud


def test_cloud_message_has_the_layout_rviz_and_pcl_read():
    depth = np.array([[2.0, np.nan]], np.float32)
    camera = PinholeCamera(2, 1, 100.0, 100.0, 0.0, 0.0)
    rgb = np.array([[[255, 2, 3], [4, 5, 6]]], np.uint8)
    msg = cloud_to_message(point_cloud(depth, camera, rgb), Header(frame_id="optical"))
    assert [(f.name, f.offset, f.datatype, f.count) for f in msg.fields] == [
        ("x", 0, PointField.FLOAT32, 1),
        ("y", 4, PointField.FLOAT32, 1),
        ("z", 8, PointField.FLOAT32, 1),
        ("rgb", 12, PointField.FLOAT32, 1),
    ]
    assert (msg.height, msg.width, msg.point_step, msg.row_step) == (1, 2, 16, 32)
    assert not msg.is_dense and not msg.is_bigendian and msg.header.frame_id == "optical"
    assert msg.data[8:12].tobytes() == np.float32(2.0).tobytes()
    assert msg.data[12:16].tolist() == [3, 2, 255, 0]


def test_cloud_round_trip_keeps_points_and_colours():
    rgb = np.random.default_rng(0).integers(0, 256, (6, 10, 3), np.uint8)
    points = point_cloud(np.full((6, 10), 1.5, np.float32), PinholeCamera(10, 6, 9.0, 9.0, 4.5, 2.5), rgb)
    xyz, colours = message_to_cloud(cloud_to_message(points))
    assert np.array_equal(xyz, points[..., :3]) and np.array_equal(colours, rgb)


def test_clouds_of_others_are_read_with_padding_other_order_and_big_endian():
    points = np.zeros((2, 3), np.dtype({"names": ["rgba", "z", "x", "y"], "formats": [">u4"] + [">f4"] * 3}))
    points["x"], points["y"], points["z"], points["rgba"] = 1.0, 2.0, 3.0, 0xFF0A0B0C
    msg = PointCloud2(height=2, width=3, point_step=16, row_step=50, is_bigendian=True)
    kinds = {"rgba": PointField.UINT32}
    msg.fields = [
        PointField(name=name, offset=4 * i, datatype=kinds.get(name, PointField.FLOAT32), count=1)
        for i, name in enumerate(points.dtype.names)
    ]
    msg.data.frombytes(b"".join(row.tobytes() + b"??" for row in points))
    xyz, rgb = message_to_cloud(msg)
    assert (xyz == [1.0, 2.0, 3.0]).all() and (rgb == [0x0A, 0x0B, 0x0C]).all()


FLOATS = [PointField(name=name, offset=4 * k, datatype=PointField.FLOAT32, count=1) for k, name in enumerate("xyz")]


def cloud(width, height, data=b"", fields=FLOATS, **options):
    msg = PointCloud2(
        width=width, height=height, fields=fields, **{"point_step": 12, "row_step": 12 * width, **options}
    )
    msg.data.frombytes(data)
    return msg


@pytest.mark.parametrize(
    ("msg", "shape"),
    [(cloud(0, 1), (1, 0, 3)), (cloud(0, 0), (0, 0, 3)), (cloud(7, 0), (0, 7, 3)), (new_cloud(0, 1), (1, 0, 3))],
)
def test_a_cloud_of_no_points_is_one(msg, shape):
    assert message_to_points(msg).shape == shape


def test_steps_that_are_left_out_and_a_last_row_without_padding_are_understood():
    rows = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    one = rows[0].tobytes()
    for msg in (cloud(2, 1, one, row_step=0), cloud(2, 1, one, row_step=99)):
        assert np.array_equal(message_to_points(msg), rows[:1])
    both = (cloud(2, 2, rows.tobytes(), row_step=0), cloud(2, 2, one + b"pads" + rows[1].tobytes(), row_step=28))
    for msg in both:
        assert np.array_equal(message_to_points(msg), rows)


def test_doubles_are_read():
    fields = [PointField(name=name, offset=8 * k, datatype=PointField.FLOAT64, count=1) for k, name in enumerate("zyx")]
    msg = cloud(1, 1, np.array([3.0, 2.0, 1.0]).tobytes(), fields, point_step=24, row_step=24)
    assert message_to_points(msg).tolist() == [[[1.0, 2.0, 3.0]]]


def field(name, offset=0, datatype=PointField.FLOAT32, count=1):
    return PointField(name=name, offset=offset, datatype=datatype, count=count)


@pytest.mark.parametrize(
    ("msg", "sentence"),
    [
        (cloud(1, 1, bytes(12), [*FLOATS, field("x")]), "exactly one field x"),
        (cloud(1, 1, bytes(12), FLOATS[:2]), "exactly one field z"),
        (cloud(1, 1, bytes(12), [*FLOATS[:2], field("z", 8, PointField.INT16)]), "as FLOAT32 or FLOAT64; .*INT16"),
        (cloud(1, 1, bytes(12), [*FLOATS[:2], field("z", 8, count=2)]), "exactly one field z"),
        (cloud(1, 1, bytes(12), [*FLOATS[:2], field("z", 9)]), "z at 9, does not fit"),
        (cloud(1, 1, bytes(12), [*FLOATS[:2], field("z", 2**32 - 1)]), "does not fit"),
        (cloud(2, 2, bytes(48), row_step=20), "does not fit"),
        (cloud(2**32 - 1, 2**32 - 1, b"", row_step=0, point_step=0), "does not fit"),
        (cloud(0, 1, bytes(12)), "does not fit"),
    ],
)
def test_clouds_whose_numbers_do_not_agree_are_refused_in_a_sentence(msg, sentence):
    with pytest.raises(ValueError, match=sentence):
        message_to_points(msg)


def test_malformed_clouds_are_refused():
    good = cloud_to_message(point_cloud(np.ones((2, 2), np.float32), PinholeCamera(2, 2, 1.0, 1.0, 0.5, 0.5)))
    good.data.pop()
    with pytest.raises(ValueError, match="does not fit its 63 bytes"):
        message_to_cloud(good)
    with pytest.raises(ValueError, match="x, y, z and rgb, got none"):
        message_to_cloud(PointCloud2())
    with pytest.raises(ValueError, match="float32"):
        cloud_to_message(np.zeros((2, 2, 3), np.float32))


def test_sensor_msgs_py_reads_the_cloud_we_write():
    reader = pytest.importorskip(
        "sensor_msgs_py.point_cloud2", reason="sensor_msgs_py comes with a full ROS installation"
    )
    depth = np.array([[1.0, 2.0], [np.nan, 4.0]], np.float32)
    rgb = np.full((2, 2, 3), 255, np.uint8)
    points = point_cloud(depth, PinholeCamera(2, 2, 1.0, 1.0, 0.5, 0.5), rgb)
    read = reader.read_points(cloud_to_message(points), skip_nans=True)
    expected = points.reshape(-1, 4)[[0, 1, 3]]
    assert np.array_equal(np.stack([read[name] for name in ("x", "y", "z", "rgb")], -1), expected)
