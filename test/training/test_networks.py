import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training package needs PyTorch")

from training.models import build_network  # noqa: E402
from training.models.up_projection import NaiveUpProjection, UpProjection, naive, unpool  # noqa: E402


def randomise_norms(network):
    """Give batch normalisation statistics that matter, as training would."""
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(layer.weight, 0.5, 1.5)
            torch.nn.init.normal_(layer.bias)
            torch.nn.init.normal_(layer.running_mean)
            torch.nn.init.uniform_(layer.running_var, 0.5, 1.5)


def test_unpooling_puts_values_into_the_top_left_of_zeros():
    x = torch.arange(4.0).view(1, 1, 2, 2)
    expected = [[0, 0, 1, 0], [0, 0, 0, 0], [2, 0, 3, 0], [0, 0, 0, 0]]
    assert unpool(x)[0, 0].tolist() == expected


@pytest.mark.parametrize("size", [(8, 10), (5, 7)])
def test_the_transposed_convolution_computes_what_unpooling_and_5x5_convolutions_do(size):
    torch.manual_seed(0)
    block = UpProjection(32, 16)
    randomise_norms(block)
    block.eval()
    x = torch.randn(2, 32, *size)
    with torch.inference_mode():
        fast, slow = block(x), NaiveUpProjection(block)(x)
    assert fast.shape == (2, 16, 2 * size[0], 2 * size[1])
    assert ((fast - slow).abs().max() / slow.abs().max()).item() < 1e-4


def test_the_naive_network_computes_the_same_depth():
    torch.manual_seed(0)
    network = build_network("resnet_up_projection", encoder="resnet18", decoder_channels=(32, 24, 16, 8, 8))
    randomise_norms(network.decoder)
    network.eval()
    image = torch.randint(0, 256, (1, 64, 96, 3), dtype=torch.uint8)
    with torch.inference_mode():
        expected = network(image)["depth"]
        slow = naive(copy.deepcopy(network))
        assert not any(isinstance(layer, UpProjection) for layer in slow.modules())
        torch.testing.assert_close(slow(image)["depth"], expected, rtol=1e-4, atol=1e-4)


def test_resnet50_is_the_papers_network():
    network = build_network("resnet_up_projection", encoder="resnet50").eval()
    parameters = sum(p.numel() for p in network.parameters())
    assert round(parameters / 1e6, 1) == 63.6
    with torch.inference_mode():
        depth = network(torch.zeros(1, 228, 304, 3, dtype=torch.uint8))["depth"]
    assert depth.shape == (1, 1, 128, 160)


@pytest.mark.parametrize("encoder", ["resnet18", "resnet34", "resnet50"])
@pytest.mark.parametrize("output", ["relu", "log", "bins"])
def test_depth_of_an_untrained_network_is_a_rooms(encoder, output):
    torch.manual_seed(0)
    network = build_network("resnet_up_projection", encoder=encoder, output=output, decoder_channels=(16, 16, 8, 8, 8))
    image = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8))
    depth = network(image)["depth"]
    assert depth.dtype == torch.float32
    assert 1.0 < depth.median().item() < 5.0


def test_mistakes_in_a_recipe_are_named():
    with pytest.raises(ValueError, match="network 'fcrn' is unknown; known are resnet_up_projection"):
        build_network("fcrn")
    with pytest.raises(ValueError, match="encoder must be resnet18"):
        build_network("resnet_up_projection", encoder="vgg16")
    with pytest.raises(ValueError, match="unexpected keyword argument 'depth'"):
        build_network("resnet_up_projection", depth=3)
    with pytest.raises(ValueError, match="output must be"):
        build_network("resnet_up_projection", output="metres")
    with pytest.raises(ValueError, match="leave out encoder_blocks"):
        build_network("resnet_up_projection", encoder_blocks=(1, 1, 1, 1), pretrained="DEFAULT")
