"""The Kinect's geometry, held against the toolbox's formulas written out pixel by pixel."""

import math

import cv2
import numpy as np
import pytest

from training.data import kinect

# The toolbox's camera_params.m, as listed: 1-based pixels.
FX_D, FY_D, CX_D, CY_D = 582.62448167737955, 582.69103270988637, 313.04475870804731, 238.44389626620386
FX_C, FY_C, CX_C, CY_C = 518.85790117450188, 519.46961112127485, 325.58244941119034, 253.73616633400465
LISTED = (
    (9.9997798940829263e-01, 5.0518419386157446e-03, 4.3011152014118693e-03),
    (-5.0359919480810989e-03, 9.9998051861143999e-01, -3.6879781309514218e-03),
    (-4.3196624923060242e-03, 3.6662365748484798e-03, 9.9998394948385538e-01),
)
T_X, T_Y, T_Z = 2.5031875059141302e-02, 6.6238747008330102e-04, -2.9342312935846411e-04


def toolbox_projection(depth):
    """Project one pixel after the other, counting from 1, as the toolbox does; the nearest depth wins."""
    projected = {}
    for row, column in zip(*np.nonzero(depth), strict=True):
        z = float(depth[row, column])
        x = (column + 1 - CX_D) * z / FX_D
        y = (row + 1 - CY_D) * z / FY_D
        px = LISTED[0][0] * x + LISTED[1][0] * y + LISTED[2][0] * z - T_X
        py = LISTED[0][1] * x + LISTED[1][1] * y + LISTED[2][1] * z - T_Z
        pz = LISTED[0][2] * x + LISTED[1][2] * y + LISTED[2][2] * z - T_Y
        u, v = px * FX_C / pz + CX_C, py * FY_C / pz + CY_C
        u, v = math.floor(u + 0.5), math.floor(v + 0.5)
        if 1 <= u <= 640 and 1 <= v <= 480:
            projected[v - 1, u - 1] = min(z, projected.get((v - 1, u - 1), math.inf))
    return projected


def test_projection_is_the_toolboxs():
    rng = np.random.default_rng(0)
    depth = np.where(rng.random((480, 640)) < 0.1, rng.uniform(0.5, 10, (480, 640)), 0).astype(np.float32)
    expected = np.zeros((480, 640), np.float32)
    for (v, u), z in toolbox_projection(depth).items():
        expected[v, u] = z
    np.testing.assert_array_equal(kinect.project_to_colour(depth), expected)


def test_a_point_lands_where_it_does_by_hand():
    """The centre ray at 2 m: x = y = 0 but for a tenth of a pixel, so the offset and the turn alone decide."""
    depth = np.zeros((480, 640), np.float32)
    depth[237, 312] = 2.0  # pixel (313, 238) counted from 1
    # x = -0.0432 * 2 / 582.6 m, so u = 325.58 + 518.86 * (-0.00015 - 0.00864 - 0.02503) / 2.0 = 316.81
    # y = -0.4439 * 2 / 582.7 m, so v = 253.74 + 519.47 * (-0.00152 + 0.00733 + 0.00029) / 2.0 = 255.32
    np.testing.assert_array_equal(np.argwhere(kinect.project_to_colour(depth)), [[254, 316]])


def test_the_nearest_of_two_points_is_seen():
    """A strip of a near object hides the wall that the depth camera sees beside it."""
    depth = np.full((480, 640), 4.0, np.float32)
    depth[200:280, 300:340] = 1.0
    projected = kinect.project_to_colour(depth)
    assert set(np.unique(projected)) == {0, 1, 4}
    rows, columns = np.nonzero(projected == 1)
    # Seen from the colour camera the object covers its own size times the ratio of focal lengths, and it moves away
    # from the wall, since it is nearer: uncovered wall is unknown, none of the object is painted over.
    assert np.ptp(columns) == pytest.approx(39 * 518.86 / 582.62, abs=1.5)
    inner = projected[rows.min() + 2 : rows.max() - 1, columns.min() + 2 : columns.max() - 1]
    assert (inner == 1).all()


def test_disparity_becomes_metres():
    disparity = np.array([[741, 1000, 1057, 1058, 1092, 1093, 2047]], np.uint16)
    depth = kinect.decode_disparity(disparity)
    np.testing.assert_allclose(depth[0, :3], [351.3 / 351.5, 351.3 / 92.5, 351.3 / 35.5], rtol=1e-6)
    assert depth[0, 3:].tolist() == [10, 10, 0, 0]


