import dataclasses
import hashlib
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from depth_estimation_ros import DepthEstimator, PinholeCamera
from depth_estimation_ros.backends import create_backend
from depth_estimation_ros.model import METADATA_KEY, PACKAGED, ModelError, ModelInfo, load_model
from depth_estimation_ros.model_card import accuracy_in

INFO = ModelInfo("tiny", 8, 6, 7.5, 0.5, 10.0, "none", "Apache-2.0", "0" * 64)
STRETCHED = dataclasses.replace(INFO, focal_length_y=9.0, source_name="net.onnx", commercial_use=False)


@pytest.fixture
def tiny_model(tmp_path):
    """Return a function that writes a model of one convolution, which keeps the contract unless told otherwise."""

    def write(
        input_name="image", input_type=TensorProto.UINT8, shape=("N", 6, 8, 3), output="depth", info=INFO, more=()
    ):
        nodes = [
            helper.make_node("Cast", [input_name], ["float"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["float"], ["mean"], axes=[3], keepdims=1),
            helper.make_node("Transpose", ["mean"], [output], perm=[0, 3, 1, 2]),
            *(
                helper.make_node(
                    "ReduceMean", [output], [o.name], axes=[1], keepdims=len(o.type.tensor_type.shape.dim) - 3
                )
                for o in more
            ),
        ]
        graph = helper.make_graph(
            nodes,
            "tiny",
            [helper.make_tensor_value_info(input_name, input_type, shape)],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, ("N", 1, 6, 8)), *more],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        if info is not None:
            text = info if isinstance(info, str) else info.to_json()
            model.metadata_props.add(key=METADATA_KEY, value=text)
        path = tmp_path / "tiny.onnx"
        onnx.save(model, path)
        return path

    return write


def test_a_model_that_keeps_the_contract_is_read_back_as_written(tiny_model):
    model = load_model(tiny_model())
    assert model.info == INFO
    assert len(model.sha256) == 64
    assert model.outputs == ("depth",)


@pytest.mark.parametrize("name", PACKAGED)
def test_every_packaged_model_keeps_the_contract_and_has_a_card_with_its_accuracy(name):
    model, card = load_model(name), PACKAGED[name].with_suffix(".md")
    assert card.read_text().startswith(f"# {model.info.name}\n")
    stated = accuracy_in(card)
    assert 0.05 < stated["absrel"] < 0.25 and 0.6 < stated["delta1"] < 1


def test_a_card_without_accuracy_and_a_missing_card_state_none(tmp_path):
    card = tmp_path / "x.md"
    assert accuracy_in(card) == {}
    card.write_text("# x\n\n| | |\n|---|---|\n| Size | 3 MB |\n")
    assert accuracy_in(card) == {}
    card.write_text(
        card.read_text() + "\n| | abs_rel | delta1 |\n|---|---|---|\n| frames | 0.1 | - |\n| others | 0.2 | 1 |\n"
    )
    assert accuracy_in(card)["absrel"] == 0.1 and math.isnan(accuracy_in(card)["delta1"])


def test_a_fetched_model_is_found_by_its_name_or_the_command_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    file = tmp_path / "depth_estimation_ros" / "models" / "fcrn-nyu.onnx"
    with pytest.raises(ModelError) as caught:
        load_model("fcrn-nyu")
    assert str(caught.value) == (
        f"model 'fcrn-nyu' is not on this machine yet: run `fetch_model fcrn-nyu`, which writes it to {file}"
    )
    file.parent.mkdir(parents=True)
    shutil.copy(PACKAGED["nyu_resnet18_small"], file)
    assert load_model("fcrn-nyu").path == file


def test_the_default_model_keeps_the_contract():
    model = load_model("default")
    assert model.path.stat().st_size <= 16e6
    assert model.info.input_width > model.info.input_height > 0


