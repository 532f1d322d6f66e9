"""The network of the released weights in PyTorch, and the graph that `fetch_model` makes of them."""

import copy

import fcrn_reference
import numpy as np
import onnxruntime
import pytest

torch = pytest.importorskip("torch", reason="the training package needs PyTorch")

import fcrn_in_pytorch  # noqa: E402
from onnx import helper  # noqa: E402

from depth_estimation_ros.fetching import fcrn  # noqa: E402
from training.data.kinect import COLOUR_CAMERA  # noqa: E402
from training.models.fcrn import FcrnUpProj, InterleavedUpProjection  # noqa: E402


@pytest.fixture(scope="module")
def weights():
    return fcrn_reference.make_weights()


@pytest.fixture(scope="module")
def reference(weights):
    return fcrn_reference.depth(weights)


@pytest.fixture(scope="module")
def network(weights):
    return fcrn_in_pytorch.convert(weights)


def depth_of(network) -> np.ndarray:
    with torch.inference_mode():
        return network(torch.from_numpy(fcrn_reference.make_image()[None]))["depth"].numpy()[0, 0]


def test_the_converted_network_computes_what_the_original_does(network, reference):
    assert reference.shape == (128, 160) and reference.std() > 0.3
    np.testing.assert_allclose(depth_of(network), reference, rtol=0, atol=1e-4)


def test_the_graph_of_fetch_model_computes_what_pytorch_does(weights, network):
    graph, opset = fcrn.build(weights), helper.make_opsetid("", fcrn.OPSET)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=fcrn.IR_VERSION)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    images = np.random.default_rng(0).integers(0, 256, (2, 228, 304, 3), np.uint8)
    with torch.inference_mode():
        expected = network(torch.from_numpy(images))["depth"].numpy()
    np.testing.assert_allclose(session.run(["depth"], {"image": images})[0], expected, rtol=0, atol=1e-4)
    assert COLOUR_CAMERA.focal_length / 2 == fcrn.FOCAL_LENGTH


def eps(network):
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.eps = 1e-5


def strides(network):
    stage = network.encoder.layer3
    stage[0].conv1.stride, stage[0].conv2.stride = (1, 1), (2, 2)


def pooling(network):
    network.encoder.maxpool = torch.nn.MaxPool2d(3, stride=2, padding=1)


def positions(network):
    layer = network.decoder[3].interleaved
    layer.weight.data = layer.weight.data.unflatten(0, (-1, 2, 2)).transpose(1, 2).flatten(0, 2)


def one_bias(network):
    layer = network.decoder[0].interleaved
    layer.bias.data = layer.bias.data.view(-1, 4).mean(dim=1, keepdim=True).expand(-1, 4).flatten()


def branches(network):
    layer = network.decoder[1].interleaved
    layer.weight.data = layer.weight.data.roll(len(layer.weight) // 2, 0)


def channels(network):
    layer = network.encoder.conv1
    layer.weight.data = layer.weight.data.flip(1)


@pytest.mark.parametrize("change", [eps, strides, pooling, positions, one_bias, branches, channels])
def test_the_comparison_notices_each_known_mistake(network, reference, change):
    changed = copy.deepcopy(network)
    change(changed)
    assert np.abs(depth_of(changed) - reference).max() > 3e-4


def test_interleaving_is_a_transposed_convolution_of_kernel_6():
    torch.manual_seed(0)
    block = InterleavedUpProjection(5, 3)
    weight = block.interleaved.weight.data.view(6, 2, 2, 5, 3, 3)
    weight[:, 1, :, :, 2, :] = 0  # odd rows: convolutions B and D reach up only
    weight[:, :, 1, :, :, 2] = 0  # odd columns: C and D reach left only
    block.interleaved.bias.data.zero_()
    kernel = torch.zeros(5, 6, 6, 6)
    for row in (0, 1):
        for column in (0, 1):
            kernel[:, :, row::2, column::2] = weight[:, row, column].flip(2, 3).transpose(0, 1)
    assert not kernel[:, :, 1].any() and not kernel[:, :, :, 1].any()
    x = torch.randn(2, 5, 7, 9)
    with torch.inference_mode():
        expected = torch.nn.functional.conv_transpose2d(x, kernel, stride=2, padding=2)
        interleaved = torch.nn.functional.pixel_shuffle(block.interleaved(x), 2)
    torch.testing.assert_close(interleaved, expected, rtol=1e-5, atol=1e-5)


def test_depth_is_never_negative():
    torch.manual_seed(0)
    network = FcrnUpProj(encoder_blocks=(1, 1, 1, 1), decoder_channels=(16, 8, 8, 8, 8)).eval()
    network.predict.bias.data.fill_(-100.0)
    with torch.inference_mode():
        depth = network(torch.full((2, 228, 304, 3), 255, dtype=torch.uint8))["depth"]
    assert depth.shape == (2, 1, 128, 160) and not depth.any()