@pytest.mark.parametrize("camera, lens", [("COLOUR_CAMERA", "COLOUR_DISTORTION"), ("DEPTH_CAMERA", "DEPTH_DISTORTION")])
def test_undistortion_samples_where_the_lens_model_says(camera, lens):
    """Images of smooth ramps: the value found is the pixel's place in the distorted image (Brown's model)."""
    camera, (k1, k2, p1, p2, k3) = getattr(kinect, camera), getattr(kinect, lens)
    v, u = np.mgrid[0:480, 0:640].astype(np.float64)
    x, y = (u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy
    r2 = x * x + y * y
    radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
    xd = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    yd = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    u_source, v_source = xd * camera.fx + camera.cx, yd * camera.fy + camera.cy
    inside = (u_source > 1) & (u_source < 638) & (v_source > 1) & (v_source < 478)
    if camera is kinect.COLOUR_CAMERA:
        ramp = np.dstack([u / 4, v / 4, 0 * u]).round().astype(np.uint8)
        seen = kinect.undistort_colour(ramp)
        found, tolerance = (seen[..., 0] * 4.0, seen[..., 1] * 4.0), 4.1
    else:
        found = [kinect.undistort_disparity(ramp.astype(np.uint16)).astype(float) for ramp in (u, v)]
        tolerance = 0.6
    for values, source in zip(found, (u_source, v_source), strict=True):
        assert np.abs(values - source)[inside].max() < tolerance
        assert np.abs(source - (u if source is u_source else v))[inside].max() > 2  # the lens does something


def test_extremes_are_masked_and_holes_stay():
    depth = np.array([[0, 1, 1, 2, 3, 10, 10]], np.float32)
    assert kinect.without_extremes(depth).tolist() == [[0, 0, 0, 2, 3, 0, 0]]
    assert not kinect.without_extremes(np.zeros((2, 2), np.float32)).any()


def test_pgm_is_read_little_endian_and_damage_is_named(tmp_path):
    disparity = np.arange(640 * 480, dtype=np.uint16).reshape(480, 640) % 2048
    good = tmp_path / "d.pgm"
    good.write_bytes(b"P5 640 480 65535\n" + disparity.astype("<u2").tobytes())
    np.testing.assert_array_equal(kinect.read_pnm(good), disparity)
    for content, sentence in (
        (good.read_bytes()[:5000], "cut short"),
        (b"", "is empty"),
        (b"GIF89a", "not a binary PPM or PGM"),
        (b"P5 640 480 255\n" + bytes(640 * 480), "no Kinect image"),
        (b"P5 640 480 65535\n" + disparity.astype(">u2").tobytes(), "other byte order"),
    ):
        (tmp_path / "bad.pgm").write_bytes(content)
        with pytest.raises(ValueError, match=sentence):
            kinect.read_pnm(tmp_path / "bad.pgm")
    with pytest.raises(ValueError, match="cannot be read"):
        kinect.read_pnm(tmp_path / "missing.pgm")


def gradient(image):
    """Magnitude of the gradient of a grey image."""
    return np.hypot(cv2.Sobel(image, cv2.CV_32F, 1, 0), cv2.Sobel(image, cv2.CV_32F, 0, 1))


def test_depth_edges_of_a_real_pair_lie_on_colour_edges(rgbd_data):
    """The correlation of edges is largest for the projection as it is, and less for the raw pair and shifted ones."""
    folder = rgbd_data / "rgbd_samples" / "other_formats"
    colour = kinect.undistort_colour(kinect.read_pnm(folder / "NYU_color.ppm"))
    disparity = kinect.read_pnm(folder / "NYU_depth.pgm")
    undistorted = kinect.decode_disparity(kinect.undistort_disparity(disparity))
    projected = kinect.project_to_colour(undistorted)
    grey = cv2.GaussianBlur(cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY), (0, 0), 1).astype(np.float32)
    colour_edges = np.minimum(gradient(grey), 100)

    def alignment(depth, dx=0, dy=0):
        # Pixels the projection leaves open between its points are closed, so that they make no edges.
        known = depth > 0
        near = cv2.morphologyEx(np.where(known, 1 / np.maximum(depth, 0.1), 0), cv2.MORPH_CLOSE, np.ones((3, 3)))
        holes = cv2.dilate((near <= 0).astype(np.uint8), np.ones((7, 7))) > 0
        edges = np.minimum(gradient(near.astype(np.float32)), 0.5)
        edges, holes = (np.roll(a, (dy, dx), (0, 1)) for a in (edges, holes))
        inside = ~holes
        inside[:40] = inside[-40:] = inside[:, :40] = inside[:, -40:] = False
        return np.corrcoef(colour_edges[inside], edges[inside])[0, 1]

    right = alignment(projected)
    assert right > alignment(kinect.decode_disparity(disparity)) + 0.02
    for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, -1), (1, -1), (-1, 1)):
        assert right > alignment(projected, 2 * dx, 2 * dy), (dx, dy)
        for shift in (6, 32):
            assert right > alignment(projected, shift * dx, shift * dy) + 0.02, (shift, dx, dy)
