"""What a robot navigates by, as the node publishes it: cloud filters and scan, of scenes known by hand."""

import math

import numpy as np
import pytest
from painted_depth import CAMERA, painted_node, painting
from ros_processes import output

from depth_estimation_ros.conversions import message_to_cloud
from depth_estimation_ros.geometry.pose import camera_pose
from depth_estimation_ros.settings import defaults

HEIGHT = 0.5
# Half of the view a wall at 3 m, half a box at 1.5 m, and between them a ramp of four pixels, as networks draw edges.
WALL, BOX = 3.0, 1.5
SCENE = np.full((CAMERA.height, CAMERA.width), WALL)
SCENE[:, :44] = BOX
SCENE[:, 44:48] = [1.8, 2.1, 2.4, 2.7]


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with painted_node(
        tmp_path_factory.mktemp("model"), "/eyes", camera_height=HEIGHT, image_reliability="reliable"
    ) as client:
        client.subscribe("depth/points", "depth/scan")
        client.send_until_published("depth/scan", image=painting(SCENE), camera=CAMERA)
        yield client


@pytest.fixture
def look(running):
    """Set parameters, show a scene, and return what is published of it; the parameters are set back in the end."""
    changed = set()

    def result(topic, scene=SCENE, deviation=0.05, **parameters):
        changed.update(parameters)
        outcome = running.set(**parameters) if parameters else None
        assert outcome is None or outcome.successful, outcome
        header = running.send(image=painting(scene, deviation), camera=CAMERA)
        running.wait(lambda: running.result(topic, header))
        return running.result(topic, header)

    yield result
    initial = {**defaults(), "camera_height": HEIGHT}
    assert not changed or running.set(**{name: initial[name] for name in changed}).successful


def points(message) -> np.ndarray:
    """Return a cloud's points, [height, width, 3], as those of the scene."""
    return message_to_cloud(message)[0]


def test_without_limits_every_pixel_is_a_point(look):
    xyz = points(look("depth/points", edge_angle=0.0))
    assert xyz.shape == (CAMERA.height, CAMERA.width, 3)
    np.testing.assert_allclose(xyz[..., 2], SCENE, atol=1e-3)
    u = np.arange(CAMERA.width)
    np.testing.assert_allclose(xyz[10, :, 0], (u - CAMERA.cx) / CAMERA.fx * SCENE[10], atol=2e-3)


def test_the_range_is_that_from_the_camera(look):
    everything = points(look("depth/points", edge_angle=0.0))
    xyz = points(look("depth/points", cloud_max_range=2.0))
    near = np.linalg.norm(everything, axis=-1) <= 2.0
    assert 0.3 < near.mean() < 0.6
    np.testing.assert_array_equal(np.isfinite(xyz[..., 2]), near)


def test_heights_are_those_over_the_base_frame(look):
    pitch = 0.2
    everything = points(look("depth/points", edge_angle=0.0, camera_pitch=pitch))
    xyz = points(look("depth/points", cloud_min_height=0.1, cloud_max_height=0.9))
    pose = camera_pose(HEIGHT, pitch)
    heights = everything @ pose[2, :3] + HEIGHT
    band = (heights >= 0.1) & (heights <= 0.9)
    assert 0.1 < band.mean() < 0.6
    assert np.mean(np.isfinite(xyz[..., 2]) != band) < 1e-3  # a millimetre's rounding at the limits


