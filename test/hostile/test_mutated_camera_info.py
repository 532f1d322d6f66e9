"""Calibrations with wrong numbers are used, or refused in one line; what is used gives a view that is finite."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from judge import survive
from strategies import CAMERA_SIZES, INFO, camera_infos, mutated

from depth_estimation_ros.bags.messages import lens_of
from depth_estimation_ros.conversions import camera_from_info, lens_from_info
from depth_estimation_ros.pipeline.view_selector import ViewSelector
from depth_estimation_ros.settings import CameraSettings

DEPTH = np.linspace(0.5, 9.0, 48, dtype=np.float32).reshape(6, 8)


def choice(name: str) -> st.SearchStrategy:
    return st.sampled_from(CameraSettings.declarations()[name].choices)


def check(camera) -> None:
    assert camera.width > 0 and camera.height > 0
    assert all(map(math.isfinite, (camera.fx, camera.fy, camera.cx, camera.cy))) and camera.focal_length > 0


@given(mutated(camera_infos()))
def test_a_mutated_camera_info_gives_a_camera_or_is_refused(info):
    if camera := survive(camera_from_info, info):
        check(camera)


@given(mutated(camera_infos()))
def test_a_mutated_camera_info_gives_a_lens_or_is_refused(info):
    for read in (lens_from_info, lens_of):
        if lens := survive(read, info):
            check(lens.camera)


@given(
    mutated(camera_infos()),
    st.fixed_dictionaries({n: choice(n) for n in ("image_rotation", "distortion", "focal_normalisation")}),
)
def test_an_image_with_a_mutated_camera_info_is_shown_to_the_network_or_refused(info, values):
    settings = CameraSettings(**values)
    views = ViewSelector(INFO)

    def view():
        return views.of((64, 48), lambda: info, False, lambda: np.eye(4), settings)

    if (made := survive(view)) is None:
        return
    check(made.whole)
    largest = max(CAMERA_SIZES)
    if made.whole.width > largest[0] or made.whole.height > largest[1]:
        survive(made.prepare, np.zeros((48, 64, 3), np.uint8))  # an image that is not the calibrated one
        return
    rgb = np.full((made.whole.height, made.whole.width, 3), 90, np.uint8)
    seen = survive(made.prepare, rgb, errors=(), weight=rgb.nbytes)
    assert seen.shape == (6, 8, 3) and seen.dtype == np.uint8
    depth, camera = survive(made.restore, DEPTH, errors=(), weight=rgb.nbytes)
    check(camera)
    assert depth.shape == (camera.height, camera.width)
    survive(made.enlarged, depth, errors=(), weight=rgb.nbytes)
    survive(made.rectified, rgb, errors=(), weight=rgb.nbytes)
