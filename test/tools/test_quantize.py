"""An int8 model keeps the contract and the depth, on every engine, and comes from a float model only."""

import itertools
import math
import re
import resource
import subprocess
import sys

import bags
import cv2
import numpy as np
import pytest

from depth_estimation_ros import DepthEstimator, PinholeCamera
from depth_estimation_ros.model import load_model
from depth_estimation_ros.sources import Frame
from depth_estimation_ros.synthetic import Room
from depth_estimation_ros.tools import quantize_model as quantize_module
from depth_estimation_ros.tools.quantize_model import calibration_frames, main, quantize

onnx = pytest.importorskip("onnx", reason="quantising needs the package onnx")


def room_images(width, height, count, seed=1):
    camera, room = PinholeCamera.from_fov(width, height, 1.0), Room(seed)
    return [room.render(camera, room.trajectory(2.0 * i))[0] for i in range(count)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rooms")
    for i, image in enumerate(room_images(160, 120, 6)):
        cv2.imwrite(str(folder / f"{i}.png"), image[..., ::-1])
    return folder


@pytest.fixture(scope="module")
def int8(folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("int8") / "int8.onnx"
    assert main(["nyu_resnet18_small", "--calibration", str(folder), "--output", str(path), "--frames", "3"]) == 0
    return path


def weights_in_int8(path, op_type):
    """Say of every node of a type whether its weights are dequantised."""
    graph = onnx.load(path).graph
    dequantized = {n.output[0] for n in graph.node if n.op_type == "DequantizeLinear"}
    return [n.input[1] in dequantized for n in graph.node if n.op_type == op_type]


def weights_by_name(path):
    """Say of every weight of a convolution, by its name in the float model, whether it is quantised."""
    graph = onnx.load(path).graph
    dequantised = {n.output[0]: n.input[0] for n in graph.node if n.op_type == "DequantizeLinear"}
    inputs = [n.input[1] for n in graph.node if n.op_type in ("Conv", "ConvTranspose")]
    return {dequantised.get(name, name): name in dequantised for name in inputs}


def backend_or_skip(path, backend):
    if backend == "openvino":
        pytest.importorskip("openvino", reason="needs the package openvino")
    return DepthEstimator.load(path, backend, threads=1)


def test_the_int8_model_keeps_the_contract_and_says_where_it_comes_from(int8):
    model, source = load_model(int8), load_model("nyu_resnet18_small")
    assert model.info.name == source.info.name + "_int8"
    assert model.info.source_sha256 == source.sha256
    assert (model.info.focal_length, model.info.licence) == (source.info.focal_length, source.info.licence)
    assert model.path.stat().st_size < source.path.stat().st_size
    assert [path.name for path in int8.parent.iterdir()] == ["int8.onnx"]
    assert [entry.domain for entry in onnx.load(int8).opset_import] == [""]


@pytest.mark.parametrize("backend", ["cpu", "openvino"])
def test_every_engine_computes_nearly_the_float_models_depth_on_images_it_was_not_calibrated_on(int8, backend):
    quantized, source = backend_or_skip(int8, backend), DepthEstimator.load("nyu_resnet18_small", "cpu", threads=1)
    images = np.stack(room_images(160, 120, 3, seed=5))
    depth, expected = (e.backend.infer(images)["depth"] for e in (quantized, source))
    difference = np.abs(depth / expected - 1)
    assert 1e-4 < difference.mean() < 0.03  # something was quantised, and little was lost


def test_the_encoder_is_int8_and_the_up_projection_float(int8):
    assert not any(weights_in_int8(int8, "ConvTranspose"))
    # Of a block's 3x3 convolution and the last one, which stay in float, there are five.
    assert sorted(weights_in_int8(int8, "Conv")) == 5 * [False] + 19 * [True]


def test_what_is_kept_in_float_can_be_chosen(tmp_path):
    frames = np.stack(room_images(160, 120, 2))
    quantize(load_model("nyu_resnet18_small"), frames, tmp_path / "all.onnx", keep=())
    assert all(weights_in_int8(tmp_path / "all.onnx", "ConvTranspose") + weights_in_int8(tmp_path / "all.onnx", "Conv"))
    with pytest.raises(ValueError, match=r"begins with 'head'; the model's parts are bottleneck, decoder, encoder"):
        quantize(load_model("nyu_resnet18_small"), frames, tmp_path / "no.onnx", keep=("head",))
    with pytest.raises(ValueError, match="nothing is left to quantise"):
        quantize(
            load_model("nyu_resnet18_small"),
            frames,
            tmp_path / "no.onnx",
            keep=("encoder", "bottleneck", "decoder", "predict"),
        )
    assert [path.name for path in tmp_path.iterdir()] == ["all.onnx"]


def test_what_comes_after_a_part_in_float_is_quantised(tmp_path):
    frames = np.stack(room_images(160, 120, 2))
    quantize(load_model("nyu_resnet18_small"), frames, tmp_path / "some.onnx", keep=("encoder.0", "encoder.4"))
    names = {i.split("_")[0]: kept for i, kept in weights_by_name(tmp_path / "some.onnx").items()}
    assert len(names) > 20
    for name, quantised in names.items():
        assert quantised != name.startswith(("network.encoder.0", "network.encoder.4")), name


@pytest.mark.parametrize("name", ["nyu_resnet18_small", "nyu_efficientnet_lite2"])
def test_an_output_is_quantised_once_after_its_activation(name, tmp_path):
    """Else the range would be that before the ReLU: most of it negative and never used, and the depth 5 % off."""
    source = load_model(name)
    frames = np.stack(room_images(source.info.input_width, source.info.input_height, 3))
    difference = quantize(source, frames, tmp_path / "all.onnx", keep=())
    nodes = onnx.load(tmp_path / "all.onnx").graph.node
    dequantised = {node.output[0] for node in nodes if node.op_type == "DequantizeLinear"}
    assert not [node.name for node in nodes if node.op_type in ("Relu", "Clip") and node.input[0] in dequantised]
    assert 1e-4 < np.nanmean(difference) < 0.025


def test_a_symmetric_model_has_every_zero_point_at_0_and_no_integer_bias(tmp_path):
    frames = np.stack(room_images(160, 120, 2))
    quantize(load_model("nyu_resnet18_small"), frames, tmp_path / "s.onnx", symmetric=True)
    graph = onnx.load(tmp_path / "s.onnx").graph
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    points = [constants[n.input[2]] for n in graph.node if n.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert len(points) > 40 and all(p.dtype == np.int8 and not p.any() for p in points)


def test_a_quantised_model_and_the_users_mistakes_are_one_sentence_and_no_file(int8, folder, tmp_path, capsys):
    output = tmp_path / "out.onnx"
    mistakes = {
        "is quantised already": [str(int8), "--calibration", str(folder), "--output", str(output)],
        "does not exist": ["nyu_resnet18_small", "--calibration", "nowhere", "--output", str(output)],
        "folder .* does not exist": [
            "nyu_resnet18_small",
            "--calibration",
            str(folder),
            "--output",
            "/nowhere/out.onnx",
        ],
        "is a folder": ["nyu_resnet18_small", "--calibration", str(folder), "--output", str(folder)],
        "at least 1": ["nyu_resnet18_small", "--calibration", str(folder), "--output", str(output), "--frames", "0"],
        "is the model itself": [str(int8), "--calibration", str(folder), "--output", str(int8)],
        "not found": ["none.onnx", "--calibration", str(folder), "--output", str(output)],
    }
    before = int8.read_bytes()
    for message, arguments in mistakes.items():
        assert main(arguments) == 1
        error = capsys.readouterr().err
        assert re.search(message, error) and error.count("\n") == 1
    assert not list(tmp_path.iterdir()) and int8.read_bytes() == before


def test_calibration_images_come_from_a_bag_too(tmp_path):
    pytest.importorskip("rosbags", reason="reads bags")
    bag = bags.synthetic_room(tmp_path / "bag", count=3, size=(160, 120))
    output = tmp_path / "int8.onnx"
    assert main(["nyu_resnet18_small", "--calibration", str(bag), "--output", str(output), "--frames", "3"]) == 0
    assert load_model(output).info.name.endswith("_int8")


@pytest.mark.parametrize("megabytes", [2, 24])
def test_a_full_disk_is_one_sentence_and_leaves_no_file(folder, tmp_path, megabytes):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (megabytes * 10**6,) * 2)

    arguments = ["nyu_resnet18_small", "--calibration", folder, "--frames", "1", "--output", tmp_path / "out.onnx"]
    command = [sys.executable, "-m", "depth_estimation_ros.tools.quantize_model", *map(str, arguments)]
    run = subprocess.run(command, capture_output=True, text=True, preexec_fn=limit)
    assert run.returncode == 1 and run.stderr.startswith("quantize_model: ") and run.stderr.count("\n") == 1
    assert "disk full" in run.stderr and not list(tmp_path.iterdir())


def test_ctrl_c_is_one_sentence_and_leaves_no_file(folder, tmp_path, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(quantize_module._Reader, "get_next", interrupted)
    assert main(["nyu_resnet18_small", "--calibration", str(folder), "--output", str(tmp_path / "out.onnx")]) == 130
    assert capsys.readouterr().err == "quantize_model: interrupted, nothing was written\n"
    assert not list(tmp_path.iterdir())


class Numbered:
    """A source whose images say their number."""

    description, notes, rate, live = "numbers", [], None, False

    def __init__(self, count):
        self.count = count

    def __iter__(self):
        return (Frame(np.full((120, 160, 3), i, np.uint8)) for i in range(self.count))


@pytest.mark.parametrize(("count", "wanted"), [(3, 10), (10, 10), (57, 10), (250, 10), (5, 1)])
def test_calibration_images_are_spread_evenly_over_the_source(count, wanted):
    numbers = calibration_frames(Numbered(count), load_model("nyu_resnet18_small").info, wanted)[:, 0, 0, 0].tolist()
    assert min(count, wanted) <= len(numbers) < 2 * wanted
    steps = {b - a for a, b in itertools.pairwise(numbers)}
    assert len(steps) <= 1 and numbers[0] == 0
    assert math.isclose(numbers[-1], count - 1, abs_tol=max(steps, default=count))


def test_an_endless_or_empty_source_is_refused(tmp_path):
    info, endless = load_model("nyu_resnet18_small").info, Numbered(1)
    endless.live = True
    with pytest.raises(ValueError, match="record a bag or a video"):
        calibration_frames(endless, info, 1)
    with pytest.raises(ValueError, match="numbers holds no image"):
        calibration_frames(Numbered(0), info, 1)
