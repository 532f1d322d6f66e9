"""A model file becomes a network that computes the same, and is written back with other weights and nothing else."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training package needs PyTorch")

import onnx  # noqa: E402

from depth_estimation_ros import DepthEstimator  # noqa: E402
from depth_estimation_ros.model import ModelError, ModelInfo, load_model  # noqa: E402
from training.adapt.graph import GraphNetwork, check_same  # noqa: E402
from training.checkpoint import Checkpoint  # noqa: E402
from training.export import export  # noqa: E402
from training.models import build_network  # noqa: E402

INFO = ModelInfo("tiny", 96, 64, 80.0, 0.5, 10.0, "nothing", "Apache-2.0", "0" * 64)
DECODER = {"decoder_channels": (32, 24, 16, 8, 8)}
RESNET = {"name": "up_projection", "encoder": "resnet18", "encoder_blocks": (1, 1, 1, 1), **DECODER}
# Options of the network, how it is exported, and whether its weights are stored in half precision.
NETWORKS = {
    "average-unpooling": ({**RESNET, "unpooling": "average", "log_variance": True}, "depth_to_space", True),
    "timm-bins": (
        {"name": "up_projection", "encoder": "tf_efficientnet_lite0", "skips": True, "output": "bins", **DECODER}
        | {"log_variance": True},
        "conv_transpose",
        True,
    ),
    "fully-connected": (
        {"name": "eigen_coarse", "input_size": (64, 96), "output_size": (16, 24), "hidden": 20},
        "conv_transpose",
        False,
    ),
    "plain": ({"name": "plain", "channels": [8] * 7, "transpose": True}, "conv_transpose", False),
    "fcrn": ({"name": "fcrn", "encoder_blocks": (1, 1, 1, 1), **DECODER}, "conv_transpose", False),
}


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3), np.uint8)


@pytest.mark.parametrize("name", NETWORKS)
def test_an_exported_network_computes_the_same_in_pytorch_and_is_written_back_as_it_was(name, images, tmp_path):
    options, decoder, half = NETWORKS[name]
    torch.manual_seed(0)
    path, again = tmp_path / "tiny.onnx", tmp_path / "again.onnx"
    export(Checkpoint(build_network(**options).eval(), {}, "0" * 64), INFO, path, half, images, decoder)
    network = GraphNetwork(load_model(path))
    engine = DepthEstimator.load(path, "cpu", threads=1).backend.infer(images)
    assert check_same(network, engine, images, 1e-3) <= 1e-3 and network.is_half == half
    with torch.inference_mode():
        outputs = network(torch.from_numpy(images))
    assert set(outputs) == set(engine)
    for output, values in outputs.items():
        np.testing.assert_allclose(values.numpy(), engine[output], rtol=1e-3, atol=1e-3)
    network.write(again, INFO)
    written, read = onnx.load(again).graph, onnx.load(path).graph
    assert written == read


@pytest.mark.parametrize("name", ["nyu_resnet18_small", "nyu_efficientnet_lite2"])
def test_a_packaged_model_can_be_trained_in_its_encoder_and_its_decoder(name):
    model = load_model(name)
    network, info = GraphNetwork(model), model.info
    image = np.random.default_rng(0).integers(0, 256, (1, info.input_height, info.input_width, 3), np.uint8)
    check_same(network, DepthEstimator.load(name, "cpu", threads=1).backend.infer(image), image, 1e-3)
    network(torch.from_numpy(image))["depth"].log().mean().backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in network.weights)
    names = list(network.places)
    assert all(".encoder." in names[i] or ".bottleneck." in names[i] for i in network.encoder)
    assert all(".decoder." in names[i] or ".lateral." in names[i] or ".predict." in names[i] for i in network.decoder)
    assert network.encoder and network.decoder


def test_changed_weights_and_metadata_reach_the_file(tmp_path):
    model = load_model("nyu_resnet18_small")
    network = GraphNetwork(model)
    info = ModelInfo(**{**vars(model.info), "name": "changed"})
    with torch.no_grad():
        network.weights[network.places["network.predict.bias"]][:] = torch.linspace(3, 0, 64)
    network.write(tmp_path / "changed.onnx", info)
    changed = DepthEstimator.load(tmp_path / "changed.onnx", "cpu", threads=1)
    assert changed.model.info == info
    image = np.full((1, 120, 160, 3), 90, np.uint8)
    before = DepthEstimator.load("nyu_resnet18_small", "cpu", threads=1).backend.infer(image)
    check_same(network, changed.backend.infer(image), image, 1e-2)
    assert (changed.backend.infer(image)["depth"] < before["depth"]).mean() > 0.9


def test_a_graph_that_cannot_be_trained_is_refused_in_one_sentence(tmp_path):
    model = onnx.load(load_model("nyu_resnet18_small").path)
    last = model.graph.node[-1]
    for kind, sentence in (("Det", r"operators that cannot be trained here \(Det\)"), ("QuantizeLinear", "8-bit")):
        last.op_type = kind
        refused = load_model("nyu_resnet18_small")
        object.__setattr__(refused, "content", model.SerializeToString())
        with pytest.raises(ModelError, match=sentence):
            GraphNetwork(refused)