def test_a_missing_model_is_named():
    with pytest.raises(ModelError, match=r"'/nowhere/x\.onnx' not found.*default"):
        load_model("/nowhere/x.onnx")
    for name in ("", "~nobody/x.onnx", "~nosuchuser/x.onnx", f"{__file__}/x.onnx", Path("none.onnx")):
        with pytest.raises(ModelError, match="not found: give the path of an ONNX file, or one of: default"):
            load_model(name)


def test_a_path_that_cannot_be_read_is_one_sentence(tmp_path):
    loop = tmp_path / "loop.onnx"
    loop.symlink_to(loop)
    os.mkfifo(tmp_path / "pipe.onnx")
    with open(tmp_path / "large.onnx", "wb") as file:
        file.truncate(1 << 40)
    unreadable = {
        "/proc/self/mem": "cannot be read: Input/output error",
        "x" * 300: "cannot be read: File name too long",
        "x" * 100_000: "cannot be read: File name too long",
        "a\0b": "cannot be read: " + ("stat: " if sys.version_info >= (3, 13) else "") + "embedded null",
        "\ud800.onnx": "cannot be read: 'utf-8' codec can't encode",
        str(loop): "cannot be read: Too many levels of symbolic links",
        str(tmp_path): "is a folder: give the path of an ONNX file in it",
        str(tmp_path / "pipe.onnx"): "not a file but a device or a pipe",
        "/dev/zero": "not a file but a device or a pipe",
        str(tmp_path / "large.onnx"): "has 1099.5 GB, which no ONNX file has",
        7: "a model is the path of an ONNX file, or one of: default, small, nyu_resnet18_small, "
        "nyu_efficientnet_lite0, nyu_efficientnet_lite2, fcrn-nyu; not 7",
        None: "not None",
        b"x.onnx": "not b'x.onnx'",
    }
    for name, words in unreadable.items():
        with pytest.raises(ModelError) as caught:
            load_model(name)
        said = str(caught.value)
        assert words in said and "the path of an ONNX file" in said
        assert said.isprintable() and len(said) < 500


def test_a_file_of_another_user_and_too_little_memory_are_one_sentence_each(tmp_path, monkeypatch):
    path = tmp_path / "x.onnx"
    path.write_bytes(b"x")
    for error, words in (
        (PermissionError(13, "Permission denied"), "Permission denied"),
        (MemoryError(), "the memory"),
    ):

        def failing(_, error=error):
            raise error

        monkeypatch.setattr(Path, "read_bytes", failing)
        with pytest.raises(
            ModelError, match=f"cannot be read: {words}.*; give the path of an ONNX file that this user"
        ):
            load_model(path)


