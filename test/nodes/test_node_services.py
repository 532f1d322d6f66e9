"""The node's services: a frame saved to disk as a whole or not at all, and a model taken over in a running stream."""

import json
import os
import resource
from pathlib import Path

import cv2
import numpy as np
import pytest
from painted_depth import CAMERA, painted, painted_node, painting, write_model
from ros_processes import output
from std_srvs.srv import Trigger

from depth_estimation_ros.conversions import image_to_depth
from depth_estimation_ros.model import load_model

SCENE = 2.0 + 0.02 * np.add.outer(np.arange(CAMERA.height), np.arange(CAMERA.width))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("services")


@pytest.fixture(scope="module")
def depth(folder):
    with painted_node(folder, "/served", save_folder=str(folder / "frames")) as client:
        yield client


def ask(depth, service) -> Trigger.Response:
    return depth.call(Trigger, service, Trigger.Request())


def show(depth, scene=SCENE) -> np.ndarray:
    """Show a scene and return its published depth."""
    header = depth.send(image=painting(scene), camera=CAMERA)
    depth.wait(lambda: depth.result("depth/image", header))
    return image_to_depth(depth.result("depth/image", header))


# save_frame; the first of these tests are in the order of a stream's life


def test_before_the_first_frame_there_is_none_to_save(depth, folder):
    answer = ask(depth, "save_frame")
    assert not answer.success
    assert "no frame was processed yet: is the node active, and an output subscribed to?" in answer.message
    assert not (folder / "frames").exists()


def test_a_saved_frame_is_what_was_published_in_files_that_others_read(depth):
    depth.subscribe("depth/image")
    depth.send_until_published(image=painting(SCENE), camera=CAMERA)
    scene = SCENE.copy()
    scene[:10] = 30.0  # beyond max_depth: invalid
    published = show(depth, scene)
    answer = ask(depth, "save_frame")
    assert answer.success, answer.message
    stamp = depth.got["depth/image"][-1].header.stamp
    place, name = answer.message.rsplit("/", 1)
    assert name == f"{stamp.sec}_{stamp.nanosec:09d}"
    files = sorted(os.listdir(answer.message))
    assert files == ["cloud.ply", "depth.npy", "depth.png", "frame.json", "image.png"]
    assert os.listdir(place) == [name], "nothing half is left beside it"

    image = cv2.cvtColor(cv2.imread(f"{answer.message}/image.png"), cv2.COLOR_BGR2RGB)
    np.testing.assert_array_equal(image, painted(scene))
    metres = np.load(f"{answer.message}/depth.npy")
    assert metres.dtype == np.float32
    np.testing.assert_array_equal(metres, published)
    millimetres = cv2.imread(f"{answer.message}/depth.png", cv2.IMREAD_UNCHANGED)
    assert millimetres.dtype == np.uint16 and (millimetres[:10] == 0).all()
    np.testing.assert_allclose(millimetres[10:] / 1000.0, scene[10:], atol=6e-4)
    about = json.loads(Path(answer.message, "frame.json").read_text())
    assert about["camera"] == {name: getattr(CAMERA, name) for name in ("width", "height", "fx", "fy", "cx", "cy")}
    assert about["frame_id"] == "camera_optical_frame" and about["model"] == "painted"
    assert about["stamp"] == f"{stamp.sec}.{stamp.nanosec:09d}"

    header, points = Path(answer.message, "cloud.ply").read_bytes().split(b"end_header\n")
    assert f"element vertex {(CAMERA.height - 10) * CAMERA.width}\n".encode() in header
    points = np.frombuffer(points, [("xyz", "<f4", 3), ("rgb", "u1", 3)])
    v, u = 10, 7  # a row's eighth point, the first row that is valid
    x, y, z = points["xyz"][u]
    assert (x / z, y / z) == pytest.approx(((u - CAMERA.cx) / CAMERA.fx, (v - CAMERA.cy) / CAMERA.fy), abs=1e-4)
    assert z == pytest.approx(scene[v, u], abs=1e-3)
    np.testing.assert_array_equal(points["rgb"][u], painted(scene)[v, u])


def test_a_frame_that_is_saved_twice_is_there_once_and_whole(depth, folder):
    first, second = ask(depth, "save_frame"), ask(depth, "save_frame")
    assert first.success and second.success and first.message == second.message
    assert len(os.listdir(folder / "frames")) == 1
    assert np.load(f"{second.message}/depth.npy").shape == SCENE.shape


def test_a_folder_that_cannot_be_written_is_one_sentence(depth, folder):
    (folder / "file").write_text("no folder")
    assert depth.set(save_folder=str(folder / "file")).successful
    try:
        answer = ask(depth, "save_frame")
    finally:
        assert depth.set(save_folder=str(folder / "frames")).successful
    assert not answer.success
    assert f"the frame cannot be saved to '{folder}/file/" in answer.message and "set save_folder" in answer.message
    assert (folder / "file").read_text() == "no folder"


