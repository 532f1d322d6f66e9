"""True depth is brought into the image's own view: in a world of planes with known depth, and in a real kitchen."""

import bags
import cv2
import numpy as np
import pytest

from depth_estimation_ros.bags.transforms import TransformTree
from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.geometry.lens import Lens
from depth_estimation_ros.geometry.pose import camera_pose, quaternion
from depth_estimation_ros.ground_truth.calibration import Calibration, calibration_of
from depth_estimation_ros.ground_truth.projection import camera_truth, points_truth, registered_truth

IMAGE = PinholeCamera(320, 240, 265.0, 264.0, 158.0, 121.0)
DEPTH = PinholeCamera(320, 240, 292.0, 292.0, 160.0, 120.0)
BARREL = (-0.28, 0.07, 0.001, -0.0005, 0.0)


def rotation(x, y, z):
    return cv2.Rodrigues(np.array([x, y, z], np.float64))[0]


def pose(turn=(0.0, 0.0, 0.0), move=(0.0, 0.0, 0.0)):
    found = np.eye(4)
    found[:3, :3], found[:3, 3] = rotation(*turn), move
    return found


BESIDE = pose((0.01, -0.02, 0.015), (-0.05, 0.01, 0.004))  # from the depth camera to the image's


def see(rays, to_image=None):
    """
    Return the depth [h, w] along rays [h, w, 2] of a camera.

    The world, in the image's frame: a wall that is turned, 3 m away, and a board before it at 1.2 m.
    """
    to_image = np.eye(4) if to_image is None else to_image
    directions = np.concatenate([rays, np.ones((*rays.shape[:2], 1))], axis=2).astype(float) @ to_image[:3, :3].T
    origin = to_image[:3, 3]
    normal, distance = rotation(0.2, -0.3, 0) @ [0, 0, 1.0], 3.0
    wall = (distance - origin @ normal) / (directions @ normal)
    board = (1.2 - origin[2]) / directions[..., 2]
    x, y = (origin[k] + board * directions[..., k] for k in (0, 1))
    return np.where((np.abs(x) < 0.25) & (np.abs(y) < 0.2), board, wall).astype(np.float32)


def test_a_depth_camera_elsewhere_is_seen_from_the_image():
    truth = camera_truth(see(DEPTH.rays(), BESIDE), Calibration(DEPTH), BESIDE, Calibration(IMAGE))
    expected = see(IMAGE.rays())
    known = np.isfinite(truth)
    assert truth.shape == (240, 320) and truth.dtype == np.float32
    assert np.median(np.abs(truth - expected)[known]) < 0.003
    # All but the pixels right at the board's edges, which lie within half a pixel of either.
    assert np.mean(np.abs(truth / expected - 1)[known] < 0.02) > 0.995
    assert known[25:-25, 25:-25].mean() > 0.97  # the rest is hidden from the depth camera, or at an edge


