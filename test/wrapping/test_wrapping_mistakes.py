"""Wrong presets, damaged files and odd networks: each is one sentence, or the right depth."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from foreign_networks import FLOAT, HALF, Graph, stand_ins, weighed
from onnx import helper

from depth_estimation_ros.backends import create_backend
from depth_estimation_ros.model import load_model
from depth_estimation_ros.wrapping.errors import WrapError
from depth_estimation_ros.wrapping.foreign import read
from depth_estimation_ros.wrapping.preset import Focal, Mask, Preset
from depth_estimation_ros.wrapping.presets import PRESETS, REFUSED, preset_of
from depth_estimation_ros.wrapping.wrap import wrap

CASES = {case.file: case for case in stand_ins()}
PLAIN = Preset(
    "plain", "Plain", "metric", "none", None, "", "", "", normalisation="unit", focal=Focal(40.0), multiple=1
)


@pytest.fixture
def saved(tmp_path):
    """Return a function that writes a network and gives its path."""

    def write(model: onnx.ModelProto, name: str = "network.onnx", **options):
        onnx.save(model, tmp_path / name, **options)
        return tmp_path / name

    return write


def refused(path, preset, *words, **options) -> str:
    with pytest.raises(WrapError) as caught:
        wrap(read(path), preset, "refused", **options)
    said = str(caught.value)
    assert said.isprintable() and len(said) < 600
    for word in words:
        assert word in said
    return said


def depth_of(made, path, rgb) -> np.ndarray:
    onnx.save(made.model, path)
    return create_backend(load_model(path), "cpu").infer(rgb[None])["depth"][0, 0]


def noise(width, height) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("preset", PRESETS.values(), ids=lambda preset: preset.name)
@pytest.mark.parametrize("file", ["metric3d-vit-small.onnx", "moge-2-vits-normal.onnx", "ResNet50UpProj.onnx"])
def test_a_wrong_preset_is_refused_in_a_sentence_or_makes_a_model_that_runs(saved, tmp_path, file, preset):
    path = saved(CASES[file].model, file)
    try:
        made = wrap(read(path), preset, "wrong")
    except WrapError as error:
        assert str(error).isprintable() and len(str(error)) < 600
        return
    depth = depth_of(made, tmp_path / "model.onnx", noise(made.info.input_width, made.info.input_height))
    assert depth.size


@pytest.mark.parametrize("keep", [0, 1, 20, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_refused(tmp_path, keep):
    content = CASES["depth_anything_v2_vits_indoor_dynamic.onnx"].model.SerializeToString()
    (tmp_path / "cut.onnx").write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])
    refused(tmp_path / "cut.onnx", PLAIN, "cut.onnx' is not a", "ONNX file", "download it again")


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "git lfs pull"),
        (b"<!DOCTYPE html><html></html>", "web page"),
        (b"PK\x03\x04" + b"archive/data.pkl" * 20, "PyTorch checkpoint"),
    ],
)
def test_what_was_downloaded_instead_of_the_file_is_named(tmp_path, content, advice):
    (tmp_path / "x.onnx").write_bytes(content)
    refused(tmp_path / "x.onnx", PLAIN, "is not a complete ONNX file", advice)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    refused(tmp_path / "none.onnx", PLAIN, "none.onnx' cannot be read: No such file")
    refused(tmp_path, PLAIN, "is a folder")


def with_weights_beside(saved, value: float = 5.0):
    graph = Graph(17, "image", [1, 3, 6, 8])
    graph.output(
        graph.add("Add", [graph.plane(0.0), graph.weight(np.full((1, 1, 6, 8), value))]), "depth", [1, 1, 6, 8]
    )
    model = graph.model()
    return saved(model, save_as_external_data=True, location="network.onnx_data", size_threshold=0)


def test_weights_in_another_file_become_part_of_the_model_and_of_its_identity(saved, tmp_path):
    rgb, shas = noise(8, 6), set()
    for value in (5.0, 6.0):
        (tmp_path / "network.onnx_data").unlink(missing_ok=True)
        path = with_weights_beside(saved, value)
        made = wrap(read(path), PLAIN, "beside")
        np.testing.assert_allclose(depth_of(made, tmp_path / "model.onnx", rgb), weighed(rgb, "unit", value), rtol=1e-4)
        shas |= {made.info.source_sha256, load_model(tmp_path / "model.onnx").sha256}
    assert len(shas) == 4
    assert not any(tensor.external_data for tensor in made.model.graph.initializer)


def test_missing_short_or_distant_weights_are_named(saved, tmp_path):
    path = with_weights_beside(saved)
    data = tmp_path / "network.onnx_data"
    whole = data.read_bytes()
    data.write_bytes(whole[:-4])
    refused(path, PLAIN, "network.onnx_data' is cut off", "download it again")
    data.unlink()
    refused(path, PLAIN, "'network.onnx_data', which is not beside it")
    (tmp_path / "elsewhere").mkdir()
    content = path.read_bytes().replace(b"network.onnx_data", b"../secret12345678")
    (tmp_path / "elsewhere" / "network.onnx").write_bytes(content)
    refused(tmp_path / "elsewhere" / "network.onnx", PLAIN, "outside of its folder", "'../secret12345678'")


def test_half_precision_in_and_out_comes_out_as_float32(saved, tmp_path):
    graph = Graph(17, "image", [1, 3, 6, 8], dtype=HALF)
    graph.output(graph.plane(5.0), "depth", [1, 1, 6, 8])
    rgb = noise(8, 6)
    made = wrap(read(saved(graph.model())), PLAIN, "half")
    np.testing.assert_allclose(depth_of(made, tmp_path / "model.onnx", rgb), weighed(rgb, "unit", 5.0), rtol=2e-3)
    assert made.model.graph.output[0].type.tensor_type.elem_type == FLOAT
    stored = {tensor.data_type for tensor in made.model.graph.initializer if "network/" in tensor.name}
    assert stored == {HALF}, "its weights stay small"


def two_alike(names) -> onnx.ModelProto:
    graph = Graph(17, "image", [1, 3, 6, 8])
    for offset, name in enumerate(names):
        graph.output(graph.plane(5.0 + offset), name, [1, 1, 6, 8])
    return graph.model()


def test_of_two_outputs_of_one_shape_the_one_that_is_named_is_taken(saved, tmp_path):
    rgb = noise(8, 6)
    made = wrap(read(saved(two_alike(["confidence", "depth"]))), PLAIN, "two")
    np.testing.assert_allclose(depth_of(made, tmp_path / "model.onnx", rgb), weighed(rgb, "unit", 6.0), rtol=1e-4)
    path = saved(two_alike(["a", "b"]))
    refused(path, PLAIN, "which output is the depth is not clear", "'a' float [1, 1, 6, 8]", "'b'", "--depth")
    made = wrap(read(path), replace(PLAIN, outputs=("b",)), "two")
    np.testing.assert_allclose(depth_of(made, tmp_path / "model.onnx", rgb), weighed(rgb, "unit", 6.0), rtol=1e-4)


def network(shape, name="image", opset=17, then=lambda graph, plane: plane) -> Graph:
    graph = Graph(opset, name, shape)
    graph.output(then(graph, graph.plane(5.0)), "depth", [1, 1, "h", "w"])
    return graph


def test_a_network_for_four_images_at_once_is_refused(saved):
    refused(saved(network([4, 3, 6, 8]).model()), PLAIN, "takes 4 images at once")


def test_a_network_without_three_channels_where_they_are_expected_is_refused(saved):
    refused(saved(CASES["ResNet50UpProj.onnx"].model), PLAIN, "three channels", "--layout nhwc")
    refused(saved(network([1, 3, 6, 8]).model()), replace(PLAIN, layout="nhwc"), "--layout nchw")


def test_inputs_are_chosen_by_name_or_because_there_is_but_one_image(saved, tmp_path):
    graph = network([1, 3, 6, 8], name="camera")
    rgb = noise(8, 6)
    made = wrap(read(saved(graph.model())), PLAIN, "named")
    np.testing.assert_allclose(depth_of(made, tmp_path / "model.onnx", rgb), weighed(rgb, "unit", 5.0), rtol=1e-4)
    graph.inputs.append(helper.make_tensor_value_info("left", FLOAT, [1, 3, 6, 8]))
    path = saved(graph.model())
    refused(path, PLAIN, "which input takes the image is not clear", "'camera'", "'left'", "--input")
    refused(path, replace(PLAIN, inputs=("camera",)), "input 'left' has no value", "--freeze NAME=VALUE")


def test_further_inputs_take_values_of_their_type_and_shape(saved, tmp_path):
    graph = network([1, 3, 6, 8], then=lambda graph, plane: graph.add("Mul", [plane, "gain"]))
    graph.inputs.append(helper.make_tensor_value_info("gain", FLOAT, ["batch"]))
    path = saved(graph.model())
    rgb = noise(8, 6)
    made = wrap(read(path), replace(PLAIN, freeze={"gain": 3}), "frozen")
    np.testing.assert_allclose(depth_of(made, tmp_path / "model.onnx", rgb), 3 * weighed(rgb, "unit", 5.0), rtol=1e-4)
    refused(path, PLAIN, "'gain' has no value")
    for value in ("much", np.zeros((2, 2)), None):
        refused(path, replace(PLAIN, freeze={"gain": value}), "its input 'gain' cannot be")


def test_outputs_that_are_no_image_are_named(saved):
    graph = Graph(17, "image", [1, 3, 6, 8])
    graph.output(graph.plane(5.0, channels=2), "depth", [1, 2, 6, 8])
    path = saved(graph.model())
    refused(path, PLAIN, "the output depth has the shape [1, 2, 6, 8]")
    refused(path, replace(PLAIN, kind="points"), "is no image of points")
    graph.output(graph.weight([1.0, 2.0]), "scale", [2])
    refused(saved(graph.model()), replace(PLAIN, kind="points", scale=("metric_scale",)), "no output metric_scale")


def test_a_mask_of_another_size_is_refused(saved):
    graph = network([1, 3, 6, 8])
    graph.output(graph.weight(np.ones((1, 1, 3, 4))), "mask", [1, 1, 3, 4])
    refused(
        saved(graph.model()), replace(PLAIN, mask=Mask(("mask",), 0.5, "above")), "mask is not of the size of depth"
    )


def test_old_operator_sets_are_refused(saved):
    refused(saved(network([1, 3, 6, 8], opset=8).model()), PLAIN, "operator set 8", "9 is the oldest")


def test_a_size_that_the_network_cannot_take_comes_with_the_next_that_it_can(saved):
    path = saved(CASES["depth-anything-v2-small.onnx"].model)
    refused(path, PRESETS["da2_s"], "multiples of 14", "--size 644x476", size=(640, 480))
    made = wrap(read(path), PRESETS["da2_s"], "small", size=(308, 238))
    assert (made.info.input_width, made.info.input_height) == (308, 238)
    fixed = saved(CASES["model-small.onnx"].model)
    refused(fixed, PRESETS["midas_small"], "256x256 only", "leave --size out", size=(512, 512))


def test_a_network_that_does_not_run_at_the_size_is_refused(saved):
    def fixed(graph, plane):
        return graph.add("Add", [plane, graph.weight(np.zeros((1, 1, 6, 8)))])

    graph = network([1, 3, "h", "w"], then=fixed)
    path = saved(graph.model())
    refused(path, PLAIN, "ONNX Runtime cannot run the network at 1 x 3 x 12 x 16", size=(16, 12))
    assert wrap(read(path), PLAIN, "right", size=(8, 6)).info.input_width == 8


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_one_graph_is_refused_by_name_with_the_reason(name):
    for spelt in (name, name.upper(), name.replace("_", "-")):
        with pytest.raises(ValueError, match="cannot become a model: "):
            preset_of(spelt)


def test_an_unknown_preset_comes_with_the_nearest():
    with pytest.raises(ValueError, match=r"'moge' is unknown; there are .*moge2_s"):
        preset_of("moge")
    assert preset_of(" DA2-Hypersim-S ").name == "da2_hypersim_s"