def test_a_stride_takes_every_so_many_th_row_and_column(look):
    everything = points(look("depth/points", edge_angle=0.0))
    xyz = points(look("depth/points", cloud_stride=3))
    assert xyz.shape == (CAMERA.height // 3, CAMERA.width // 3, 3)
    np.testing.assert_allclose(xyz, everything[::3, ::3], atol=1e-5)


def test_voxels_leave_one_measured_point_in_each_cube(look):
    everything = points(look("depth/points", edge_angle=0.0)).reshape(-1, 3)
    message = look("depth/points", cloud_voxel_size=0.25)
    xyz = points(message).reshape(-1, 3)
    cells = {tuple(cell) for cell in np.floor(everything / 0.25).astype(int)}
    assert message.height == 1 and message.is_dense
    assert len(xyz) == len(cells) == len({tuple(cell) for cell in np.floor(xyz / 0.25).astype(int)})
    measured = {tuple(point) for point in np.round(everything, 5).tolist()}
    assert all(tuple(point) in measured for point in np.round(xyz, 5).tolist())


def test_the_ramp_between_two_surfaces_is_in_neither_cloud_nor_scan(look):
    with_ramp = points(look("depth/points", edge_angle=0.0))[..., 2]
    without = points(look("depth/points", edge_angle=0.15))[..., 2]
    between = (with_ramp > BOX + 0.01) & (with_ramp < WALL - 0.01)
    assert between.sum() == 4 * CAMERA.height
    assert np.isnan(without[between]).all()
    assert np.isfinite(without[:, :43]).all() and np.isfinite(without[:, 49:]).all()
    # In the scan the box and the wall stand apart by more than a metre, and nothing is between.
    forward = ahead(look("depth/scan", edge_angle=0.15))
    assert not ((forward > BOX + 0.1) & (forward < WALL - 0.1)).any()
    forward = ahead(look("depth/scan", edge_angle=0.0))
    assert ((forward > BOX + 0.1) & (forward < WALL - 0.1)).any()


def test_what_the_model_is_unsure_of_is_left_out(look, running):
    unsure = np.zeros(SCENE.shape)
    unsure[:, 60:] = 0.6  # a fifth of the wall's distance
    depth = points(look("depth/points", deviation=unsure, edge_angle=0.0, max_relative_deviation=0.1))[..., 2]
    assert np.isnan(depth[:, 60:]).all() and np.isfinite(depth[:, :60]).all()
    scan = look("depth/scan", deviation=unsure)
    assert not np.isfinite(ahead(scan)[: len(scan.ranges) // 4]).any()  # the right of the view comes first
    assert np.isfinite(points(look("depth/points", deviation=unsure, max_relative_deviation=0.5))[..., 2]).all()
    refusal = running.set(max_relative_deviation=-1.0)
    assert not refusal.successful


def angles(scan) -> np.ndarray:
    return scan.angle_min + scan.angle_increment * np.arange(len(scan.ranges))


def ahead(scan) -> np.ndarray:
    """Return the distances along x of a scan's points, NaN or infinite where it has none."""
    return np.asarray(scan.ranges) * np.cos(angles(scan))


@pytest.mark.parametrize("pitch", (0.0, 0.25))
def test_a_wall_is_a_straight_line_in_the_scan_however_the_camera_looks_down(look, pitch):
    # Depth of a wall 3 m ahead, by the slope of each row; below it is floor.
    v = (np.arange(CAMERA.height) - CAMERA.cy) / CAMERA.fy
    wall = WALL / (math.cos(pitch) - v * math.sin(pitch))
    down = np.maximum(math.sin(pitch) + v * math.cos(pitch), 1e-9)
    scene = np.repeat(np.minimum(wall, HEIGHT / down)[:, None], CAMERA.width, axis=1)
    scan = look("depth/scan", scene, camera_pitch=pitch, edge_angle=0.0)
    assert scan.header.frame_id == "base_link"
    found = ahead(scan)
    # To the left and to the right as far as the camera sees.
    half = math.atan(0.5 * CAMERA.width / CAMERA.fx)
    seen = np.abs(angles(scan)) < half - 0.02
    np.testing.assert_allclose(found[seen], WALL, atol=0.02)
    assert angles(scan)[0] < -half + 0.03 and angles(scan)[-1] > half - 0.03


@pytest.mark.parametrize("roll", (math.pi / 2, -math.pi / 2, math.pi))
def test_a_camera_on_its_side_or_its_head_scans_as_an_upright_one(look, roll):
    scan = look("depth/scan", WALL, camera_roll=roll, edge_angle=0.0)
    half = math.atan(0.5 * (CAMERA.width if roll == math.pi else CAMERA.height) / CAMERA.fx)
    seen = np.abs(angles(scan)) < half - 0.02
    assert 0.5 * CAMERA.height < np.count_nonzero(seen) < 2 * CAMERA.width
    np.testing.assert_allclose(ahead(scan)[seen], WALL, atol=0.02)


def test_a_camera_that_looks_straight_down_scans_all_about_it(look):
    # From 2 m on the floor, about which something 0.5 m high stands in a ring.
    ring = np.hypot(*np.moveaxis(CAMERA.rays(), 2, 0)) > 0.5 / 1.5
    scan = look("depth/scan", np.where(ring, 1.5, 2.0), camera_height=2.0, camera_pitch=math.pi / 2, edge_angle=0.0)
    assert len(scan.ranges) > 20 and scan.angle_max - scan.angle_min > 5.5
    np.testing.assert_allclose(scan.ranges, 0.5, atol=0.05)


def test_a_scan_says_too_near_and_free_as_rep_117_asks(look):
    scene = np.full(SCENE.shape, 9.0)
    scene[:, :20] = 0.4
    scan = look("depth/scan", scene, scan_range_min=0.6, scan_range_max=4.0, scan_max_height=3.0, edge_angle=0.0)
    ranges = np.asarray(scan.ranges)
    assert (scan.range_min, scan.range_max) == (pytest.approx(0.6), pytest.approx(4.0))
    assert np.isneginf(ranges[-10:]).all()  # the left of the view comes last
    assert np.isposinf(ranges[:60]).all()
    # Rays finer than pixels are what the pixels about them saw.
    finer = look("depth/scan", scene, scan_angle_increment=0.002)
    assert len(finer.ranges) > 4 * len(ranges) and finer.angle_increment == pytest.approx(0.002)


def test_a_band_that_the_camera_does_not_see_is_one_sentence_and_the_cloud_comes(look, running):
    assert running.set(scan_min_height=50.0, scan_max_height=60.0).successful
    try:
        header = running.send(image=painting(SCENE), camera=CAMERA)
        running.wait(lambda: running.result("depth/points", header) and "scan not possible" in str(running.figures))
        assert "the camera sees nothing between the heights 50 and 60 m" in output(running.process)
    finally:
        assert running.set(scan_min_height=0.2, scan_max_height=1.0).successful