@pytest.mark.parametrize("coarser", [1.0, 0.6, 0.3])
def test_the_wall_does_not_shine_through_the_board(coarser):
    camera = DEPTH.resized(int(320 * coarser), int(240 * coarser))
    truth = camera_truth(see(camera.rays(), BESIDE), Calibration(camera), BESIDE, Calibration(IMAGE))
    size = truth.shape[1], truth.shape[0]
    board = cv2.erode((see(IMAGE.resized(*size).rays()) < 1.25).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    assert np.mean(np.isfinite(truth[board])) > 0.98
    assert np.nanmax(truth[board]) < 1.25


def test_a_coarse_depth_camera_gives_a_smaller_truth_of_the_same_view():
    camera = DEPTH.resized(160, 120)
    truth = camera_truth(see(camera.rays()), Calibration(camera), np.eye(4), Calibration(IMAGE))
    assert truth.shape == (round(240 * 146 / 264.5), round(320 * 146 / 264.5))
    expected = see(IMAGE.resized(truth.shape[1], truth.shape[0]).rays())
    assert np.nanmedian(np.abs(truth - expected)) < 0.005


def test_invalid_depth_stays_unknown():
    depth = see(DEPTH.rays())
    depth[60:120, 80:200] = np.nan
    truth = camera_truth(depth, Calibration(DEPTH), np.eye(4), Calibration(DEPTH))
    assert np.isnan(truth[62:118, 82:198]).all()
    assert np.isfinite(truth[:50]).all()
    assert np.isnan(
        camera_truth(np.full((240, 320), np.nan, np.float32), Calibration(DEPTH), BESIDE, Calibration(IMAGE))
    ).all()


@pytest.mark.parametrize("count", [1500, 6000])
def test_sparse_points_behind_a_near_thing_are_left_out(count):
    # A lidar above the camera sees the wall over the board's upper edge.
    random = np.random.default_rng(0)
    lidar = pose(move=(0.0, -0.6, 0.0))
    rays = random.uniform((-0.6, -0.4), (0.6, 0.9), (count, 2))[None]
    points = (np.concatenate([rays, np.ones((1, count, 1))], axis=2) * see(rays, lidar)[..., None])[0]
    truth = points_truth(points, lidar, Calibration(IMAGE))
    expected = see(IMAGE.rays())
    known = np.isfinite(truth)
    wrong = known & (truth > 1.2 * expected)
    naive = points + lidar[:3, 3]
    u, v = (naive[:, :2] / naive[:, 2:] * (IMAGE.fx, IMAGE.fy) + (IMAGE.cx, IMAGE.cy)).round().astype(int).T
    inside = (u >= 0) & (u < 320) & (v >= 0) & (v < 240)
    through = np.sum(naive[inside, 2] > 1.2 * expected[v[inside], u[inside]])
    assert through > 0.02 * count  # there is something to leave out
    assert wrong.sum() < 0.15 * through
    assert known.sum() > 0.8 * (np.sum(inside) - through)
    assert np.median(np.abs(truth / expected - 1)[known]) < 0.01


def test_points_behind_the_camera_or_beside_the_image_are_no_truth():
    points = np.array([[0, 0, -2], [0, 0, 0.01], [9, 0, 1], [0, -9, 1], [0.0, 0.0, 2.0]], np.float32)
    truth = points_truth(points, np.eye(4), Calibration(IMAGE))
    assert np.isfinite(truth).sum() == 1
    assert truth[121, 158] == 2.0
    assert np.isnan(points_truth(points[:2], np.eye(4), Calibration(IMAGE))).all()
    assert np.isnan(points_truth(np.empty((0, 3), np.float32), np.eye(4), Calibration(IMAGE))).all()


LENSES = {
    "plumb_bob": Lens(IMAGE, "plumb_bob", BARREL),
    "equidistant": Lens(IMAGE, "equidistant", (0.05, -0.01, 0.002, 0.0)),
    "rotated": Lens(
        IMAGE, "plumb_bob", BARREL, tuple(rotation(0.03, -0.05, 0.01).ravel()), IMAGE.cropped(0, 0, 320, 240)
    ),
}


def distorted_rays(lens):
    """Return the ray of every pixel of a distorted image, [h, w, 2], by OpenCV's other direction."""
    pixels = np.stack(np.meshgrid(np.arange(320), np.arange(240)), axis=-1).reshape(-1, 1, 2).astype(float)
    undistort = cv2.fisheye.undistortPoints if lens.model == "equidistant" else cv2.undistortPoints
    return undistort(pixels, lens.camera.k, np.array(lens.coefficients)).reshape(240, 320, 2)


def in_rectified_frame(lens):
    """Return the transform from the camera's frame to that of its rectified image."""
    found = np.eye(4)
    found[:3, :3] = np.reshape(lens.rotation, (3, 3))
    return found


@pytest.mark.parametrize("name", LENSES)
def test_truth_of_a_distorted_image_is_rectified_as_the_image_is(name):
    lens = LENSES[name]
    view = Calibration(lens.rectified, lens)
    expected = see(lens.rectified.rays(), np.linalg.inv(in_rectified_frame(lens)))
    along_image = registered_truth(see(distorted_rays(lens)), view)
    elsewhere = camera_truth(see(DEPTH.rays(), BESIDE), Calibration(DEPTH), BESIDE, view)
    for truth in (along_image, elsewhere):
        known = np.isfinite(truth)
        assert known.mean() > 0.6
        assert np.mean(np.abs(truth / expected - 1)[known] < 0.015) > 0.98


def test_a_depth_camera_with_distortion_is_understood():
    lens = LENSES["plumb_bob"]
    truth = camera_truth(see(distorted_rays(lens)), Calibration(lens.rectified, lens), np.eye(4), Calibration(IMAGE))
    expected = see(IMAGE.rays())
    known = np.isfinite(truth)
    assert known.mean() > 0.9
    assert np.mean(np.abs(truth / expected - 1)[known] < 0.02) > 0.99


def info(camera, d=(), model="plumb_bob"):
    from types import SimpleNamespace

    region = SimpleNamespace(width=0, height=0, x_offset=0, y_offset=0)
    return SimpleNamespace(
        width=camera.width,
        height=camera.height,
        k=camera.k.ravel(),
        d=d,
        r=np.eye(3).ravel(),
        p=np.zeros(12),
        distortion_model=model,
        roi=region,
        binning_x=0,
        binning_y=0,
    )


def test_a_camera_info_of_another_size_is_scaled_if_it_has_the_same_shape():
    assert calibration_of(info(IMAGE), 640, 480, False) == Calibration(IMAGE.resized(640, 480))
    with pytest.raises(ValueError, match="camera_info for 320x240 does not fit images of 640x400"):
        calibration_of(info(IMAGE), 640, 400, False)
    lens = calibration_of(info(IMAGE, BARREL), 160, 120, False).lens
    assert lens.camera == IMAGE.resized(160, 120) and lens.coefficients == BARREL
    assert calibration_of(info(IMAGE, BARREL), 320, 240, True).lens is None
    with pytest.raises(ValueError, match="distortion model 'mystery' is unknown"):
        calibration_of(info(IMAGE, BARREL, "mystery"), 320, 240, False)


def tf(parent, child, matrix, seconds=0.0):
    from types import SimpleNamespace as N

    x, y, z, w = quaternion(matrix)
    stamp = N(sec=int(seconds), nanosec=round(seconds % 1 * 1e9))
    move = N(translation=N(**dict(zip("xyz", matrix[:3, 3], strict=True))), rotation=N(x=x, y=y, z=z, w=w))
    return N(transforms=[N(header=N(frame_id=parent, stamp=stamp), child_frame_id=child, transform=move)])


def test_fixed_frames_are_connected_up_and_down_the_tree():
    camera, lidar = camera_pose(1.0, pitch=0.2), pose((0, 0, 1.5), (0.3, 0.1, 0.8))
    tree = TransformTree()
    tree.add(tf("/base", "/camera", camera), static=True)
    tree.add(tf("base", "mast", pose(move=(0, 0, 1))), static=True)
    tree.add(tf("mast", "lidar", lidar), static=True)
    expected = np.linalg.inv(camera) @ pose(move=(0, 0, 1)) @ lidar
    assert tree.between("camera", "lidar", 0) == pytest.approx(expected)
    assert tree.between("lidar", "camera", 0) == pytest.approx(np.linalg.inv(expected))
    assert tree.between("camera", "camera", 0) == pytest.approx(np.eye(4))
    assert tree.between("camera", "gripper", 0) is None and tree.moves("camera", "gripper") is None
    assert tree.moves("camera", "lidar") is False
    assert tree.names() == ["base", "camera", "lidar", "mast"]


def test_frames_that_move_are_interpolated_at_the_moment():
    tree = TransformTree()
    for seconds, angle in ((11.0, 1.0), (10.0, 0.0), (12.0, 1.0)):  # as they may arrive
        tree.add(tf("base", "head", pose((0, 0, angle), (angle, 0, 0)), seconds), static=False)
    tree.add(tf("head", "camera", pose(move=(0, 0, 1))), static=True)
    assert tree.moves("base", "camera") is True
    assert tree.known_until("base", "camera") == 12e9
    assert tree.between("base", "camera", int(10.25e9)) == pytest.approx(
        pose((0, 0, 0.25), (0.25, 0, 0)) @ pose(move=(0, 0, 1))
    )
    assert tree.between("base", "camera", int(12.05e9)) is not None
    assert tree.between("base", "camera", int(12.5e9)) is None
    assert tree.between("base", "camera", int(9.5e9)) is None


def test_the_steps_of_the_kitchens_depth_fall_on_edges_of_its_image(rgbd_data):
    def steps(depth):
        """Pixels of a near thing at whose border depth leaps."""
        depth, small = np.nan_to_num(depth), np.ones((3, 3), np.uint8)
        leap = cv2.dilate(depth, np.ones((9, 9), np.uint8)) > 1.12 * depth
        border = (cv2.erode(depth, small) == 0) | (cv2.dilate(depth, small) > 1.12 * depth)
        found = (depth > 0) & leap & border
        found[:24], found[-24:], found[:, :24], found[:, -24:] = 0, 0, 0, 0
        return np.nonzero(found)

    scores = {"projected": [], "as it is": []}
    for rgb, millimetres, _ in list(bags.kitchen_frames(rgbd_data))[::13]:
        depth = np.where(millimetres > 0, millimetres / np.float32(1000), np.float32(np.nan))
        gray = cv2.GaussianBlur(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), 1.0)
        edges = np.hypot(cv2.Sobel(gray, -1, 1, 0), cv2.Sobel(gray, -1, 0, 1))
        edges = np.minimum(edges, np.percentile(edges, 98))
        views = (
            Calibration(bags.KITCHEN_DEPTH_CAMERA),
            bags.KITCHEN_COLOUR_FROM_DEPTH,
            Calibration(bags.KITCHEN_COLOUR_CAMERA),
        )
        for name, truth in (("projected", camera_truth(depth, *views)), ("as it is", depth)):
            rows, columns = steps(truth)
            scores[name].append(
                {d: edges[rows + d[1], columns + d[0]].mean() for d in [(0, 0), (6, 0), (-6, 0), (0, 6), (0, -6)]}
            )
    mean = {name: {d: np.mean([row[d] for row in rows]) for d in rows[0]} for name, rows in scores.items()}
    assert mean["projected"][0, 0] > 2 * mean["as it is"][0, 0]
    assert mean["projected"][0, 0] > 1.4 * max(v for d, v in mean["projected"].items() if d != (0, 0))
