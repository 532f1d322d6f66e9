import copy

import fcrn_reference
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training package needs PyTorch")

from depth_estimation_ros.estimator import DepthEstimator  # noqa: E402
from training import fcrn, fetch  # noqa: E402
from training.models.fcrn import FcrnUpProj, InterleavedUpProjection  # noqa: E402


@pytest.fixture(scope="module")
def weights():
    return fcrn_reference.make_weights()


@pytest.fixture(scope="module")
def reference(weights):
    """Return what the original network computed with these weights, float32 [128, 160]."""
    with np.load(fcrn_reference.REFERENCE) as stored:
        assert str(stored["weights_sha256"]) == fcrn_reference.checksum(weights), "numpy made other weights of the seed"
        return stored["depth"]


@pytest.fixture(scope="module")
def network(weights):
    return fcrn.convert(weights)


def depth_of(network) -> np.ndarray:
    with torch.inference_mode():
        return network(torch.from_numpy(fcrn_reference.make_image()[None]))["depth"].numpy()[0, 0]


def test_the_converted_network_computes_what_the_original_does(network, reference):
    assert reference.shape == (128, 160) and reference.std() > 0.3
    np.testing.assert_allclose(depth_of(network), reference, rtol=0, atol=1e-4)


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


def test_weights_of_another_network_are_refused_by_name(weights):
    without = {layer: dict(entries) for layer, entries in weights.items()}
    del without["layer4x_br2_ConvB"]["biases"]
    with pytest.raises(ValueError, match="it lacks layer4x_br2_ConvB/biases"):
        fcrn.convert(without)
    with pytest.raises(ValueError, match=r"its res3a_branch2a/weights has shape \(3, 3, 256, 128\), the network needs"):
        fcrn.convert({**weights, "res3a_branch2a": {"weights": np.zeros((3, 3, 256, 128), np.float32)}})
    with pytest.raises(ValueError, match="it has fc1000/biases, which the network does not"):
        fcrn.convert({**weights, "fc1000": {"biases": np.zeros(1000, np.float32)}})


def test_the_released_file_becomes_a_model_of_the_contract(tmp_path, weights, reference, capsys):
    np.save(tmp_path / "weights.npy", weights)
    path = tmp_path / "fcrn.onnx"
    fetch.main(["fcrn-nyu", "--from", str(tmp_path / "weights.npy"), "--output", str(path)])
    printed = capsys.readouterr()
    assert "ONNX Runtime within" in printed.out and printed.err == ""
    estimator = DepthEstimator.load(path, backend="cpu", threads=1)
    depth = estimator.backend.infer(fcrn_reference.make_image()[None])["depth"]
    np.testing.assert_allclose(depth[0, 0], reference, rtol=0, atol=1e-4)
    info = estimator.model.info
    assert (info.input_width, info.input_height) == (304, 228)
    assert info.focal_length == pytest.approx(259.58, abs=0.005)
    assert info.source_sha256 in printed.out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fcrn.md", "fcrn.onnx", "weights.npy"]
