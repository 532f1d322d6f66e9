"""A model of relative depth in the running node: metric by an anchor, and never without one."""

import math

import numpy as np
import pytest
from painted_depth import painted_node, write_model
from ros_processes import output, running_node
from test_node_anchor import TRUTH, Timeline, cloud, error

HOLD, RELEASE = 0.3, 1.0
INITIAL = {
    "anchor": "points",
    "anchor_hold": HOLD,
    "anchor_release": RELEASE,
    "image_reliability": "reliable",
    "camera_height": 0.3,
}
SCALE, SHIFT = 0.02, 0.05
"""1/Z of `TRUTH` is SCALE times what the model outputs plus SHIFT."""


def values(truth=TRUTH, scale=SCALE, shift=SHIFT) -> np.ndarray:
    """Return what the network outputs for true depth."""
    return (1.0 / truth - shift) / scale


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    with painted_node(folder, "/relative", kind="inverse_relative", **INITIAL) as client:
        client.subscribe("depth/scale", "depth/image", "depth/points", "depth/scan")
        yield Timeline(client)


@pytest.fixture(autouse=True)
def another_time(node):
    """Go to a time in which no anchor was seen yet."""
    node.now -= 3600.0


def test_depth_is_nan_until_the_first_good_fit_and_metric_from_then_on(node):
    scale, depth = node.step(depth=values())
    assert math.isnan(scale.x) and scale.z == 0.0 and np.isnan(depth).all()
    wall = 2.5 + 0.1 * np.sin(0.2 * TRUTH * 50)
    node.client.wait(lambda: node.client.got["depth/scan"])
    assert np.isnan(node.client.got["depth/scan"][-1].ranges).all()
    node.client.wait(
        lambda: node.step(0.01, values(wall), cloud(wall)) and "span depths" in node.client.figures.get("message", "")
    )
    assert np.isnan(node.step(0.01, values(wall), cloud(wall))[1]).all()
    scale, depth = node.anchored(cloud(), values())
    assert error(depth) < 0.02
    assert scale.x == pytest.approx(SCALE, rel=0.2) and scale.y < 0.1 and scale.z > 0.5
    node.client.wait(lambda: node.step(0.01, values(), cloud()) and node.client.figures.get("anchor") == "anchored")
    assert float(node.client.figures["anchor_shift"]) == pytest.approx(SHIFT, abs=0.05)
    assert node.client.figures["anchor_points"] == "60"


def test_a_third_of_the_points_may_be_wrong(node):
    assert error(node.anchored(cloud(wrong=1 / 3), values())[1]) < 0.05


def test_a_drifting_scale_and_shift_are_followed(node):
    node.anchored(cloud(), values())
    for i in range(40):
        drifted = values(scale=SCALE * math.exp(0.01 * i), shift=SHIFT * (1 + 0.02 * i))
        assert error(node.step(0.1, drifted, cloud())[1]) < 0.05


def test_a_lost_anchor_is_held_and_then_there_is_no_depth_until_it_comes_back(node):
    node.anchored(cloud(), values())
    for _ in range(int((HOLD + RELEASE) / 0.1) - 1):
        assert error(node.step(0.1, values())[1]) < 0.05
    node.step(0.3, values())
    scale, depth = node.step(0.1, values())
    assert math.isnan(scale.x) and scale.z == 0.0 and np.isnan(depth).all()
    node.client.wait(lambda: node.step(0.01, values()) and node.client.figures.get("anchor") == "lost")
    assert error(node.anchored(cloud(), values(scale=0.04, shift=-0.1))[1]) < 0.02


def test_no_other_anchor_is_accepted_while_this_model_is_loaded(node):
    client = node.client
    assert client.change_state("deactivate")
    try:
        for anchor in ("none", "range", "floor"):
            answer = client.set(anchor=anchor)
            assert not answer.successful
            assert "is relative (inverse_relative), not metres: set anchor to points or scan" in answer.reason
        assert client.set(anchor="scan").successful and client.set(anchor="points").successful
    finally:
        assert client.change_state("activate")


@pytest.mark.parametrize(
    ("module", "parameters"),
    [("depth_estimation", {}), ("multi_camera", {"cameras": "front"}), ("depth_estimation", {"anchor": "floor"})],
)
def test_a_node_without_true_distances_ends_with_one_sentence(tmp_path, module, parameters):
    model = write_model(tmp_path / "relative.onnx", uncertain=False, kind="depth_relative")
    with running_node(f"depth_estimation_ros.nodes.{module}", parameters={"model": model, **parameters}) as process:
        assert process.wait(60) == 1
    assert "is relative (depth_relative), not metres: set anchor to points or scan" in output(process)
    assert "Traceback" not in output(process)
