"""The command from a published file to a model that the robot runs, and what a file without metadata is told to be."""

import re
import subprocess
import sys

import numpy as np
import onnx
import pytest
from conftest import REPOSITORY
from foreign_networks import Graph, stand_ins
from ros_processes import output as printed_by

from depth_estimation_ros import DepthEstimator
from depth_estimation_ros.model import PACKAGED, ModelError, load_model
from depth_estimation_ros.tools.quantize_model import quantize
from depth_estimation_ros.tools.wrap_model import main
from depth_estimation_ros.wrapping.foreign import read
from depth_estimation_ros.wrapping.presets import PRESETS, REFUSED
from depth_estimation_ros.wrapping.table import networks_table
from depth_estimation_ros.wrapping.wrap import wrap

CASES = {case.file: case for case in stand_ins()}
OPTIONS = ["--kind", "metric", "--normalisation", "unit", "--focal-length", "70", "--multiple", "4", "--size", "80x60"]


@pytest.fixture
def network(tmp_path):
    """Path of a network that sees the dark as far away, as it is under the lamps of the rendered rooms."""
    graph = Graph(17, "image", [1, 3, "height", "width"])
    graph.output(graph.plane(4.0, -3.0), "depth", [1, 1, "height", "width"])
    onnx.save(graph.model(), tmp_path / "network.onnx")
    return tmp_path / "network.onnx"