def test_a_model_without_metadata_is_refused(tiny_model):
    with pytest.raises(ModelError, match=r"tiny\.onnx' cannot be used: it has no depth_estimation_ros metadata"):
        load_model(tiny_model(info=None))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read"),
        ("{", "cannot be read"),
        ("[1]", "cannot be read"),
        ("null", "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        ('{"schema_version": ' + "9" * 5000 + "}", "cannot be read"),
        ('{"schema_version": 99}', "schema version 99"),
        ('{"schema_version": true}', "schema version True"),
        ('{"schema_version": 1.0}', r"schema version 1\.0"),
        ('{"schema_version": 1, "name": "x"}', "lacks focal_length"),
        (INFO.to_json().replace('"name"', '"name": "other", "name"'), "gives a value twice"),
    ],
)
def test_unreadable_metadata_is_refused(tiny_model, text, message):
    with pytest.raises(ModelError, match=message) as caught:
        load_model(tiny_model(info=text))
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("field", "values"),
    {
        "name": (7, None, "", "a\nb", "a\0b", "\ud800x", "x" * 101, ["tiny"]),
        "training_data": (7, None, "\udfff"),
        "licence": (7, None, "\ud800"),
        "source_sha256": (0, None),
        "input_width": (8.0, True, "8", None, 0, -8, 8193, 10**400),
        "input_height": (6.0, None, [6], 0),
        "focal_length": (0.0, -7.5, math.nan, math.inf, -math.inf, 1e-9, 1e9, 10**400, "7.5", True, None),
        "min_depth": (0.0, -1.0, math.nan, 10.0, 20.0, "0.5", None),
        "max_depth": (0.0, math.nan, math.inf, 1e30, "10", None),
        "focal_length_y": (0.0, -7.5, math.nan, 1e9, "7.5", True),
        "horizontal_only": (1, None, "true"),
        "kind": ("", "metres", None, 1),
        "source_name": (7, None, "\udfff"),
        "commercial_use": ("yes", 2),
    }.items(),
)
def test_metadata_that_no_model_can_have_are_refused_by_name(tiny_model, field, values):
    for value in values:
        text = json.dumps({**json.loads(STRETCHED.to_json()), field: value})
        with pytest.raises(ModelError, match=f"its {field} must be .*got .*; export the model again") as caught:
            load_model(tiny_model(info=text))
        assert str(caught.value).isprintable() and len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "other",
    [
        {"input_name": "input"},
        {"input_type": TensorProto.FLOAT},
        {"shape": ("N", 12, 16, 3)},
    ],
)
def test_a_model_with_other_inputs_is_refused(tiny_model, other):
    with pytest.raises(ModelError, match="its inputs are"):
        load_model(tiny_model(**other))


def test_a_model_without_depth_is_refused(tiny_model):
    with pytest.raises(ModelError, match="its outputs are"):
        load_model(tiny_model(output="disparity"))


def test_a_second_output_must_be_a_log_variance_of_the_same_shape(tiny_model):
    variance = helper.make_tensor_value_info("log_variance", TensorProto.FLOAT, ("N", 1, 6, 8))
    assert load_model(tiny_model(more=[variance])).outputs == ("depth", "log_variance")
    flat = helper.make_tensor_value_info("log_variance", TensorProto.FLOAT, ("N", 6, 8))
    with pytest.raises(ModelError, match="'log_variance' of the same shape"):
        load_model(tiny_model(more=[flat]))


def test_metadata_are_of_the_oldest_schema_that_says_it_all(tiny_model):
    assert json.loads(INFO.to_json())["schema_version"] == 1
    assert json.loads(STRETCHED.to_json())["schema_version"] == 2
    for info in (INFO, STRETCHED):
        assert load_model(tiny_model(info=info)).info == info
    lacking = {name: value for name, value in json.loads(STRETCHED.to_json()).items() if name != "kind"}
    with pytest.raises(ModelError, match="lacks kind"):
        load_model(tiny_model(info=json.dumps(lacking)))


def test_a_relative_model_gives_its_own_values_and_says_so(tiny_model):
    relative = tiny_model(info=dataclasses.replace(INFO, kind="inverse_relative"))
    estimator = DepthEstimator.load(relative, "cpu")
    camera = PinholeCamera(8, 6, 77.0, 77.0, 3.5, 2.5)
    image = np.zeros((6, 8, 3), np.uint8)
    depth = estimator.estimate(image, camera)
    assert estimator.model.info.is_relative and depth.kind == "inverse_relative" and depth.camera is not None
    # Not scaled by the focal length, and zero, which is infinitely far, stays.
    np.testing.assert_array_equal(depth.depth, estimator.estimate(image).depth)
    assert np.isfinite(depth.depth).all()
    with pytest.raises(ValueError, match=r"depth is relative \(inverse_relative\), not metres"):
        depth.limited(0.1, 10.0)