@pytest.mark.parametrize("room", (100, 12_000, 40_000))
def test_where_there_is_no_room_nothing_half_is_left_and_the_frame_that_was_there_stays(depth, folder, room):
    show(depth)
    whole = ask(depth, "save_frame")
    before = sorted(os.listdir(folder / "frames"))
    # No file of the node may become larger, as on a full disk: of the image, of depth, or of the cloud.
    unlimited = resource.prlimit(depth.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(depth.process.pid, resource.RLIMIT_FSIZE, (room, unlimited[1]))
    try:
        answer = ask(depth, "save_frame")
    finally:
        resource.prlimit(depth.process.pid, resource.RLIMIT_FSIZE, unlimited)
    assert not answer.success
    assert "the frame cannot be saved to '" in answer.message and "None" not in answer.message, answer.message
    assert sorted(os.listdir(folder / "frames")) == before
    assert len(os.listdir(whole.message)) == 5
    np.testing.assert_allclose(np.load(f"{whole.message}/depth.npy"), SCENE, atol=1e-3)
    assert ask(depth, "save_frame").success


# reload_model


def replace(folder, content=None, **kwargs) -> str:
    """Put another model, or something else, in the place of the node's; returns its sha256."""
    path = folder / "other.onnx"
    if content is None:
        write_model(path, **kwargs)
    else:
        path.write_bytes(content)
    os.replace(path, folder / "painted.onnx")
    return load_model(folder / "painted.onnx").sha256 if content is None else ""


def sha256(depth) -> str:
    """Return the loaded model's by the next diagnostics."""
    depth.figures = {}
    depth.wait(lambda: "model_sha256" in depth.figures)
    return depth.figures["model_sha256"]


@pytest.mark.parametrize("state", ("active", "inactive"))
def test_a_new_file_is_taken_over_and_a_bad_one_leaves_the_old_model_at_work(depth, folder, state):
    replace(folder)
    ask(depth, "reload_model")
    depth.send_until_published(image=painting(SCENE), camera=CAMERA)
    if state == "inactive":
        assert depth.change_state("deactivate")

    new = replace(folder, name="longer", factor=1.5)
    answer = ask(depth, "reload_model")
    assert answer.success and f"model longer (sha256 {new[:12]}) runs on " in answer.message
    assert sha256(depth) == new and depth.figures["state"] == state

    content = (folder / "painted.onnx").read_bytes()
    replace(folder, content[: len(content) // 2])
    answer = ask(depth, "reload_model")
    assert not answer.success and "is not a complete ONNX file" in answer.message
    assert "the model was not reloaded: " in output(depth.process)
    (folder / "painted.onnx").unlink()
    answer = ask(depth, "reload_model")
    assert not answer.success and "not found" in answer.message
    assert sha256(depth) == new and depth.figures["state"] == state

    if state == "inactive":
        assert depth.change_state("activate")
    depth.send_until_published(image=painting(SCENE), camera=CAMERA)
    np.testing.assert_allclose(show(depth), 1.5 * SCENE, atol=3e-3)
    depth.settled()


def test_a_model_that_lacks_what_the_settings_ask_for_is_not_taken_over(depth, folder):
    replace(folder)
    assert ask(depth, "reload_model").success
    assert depth.set(max_relative_deviation=0.5).successful
    replace(folder, uncertain=False, name="sure")
    answer = ask(depth, "reload_model")
    assert not answer.success and "max_relative_deviation needs a model with the output log_variance" in answer.message
    assert depth.set(max_relative_deviation=0.0).successful
    assert ask(depth, "reload_model").success
    refused = depth.set(max_relative_deviation=0.5)
    assert not refused.successful and "which sure does not have: set it to 0" in refused.reason


def test_an_unconfigured_node_says_that_there_is_nothing_to_reload(depth):
    assert depth.change_state("deactivate") and depth.change_state("cleanup")
    answer = ask(depth, "reload_model")
    assert not answer.success and "no model is loaded: configure the node first" in answer.message
    assert depth.change_state("configure") and depth.change_state("activate")


def test_a_start_that_asks_of_the_model_what_it_does_not_do_ends_with_one_error(start, tmp_path):
    model = write_model(tmp_path / "sure.onnx", uncertain=False, name="sure")
    node = start("/sure", model=model, max_relative_deviation=0.5)
    assert node.process.wait(30) == 1
    (line,) = [line for line in output(node.process).splitlines() if "[ERROR]" in line]
    assert "max_relative_deviation needs a model" in line and "Traceback" not in output(node.process)