def test_options_make_a_model_without_a_preset(network, tmp_path, capsys):
    output = tmp_path / "model.onnx"
    more = ["--licence", "CC-BY-NC-4.0", "--commercial-use", "no", "--max-depth", "12", "--training-data", "rooms"]
    assert main([str(network), *OPTIONS, *more, "--output", str(output)]) == 0
    told = capsys.readouterr().out
    assert re.search(r"model\.onnx: 0\.0 MB, metres, image 80x60, focal length 70 px", told)
    assert re.search(r"GMAC, \d+ ms here \(.+\)", told)
    assert re.search(r"rank correlation with the true depth [+-]0\.\d\d, median of depth over truth \d", told)
    assert "CC-BY-NC-4.0; no commercial use" in told
    info = load_model(output).info
    assert (info.name, info.max_depth, info.focal_lengths) == ("model", 12.0, (70.0, 70.0))
    assert (info.source_name, info.commercial_use) == ("network.onnx", False)
    depth = DepthEstimator.load(output).estimate(np.full((60, 80, 3), 255, np.uint8)).depth
    np.testing.assert_allclose(depth, 4.0 - 3.0 * 0.6, rtol=1e-5)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Path of the packaged network, without what says that it is a model."""
    model = onnx.load(PACKAGED["nyu_resnet18_small"])
    del model.metadata_props[:]
    path = tmp_path_factory.mktemp("trained") / "trained.onnx"
    onnx.save(model, path)
    return path


def test_a_trained_network_is_proven_and_wrong_options_for_it_are_named(trained, tmp_path, capsys):
    focal_length = str(load_model("nyu_resnet18_small").info.focal_length)
    command = [
        str(trained),
        "--layout",
        "nhwc",
        "--focal-length",
        focal_length,
        "--output",
        str(tmp_path / "model.onnx"),
    ]
    assert main([*command, "--kind", "metric", "--normalisation", "raw"]) == 0
    told = capsys.readouterr().out
    correlation, ratio = re.search(r"true depth ([+-][\d.]+), median of depth over truth ([\d.]+)", told).groups()
    assert float(correlation) > 0.8 and 0.8 < float(ratio) < 1.25 and "note" not in told
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    depths = [
        DepthEstimator.load(model, "cpu").estimate(image).depth
        for model in ("nyu_resnet18_small", tmp_path / "model.onnx")
    ]
    np.testing.assert_allclose(*depths, rtol=1e-4)
    assert main([*command, "--kind", "metric", "--normalisation", "imagenet"]) == 0
    assert "--normalisation raw (the network probably normalises its image itself)" in capsys.readouterr().out
    assert main([*command, "--kind", "inverse_relative", "--normalisation", "raw"]) == 1
    assert "so they are no inverse depth: --kind depth_relative, or metric" in capsys.readouterr().err
    twice = [str(tmp_path / "model.onnx"), "--kind", "metric", "--normalisation", "raw", "--focal-length", "100"]
    assert main([*twice, "--output", str(tmp_path / "twice.onnx")]) == 1
    assert "is a model of this package already" in capsys.readouterr().err


def test_what_is_useless_is_not_written_unless_forced(network, tmp_path, capsys):
    output = tmp_path / "model.onnx"
    useless = [*OPTIONS, "--clip", "0.001", "--output", str(output)]
    assert main([str(network), *useless]) == 1
    assert "is not written as a model: its depth is the same everywhere" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["network.onnx"]
    assert main([str(network), *useless, "--force"]) == 0
    assert "note: its depth is the same everywhere" in capsys.readouterr().out
    assert output.is_file()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "give a --preset (`wrap_model --list`), or --kind, --normalisation"),
        (["--kind", "metric", "--normalisation", "unit"], "or --focal-length"),
        (["--preset", "marigold"], "'marigold' cannot become a model: it is three networks"),
        (["--preset", "stereo"], "preset 'stereo' is unknown"),
        ([*OPTIONS, "--size", "81x60"], "multiples of 4, not 81x60: the next is --size 80x60"),
        ([*OPTIONS, "--size", "80"], "--size is WIDTHxHEIGHT in pixels"),
        ([*OPTIONS, "--image-size", "0x60"], "--image-size is WIDTHxHEIGHT in pixels"),
        ([*OPTIONS, "--multiple", "0"], "--multiple must be at least 1"),
        ([*OPTIONS, "--horizontal-fov", "70"], "--horizontal-fov changes nothing"),
        ([*OPTIONS, "--focal-length", "-1"], "its focal_length must be pixels"),
        ([*OPTIONS, "--max-depth", "nan"], "its max_depth must be metres"),
        ([*OPTIONS, "--mask", "sky"], "--mask is an output and a threshold"),
        ([*OPTIONS, "--freeze", "tokens"], "--freeze is NAME=NUMBER"),
        ([*OPTIONS, "--depth", "other", "--input", "nothing", "--layout", "nhwc"], "--layout nchw"),
        (["--preset", "moge2_s"], "it has no output metric_scale or scale"),
        (["--preset", "unidepth2", "--horizontal-fov", "200"], "between 0 and 170 degrees"),
    ],
)
def test_a_users_mistake_is_one_sentence_and_writes_nothing(network, tmp_path, capsys, options, said):
    assert main([str(network), *options, "--output", str(tmp_path / "model.onnx")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("wrap_model: ") and said in line
    assert [path.name for path in tmp_path.iterdir()] == ["network.onnx"]


def test_an_output_that_cannot_be_is_one_sentence(network, tmp_path, capsys):
    for output, said in ((tmp_path / "no" / "m.onnx", "does not exist"), (tmp_path, "folder"), (network, "itself")):
        assert main([str(network), *OPTIONS, "--output", str(output)]) == 1
        assert said in capsys.readouterr().err


def test_an_option_that_changes_nothing_is_refused(tmp_path, capsys):
    case = CASES["model-small.onnx"]
    onnx.save(case.model, tmp_path / case.file)
    command = [str(tmp_path / case.file), "--preset", case.preset, "--output", str(tmp_path / "model.onnx")]
    assert main([*command, "--image-size", "640x480"]) == 1
    assert "256x256 only, to which all are stretched: --image-size changes nothing" in capsys.readouterr().err


def test_the_list_names_every_preset_and_what_there_is_none_for(capsys):
    assert main(["--list"]) == 0
    told = capsys.readouterr().out
    assert all(re.search(rf"^{name} ", told, re.MULTILINE) for name in (*PRESETS, *REFUSED))


def test_another_preset_than_the_file_looks_like_is_told(tmp_path, capsys):
    case = CASES["depth_anything_v2_vits_indoor_image.onnx"]
    onnx.save(case.model, tmp_path / case.file)
    output = tmp_path / "model.onnx"
    assert main([str(tmp_path / case.file), "--preset", "da2_vkitti_s", "--output", str(output)]) == 0
    assert "looks like da2_hypersim_s" in capsys.readouterr().out


@pytest.mark.parametrize("case", stand_ins(), ids=lambda case: case.name)
def test_a_file_without_metadata_is_told_its_preset_and_the_command(tmp_path, case):
    onnx.save(case.model, tmp_path / case.file)
    with pytest.raises(ModelError) as caught:
        DepthEstimator.load(tmp_path / case.file)
    assert f"--preset {case.preset} --output MODEL.onnx" in str(caught.value)
    assert f"wrap_model {tmp_path / case.file}" in str(caught.value)


def test_a_file_that_looks_like_nothing_is_told_where_the_presets_are(tmp_path):
    graph = Graph(17, "x", [1, 3, 6, 8])
    graph.output(graph.plane(1.0), "y", [1, 1, 6, 8])
    onnx.save(graph.model(), tmp_path / "something.onnx")
    with pytest.raises(
        ModelError, match=r"--preset NAME --output MODEL\.onnx` \(`wrap_model --list` names the presets"
    ):
        DepthEstimator.load(tmp_path / "something.onnx")


def test_without_the_package_onnx_one_sentence_says_what_to_install():
    script = "import sys; sys.modules['onnx'] = None\nfrom depth_estimation_ros import entry\nentry.wrap_model()"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ended.returncode == 1 and ended.stderr.splitlines() == [
        "wrap_model: the Python package onnx is missing: pip install onnx"
    ]


def test_a_wrapped_model_can_be_quantised_whatever_its_operator_set(tmp_path):
    for file in ("fast_depth_224x224.onnx", "da3metric-large.onnx"):
        case = CASES[file]
        onnx.save(case.model, tmp_path / file)
        onnx.save(wrap(read(tmp_path / file), PRESETS[case.preset], "wrapped").model, tmp_path / "model.onnx")
        model = load_model(tmp_path / "model.onnx")
        images = np.random.default_rng(0).integers(0, 256, (2, *case.size[::-1], 3), np.uint8)
        difference = quantize(model, images, tmp_path / "int8.onnx")
        assert np.nanmean(difference) < 0.01
        info = load_model(tmp_path / "int8.onnx").info
        assert (info.source_name, info.focal_lengths) == (file, model.info.focal_lengths)


def test_the_node_and_its_diagnostics_say_that_a_network_is_not_for_commercial_use(start, tmp_path):
    case = CASES["unidepthv2.onnx"]
    onnx.save(case.model, tmp_path / case.file)
    onnx.save(wrap(read(tmp_path / case.file), PRESETS[case.preset], "wrapped").model, tmp_path / "model.onnx")
    depth = start("/wrapped", model=str(tmp_path / "model.onnx"))
    depth.wait(lambda: "licence" in depth.figures)
    assert depth.figures["licence"] == "CC-BY-NC-4.0; no commercial use"


def test_the_node_ends_with_a_sentence_if_relative_depth_has_no_anchor(start, tmp_path):
    case = CASES["model-small.onnx"]
    onnx.save(case.model, tmp_path / case.file)
    onnx.save(wrap(read(tmp_path / case.file), PRESETS[case.preset], "wrapped").model, tmp_path / "model.onnx")
    process = start("/relative", model=str(tmp_path / "model.onnx")).process
    assert process.wait(30) == 1
    (line,) = printed_by(process).splitlines()
    assert "is relative (inverse_relative), not metres: set anchor to points or scan" in line


def test_the_page_of_networks_is_what_the_presets_declare():
    page = (REPOSITORY / "docs" / "networks.md").read_text()
    assert networks_table() in page, "write what networks_table returns into it"
    assert all(f"| `{name}` | {why} |" in page for name, why in REFUSED.items())