def test_a_stretched_image_has_two_focal_lengths_and_depth_their_geometric_mean(tiny_model):
    estimate = DepthEstimator.load(tiny_model(info=STRETCHED), "cpu").estimate
    image = np.full((6, 8, 3), 100, np.uint8)
    camera = PinholeCamera(8, 6, 15.0, 18.0, 3.5, 2.5)
    np.testing.assert_allclose(estimate(image, camera).depth, 200.0, rtol=1e-6)
    tall = np.full((12, 8, 3), 100, np.uint8)
    square = PinholeCamera(8, 12, 15.0, 18.0, 3.5, 5.5)
    np.testing.assert_allclose(estimate(tall, square).depth, 100 * math.sqrt(15 / 7.5 * 18 / 2 / 9), rtol=1e-6)


def test_depth_follows_the_horizontal_focal_length_alone_where_the_model_says_so(tiny_model):
    estimate = DepthEstimator.load(tiny_model(info=dataclasses.replace(INFO, horizontal_only=True)), "cpu").estimate
    for height in (3, 6, 24):
        camera = PinholeCamera(8, height, 15.0, 15.0, 3.5, 2.5)
        depth = estimate(np.full((height, 8, 3), 100, np.uint8), camera).depth
        np.testing.assert_allclose(depth, 200.0, rtol=1e-6)


def test_metadata_that_are_there_twice_are_refused(tiny_model):
    path = tiny_model()
    model = onnx.load(path)
    model.metadata_props.add(key=METADATA_KEY, value=dataclasses.replace(INFO, focal_length=100.0).to_json())
    onnx.save(model, path)
    with pytest.raises(ModelError, match="metadata twice"):
        load_model(path)


def test_metadata_that_are_no_text_are_refused(tiny_model):
    path = tiny_model(info="{" + "\u00e9" * 10)
    path.write_bytes(path.read_bytes().replace("\u00e9".encode(), b"\xff\xfe"))
    with pytest.raises(ModelError, match=r"tiny\.onnx' cannot be used: .*codec can't decode"):
        load_model(path)


def test_a_model_for_several_images_at_once_is_refused(tiny_model):
    with pytest.raises(ModelError, match="it takes batches of 4 only"):
        load_model(tiny_model(shape=(4, 6, 8, 3)))
    assert load_model(tiny_model(shape=(1, 6, 8, 3))).info == INFO


def test_the_file_is_read_once_and_not_any_more_when_the_engine_is_made(tiny_model):
    path = tiny_model()
    model = load_model(path)
    assert model.sha256 == hashlib.sha256(path.read_bytes()).hexdigest() and model.content == path.read_bytes()
    path.unlink()
    estimator = DepthEstimator(model, create_backend(model, "cpu"))
    np.testing.assert_allclose(estimator.estimate(np.full((6, 8, 3), 5, np.uint8)).depth, 5.0)
    assert estimator.model.content is None and estimator.model == model


@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, 0.99])
def test_a_truncated_model_is_refused(tmp_path, keep):
    content = load_model("default").path.read_bytes()
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])
    with pytest.raises(ModelError, match=r"broken\.onnx' cannot be used: it") as caught:
        load_model(broken)
    assert "\n" not in str(caught.value)


def test_weights_in_a_second_file_are_refused(tmp_path, monkeypatch):
    whole = onnx.load(load_model("default").path)
    onnx.save(whole, tmp_path / "split.onnx", save_as_external_data=True, location="weights.bin")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=r"its weights are in a second file, 'weights\.bin', .*onnx\.save"):
        load_model("split.onnx")


def test_garbage_is_not_a_model(tmp_path):
    path = tmp_path / "noise.onnx"
    path.write_bytes(np.random.default_rng(0).bytes(4096))
    with pytest.raises(ModelError, match="not a complete ONNX file"):
        load_model(path)


def test_without_onnxruntime_one_sentence_says_what_to_install():
    script = """
import sys
sys.modules["onnxruntime"] = None
from depth_estimation_ros.model import ModelError, load_model
try:
    load_model("default")
except ModelError as error:
    print(error)
"""
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    (line,) = printed.splitlines()
    assert "models are read with the package onnxruntime" in line and line.endswith("pip install onnxruntime")
