"""Every published network becomes a model whose depth is known by hand, on every engine."""

import numpy as np
import onnx
import pytest
from foreign_networks import StandIn, stand_ins

from depth_estimation_ros import DepthEstimator, PinholeCamera
from depth_estimation_ros.backends import create_backend
from depth_estimation_ros.model import load_model
from depth_estimation_ros.wrapping.foreign import read
from depth_estimation_ros.wrapping.presets import PRESETS
from depth_estimation_ros.wrapping.wrap import wrap

STAND_INS = stand_ins()
# One of each signature; the larger networks of a family have the same.
ONCE = [case for case in STAND_INS if not case.preset.endswith(("_b", "_l")) or case.preset.startswith("da3")]


@pytest.fixture(scope="module")
def wrapped(tmp_path_factory):
    """Return a function that gives the path of a stand-in's model, which it makes once."""
    folder, made = tmp_path_factory.mktemp("wrapped"), {}

    def of(case: StandIn):
        if case.name not in made:
            source = folder / case.file
            onnx.save(case.model, source)
            result = wrap(read(source), PRESETS[case.preset], case.preset, **case.options)
            made[case.name] = folder / f"{case.name}.model.onnx"
            onnx.save(result.model, made[case.name])
        return made[case.name]

    return of


def picture(case: StandIn) -> np.ndarray:
    width, height = case.size
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def test_there_is_a_stand_in_for_every_preset():
    assert {case.preset for case in STAND_INS} == set(PRESETS)


@pytest.mark.parametrize("case", STAND_INS, ids=lambda case: case.name)
def test_depth_is_what_it_is_by_hand(wrapped, case):
    model = load_model(wrapped(case))
    info, preset = model.info, PRESETS[case.preset]
    assert (info.input_width, info.input_height) == case.size
    if case.focal is not None:
        assert info.focal_lengths == pytest.approx(case.focal, rel=1e-4)
    assert (info.licence, info.commercial_use) == (preset.licence, preset.commercial_use)
    assert info.source_name == case.file and info.is_relative == preset.is_relative
    image = picture(case)
    expected = case.depth(image)
    assert np.isfinite(expected).any()
    engines = ("cpu", "openvino") if case in ONCE else ("cpu",)
    for engine in engines:
        depth = create_backend(model, engine).infer(image[None])["depth"][0, 0]
        np.testing.assert_allclose(depth, expected, rtol=1e-4, err_msg=engine)


@pytest.mark.parametrize("case", ONCE, ids=lambda case: case.name)
def test_tensorrt_reads_and_builds_it(wrapped, case):
    pytest.importorskip("tensorrt_rtx", reason="needs TensorRT for RTX: pip install -e '.[test]'")
    from depth_estimation_ros.backends import EngineOptions
    from depth_estimation_ros.backends.tensorrt.builder import build
    from depth_estimation_ros.backends.tensorrt.library import find_library

    content = wrapped(case).read_bytes()
    assert build(find_library("tensorrt_rtx"), content, EngineOptions("fp16"), free_memory=1 << 30).plan


@pytest.mark.parametrize("case", ONCE, ids=lambda case: case.name)
def test_the_form_of_the_file_is_one_that_old_engines_read(wrapped, case):
    model = onnx.load(wrapped(case))
    onnx.checker.check_model(model, full_check=True)
    opset = {entry.domain: entry.version for entry in model.opset_import}
    assert opset == {"": case.model.opset_import[0].version}, "which stays as published"
    assert model.ir_version == 8
    operators = {node.op_type for node in model.graph.node}
    assert not operators & {"Shape", "Resize", "Squeeze", "Constant"} - {n.op_type for n in case.model.graph.node}
    assert [value.name for value in model.graph.input] == ["image"]
    assert [value.name for value in model.graph.output] == ["depth"]


@pytest.mark.parametrize(
    ("file", "image", "size"),
    [
        ("depth_anything_v2_vits_indoor_dynamic.onnx", (480, 640), (518, 686)),
        ("depth_anything_v2_vits_indoor_dynamic.onnx", (1921, 1079), (924, 518)),
        ("depth-anything-v3-small.onnx", (479, 641), (378, 504)),
        ("metric3d-vit-small.onnx", (480, 640), (616, 812)),
        ("metric3d_vit_small.onnx", (480, 640), (462, 616)),
        ("metric3d_vit_small.onnx", (1921, 1079), (1064, 598)),
    ],
)
def test_portrait_and_odd_images_keep_their_aspect(tmp_path, file, image, size):
    case = next(case for case in STAND_INS if case.file == file)
    onnx.save(case.model, tmp_path / file)
    made = wrap(read(tmp_path / file), PRESETS[case.preset], "aspect", image=image)
    assert (made.info.input_width, made.info.input_height) == size
    onnx.save(made.model, tmp_path / "model.onnx")
    model = load_model(tmp_path / "model.onnx")
    rgb = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), np.uint8)
    for engine in ("cpu", "openvino"):
        depth = create_backend(model, engine).infer(rgb[None])["depth"][0, 0]
        np.testing.assert_allclose(depth, case.depth(rgb), rtol=1e-4)


def test_the_border_takes_the_colour_that_the_network_knows(tmp_path):
    case = next(case for case in STAND_INS if case.file == "metric3d_vit_small.onnx")
    graph = onnx.ModelProto.FromString(case.model.SerializeToString())
    # The mean of the whole input in place of the depth of each pixel.
    del graph.graph.node[:]
    graph.graph.node.extend(
        [
            onnx.helper.make_node("ReduceMean", ["image"], ["mean"], axes=[1, 2, 3], keepdims=1),
            onnx.helper.make_node("Shape", ["image"], ["shape"]),
            onnx.helper.make_node("Expand", ["mean", "shape"], ["whole"]),
            onnx.helper.make_node("ReduceMean", ["whole"], ["pred_depth"], axes=[1], keepdims=1),
        ]
    )
    onnx.save(graph, tmp_path / case.file)
    onnx.save(wrap(read(tmp_path / case.file), PRESETS["metric3d_v2_s"], "mean").model, tmp_path / "model.onnx")
    black = np.zeros((1, 616, 822, 3), np.uint8)
    depth = create_backend(load_model(tmp_path / "model.onnx"), "cpu").infer(black)["depth"]
    border = np.mean([123.675, 116.28, 103.53]) * (1064 - 822) / 1064
    np.testing.assert_allclose(depth, border, rtol=1e-4)


@pytest.mark.parametrize(
    ("file", "camera", "ratio"),
    [
        # Every camera of the canonical focal length sees the canonical depth, whatever its size.
        ("metric3d-vit-small.onnx", PinholeCamera(1624, 1232, 2000, 2000, 811.5, 615.5), 1.0),
        ("metric3d-vit-small.onnx", PinholeCamera(406, 308, 1000, 1000, 202.5, 153.5), 2.0),
        # The training camera's image, squeezed.
        ("fast_depth_224x224.onnx", PinholeCamera(304, 228, 270.24, 270.24, 151.5, 113.5), 1.0),
        # Only the width counts, so that a portrait and a wide image of one lens have the same depth.
        ("depth_pro.onnx", PinholeCamera(640, 480, 640, 640, 319.5, 239.5), 1.0),
        ("depth_pro.onnx", PinholeCamera(640, 360, 1280, 1280, 319.5, 179.5), 2.0),
        ("depth_pro.onnx", PinholeCamera(480, 640, 480, 480, 239.5, 319.5), 1.0),
    ],
)
def test_depth_follows_the_cameras_focal_length(wrapped, file, camera, ratio):
    case = next(case for case in STAND_INS if case.file == file)
    grey = np.full((camera.height, camera.width, 3), 128, np.uint8)
    depth = DepthEstimator.load(wrapped(case), "cpu").estimate(grey, camera).depth
    by_hand = case.depth(np.full((8, 8, 3), 128, np.uint8))[0, 0]
    np.testing.assert_allclose(depth, ratio * by_hand, rtol=1e-3)


def test_what_a_mask_hides_is_invalid(wrapped):
    case = next(case for case in STAND_INS if case.file == "da3metric-large.onnx")
    image = picture(case)
    depth = DepthEstimator.load(wrapped(case), "cpu").estimate(image).depth
    assert np.array_equal(np.isnan(depth), np.isnan(case.depth(image)))
    assert 0.1 < np.isnan(depth).mean() < 0.9


@pytest.mark.parametrize(
    "case", [case for case in ONCE if PRESETS[case.preset].is_relative], ids=lambda case: case.name
)
def test_relative_depth_is_not_taken_for_metres(wrapped, case):
    depth = DepthEstimator.load(wrapped(case), "cpu").estimate(picture(case))
    assert depth.kind == PRESETS[case.preset].kind
    with pytest.raises(ValueError, match=r"depth is relative .*, not metres"):
        depth.require_metres()
