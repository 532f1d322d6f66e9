import copy
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training package needs PyTorch")

from training.models import build_network  # noqa: E402
from training.models.__main__ import measure, recipe_networks  # noqa: E402
from training.models.up_projection import (  # noqa: E402
    HOLES,
    NaiveUpProjection,
    SubPixelConvolution,
    UpProjection,
    depth_to_space,
    naive,
    unpool,
)
from training.transfer import transfer  # noqa: E402
from training.weights import FORMER_BINS, log_bins  # noqa: E402


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


def test_averaged_holes_worked_out_by_hand():
    x = torch.tensor([[4.0, 8.0], [0.0, 2.0]]).view(1, 1, 2, 2)
    expected = [
        [4, 6, 8, 8],
        [2, 3.5, 5, 5],  # 3.5 is the mean of the four, 2 of 4 and 0, 5 of 8 and 2
        [0, 1, 2, 2],
        [0, 1, 2, 2],  # the last holes have a neighbour on one side only
    ]
    assert unpool(x, "average")[0, 0].tolist() == expected


@pytest.mark.parametrize("holes", HOLES)
@pytest.mark.parametrize("size", [(8, 10), (5, 7), (1, 2)])
def test_the_transposed_convolution_computes_what_unpooling_and_5x5_convolutions_do(size, holes):
    torch.manual_seed(0)
    block = UpProjection(32, 16, holes)
    randomise_norms(block)
    block.eval()
    x = torch.randn(2, 32, *size)
    with torch.inference_mode():
        fast, slow = block(x), NaiveUpProjection(block)(x)
    assert fast.shape == (2, 16, 2 * size[0], 2 * size[1])
    assert ((fast - slow).abs().max() / slow.abs().max()).item() < 1e-4


@pytest.mark.parametrize("holes", HOLES)
def test_the_naive_network_computes_the_same_depth(holes):
    torch.manual_seed(0)
    options = {"encoder": "resnet18", "decoder_channels": (32, 24, 16, 8, 8), "unpooling": holes}
    network = build_network("resnet_up_projection", **options)
    randomise_norms(network.decoder)
    network.eval()
    image = torch.randint(0, 256, (1, 64, 96, 3), dtype=torch.uint8)
    with torch.inference_mode():
        expected = network(image)["depth"]
        slow = naive(copy.deepcopy(network))
        assert not any(isinstance(layer, UpProjection) for layer in slow.modules())
        torch.testing.assert_close(slow(image)["depth"], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("holes", HOLES)
@pytest.mark.parametrize(
    ("size", "options"),
    [
        ((64, 96), {"encoder": "resnet18", "encoder_blocks": (1, 1, 1, 1), "decoder_channels": (32, 24, 16, 8, 8)}),
        ((228, 304), {}),  # the paper's: ResNet-50
    ],
)
def test_depth_to_space_computes_what_transposed_convolutions_do(holes, size, options):
    torch.manual_seed(0)
    network = build_network("resnet_up_projection", unpooling=holes, log_variance=True, **options)
    randomise_norms(network.decoder)
    network.eval()
    image = torch.randint(0, 256, (1, *size, 3), dtype=torch.uint8)
    with torch.inference_mode():
        expected = network(image)
        rewritten = depth_to_space(copy.deepcopy(network))
        assert sum(isinstance(layer, SubPixelConvolution) for layer in rewritten.modules()) == 4
        found = rewritten(image)
    assert expected["depth"].std() > 1e-2
    for name in ("depth", "log_variance"):
        torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-4)


def test_a_network_without_up_projections_has_no_depth_to_space_form():
    with pytest.raises(ValueError, match="no up-projection with a transposed convolution"):
        depth_to_space(build_network("fcrn", encoder_blocks=(1, 1, 1, 1), decoder_channels=(8, 8, 8, 8, 8)))


def test_averaging_keeps_a_constant_and_leaves_no_grid():
    block = UpProjection(4, 2, "average")
    torch.nn.init.constant_(block.up.weight, 0.1)
    block.eval()
    up = block._up_average(torch.ones(1, 4, 6, 8), (12, 16))
    torch.testing.assert_close(up, torch.full_like(up, 4 * 25 * 0.1))


def test_both_unpoolings_have_the_same_weights():
    zeros, average = (build_network("resnet_up_projection", encoder="resnet18", unpooling=h) for h in HOLES)
    assert list(zeros.state_dict()) == list(average.state_dict())


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


def test_the_coarse_network_has_the_studys_parameters():
    network = build_network("eigen_coarse")
    size = measure(network, (240, 320))
    study = network.STUDY_COUNTS
    assert size.convolutions == study["convolutions"] == 27_232
    assert abs(size.fully_connected / study["fully connected"] - 1) < 1e-4
    assert size.parameters == size.convolutions + size.fully_connected + 2 * (12 + 12 + 12 + 16 + 32 + 40)


def test_the_coarse_network_drops_hidden_units_in_training_only():
    network = build_network("eigen_coarse", input_size=(64, 64), output_size=(6, 8), hidden=64)
    torch.nn.init.normal_(network.predict.weight)
    image = torch.randint(0, 256, (4, 64, 64, 3), dtype=torch.uint8)
    network.convolutions.eval()
    assert (network(image)["depth"] != network(image)["depth"]).any()
    network.eval()
    assert (network(image)["depth"] == network(image)["depth"]).all()
    with pytest.raises(ValueError, match=r"takes images of \[64, 64\], not \[96, 64\]: give data.input_size"):
        network(torch.zeros(1, 96, 64, 3, dtype=torch.uint8))


@pytest.mark.parametrize("transpose", [False, True])
def test_the_plain_networks_have_eight_convolutions_and_one_output_size(transpose):
    network = build_network("plain", transpose=transpose).eval()
    kinds = [layer for layer in network.modules() if isinstance(layer, torch.nn.Conv2d | torch.nn.ConvTranspose2d)]
    assert len(kinds) == 8 and {layer.kernel_size for layer in kinds} == {(3, 3)}
    assert isinstance(kinds[-1], torch.nn.ConvTranspose2d) == transpose
    assert sum(isinstance(layer, torch.nn.MaxPool2d) for layer in network.modules()) == 2 + transpose
    assert measure(network, (240, 320)).output == (60, 80)


def test_multiply_adds_are_counted():
    # 8x8 pixels: 3x3 of 3 channels to 4, twice 3x3 of 4 to 4, ...; without pooling every layer has 64 positions.
    size = measure(build_network("plain", channels=(4,) * 7, poolings=0), (8, 8))
    assert size.multiply_adds == 64 * 9 * (3 * 4 + 6 * 4 * 4 + 4)


def test_every_recipe_has_a_network_and_the_listing_names_it():
    listing = subprocess.run([sys.executable, "-m", "training.models"], capture_output=True, text=True)
    assert listing.returncode == 0, listing.stderr
    names = [name for name, _, _ in recipe_networks()]
    assert {"cnn_fc", "pure_cnn", "cnn_transpose", "residual", "residual, average", "resnet50", "demo"} <= set(names)
    assert all(name in listing.stdout for name in names)
    assert "7,329,382" in listing.stdout and "27,232" in listing.stdout


def test_the_log_variance_is_an_output_of_its_own():
    options = {"encoder": "resnet18", "decoder_channels": (16, 16, 8, 8, 8)}
    plain = build_network("resnet_up_projection", **options)
    network = build_network("resnet_up_projection", **options, log_variance=True)
    image = torch.zeros(2, 64, 64, 3, dtype=torch.uint8)
    output = network(image)
    assert output["log_variance"].shape == output["depth"].shape
    assert output["log_variance"].abs().max() < 2
    assert "log_variance" not in plain(image)
    assert set(network.state_dict()) - set(plain.state_dict()) == {
        "predict_log_variance.weight",
        "predict_log_variance.bias",
    }


def test_an_encoder_starts_with_the_weights_of_a_file(tmp_path):
    import torchvision

    torch.manual_seed(0)
    source = torchvision.models.resnet18()
    file = tmp_path / "resnet18.pth"
    torch.save(source.state_dict(), file)
    network = build_network("resnet_up_projection", encoder="resnet18", encoder_weights=str(file))
    assert (network.encoder[0].weight == source.conv1.weight).all()
    assert (network.encoder[7][1].conv2.weight == source.layer4[1].conv2.weight).all()
    # A checkpoint of a training gives its encoder as well.
    state = {f"network.{name}": value for name, value in network.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "a.ckpt")
    again = build_network("resnet_up_projection", encoder="resnet18", encoder_weights=str(tmp_path / "a.ckpt"))
    assert (again.encoder[7][1].conv2.weight == source.layer4[1].conv2.weight).all()
    with pytest.raises(ValueError, match="does not hold the weights of this encoder"):
        build_network("resnet_up_projection", encoder="resnet34", encoder_weights=str(file))
    with pytest.raises(ValueError, match=r"none\.pth does not exist"):
        build_network("resnet_up_projection", encoder="resnet18", encoder_weights=str(tmp_path / "none.pth"))


def test_imagenet_weights_come_from_the_cache_or_are_said_to_be_missing(tmp_path, monkeypatch):
    import torchvision

    def offline(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    options = {"encoder": "resnet18", "pretrained": "IMAGENET1K_V1"}
    with pytest.raises(ValueError, match=r"could not be downloaded \(no route to host\): give a file"):
        build_network("resnet_up_projection", **options)
    source = torchvision.models.resnet18()
    url = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.url
    torch.save(source.state_dict(), tmp_path / "hub" / "checkpoints" / url.rsplit("/", 1)[1])
    network = build_network("resnet_up_projection", **options)
    assert (network.encoder[0].weight == source.conv1.weight).all()
    with pytest.raises(ValueError, match="has no IMAGENET22K weights of resnet18; it has IMAGENET1K_V1"):
        build_network("resnet_up_projection", encoder="resnet18", pretrained="IMAGENET22K")


class Payload:
    """Would write a file when unpickled."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return open, (str(self.file), "w")


def test_a_file_of_weights_is_not_executed(tmp_path):
    torch.save({"conv1.weight": Payload(tmp_path / "pwned")}, tmp_path / "evil.pth")
    with pytest.raises(ValueError, match="holds more than weights"):
        build_network("resnet_up_projection", encoder="resnet18", encoder_weights=str(tmp_path / "evil.pth"))
    assert not (tmp_path / "pwned").exists()


def test_the_log_variance_of_bins_is_that_of_their_scores_and_has_no_weights():
    options = {"encoder": "resnet18", "decoder_channels": (16, 16, 8, 8, 8), "output": "bins"}
    plain = build_network("resnet_up_projection", **options).eval()
    network = build_network("resnet_up_projection", **options, log_variance=True).eval()
    network.load_state_dict(plain.state_dict())
    with torch.inference_mode():
        output = network(torch.randint(0, 256, (1, 64, 64, 3), dtype=torch.uint8))
    # By sampling: depths drawn from the scores of one pixel have this deviation, to first order in the logarithm.
    scores = 9 * torch.randn(64, generator=torch.Generator().manual_seed(0)) - ((torch.arange(64) - 30) ** 2)
    found = network._depth(scores.view(1, 64, 1, 1))
    drawn = log_bins(FORMER_BINS).flatten()[torch.multinomial(scores.softmax(0), 100_000, replacement=True)].exp()
    assert found["log_variance"].exp().sqrt().item() == pytest.approx(drawn.std().item(), rel=0.05)
    assert found["depth"].item() == pytest.approx(drawn.mean().item(), rel=0.02)
    assert output["log_variance"].shape == output["depth"].shape


def test_weights_bring_their_bins_and_old_ones_without_bins_have_the_former_ones(tmp_path):
    options = {"encoder": "resnet18", "decoder_channels": (16, 16, 8, 8, 8), "output": "bins"}
    wide = build_network("up_projection", **options, depth_bins=(0.25, 20.0)).eval()
    former = build_network("up_projection", **options).eval()
    image = torch.randint(0, 256, (1, 64, 64, 3), dtype=torch.uint8)

    def same_depth(one, other):
        with torch.inference_mode():
            return torch.equal(one(image)["depth"], other(image)["depth"])

    for source in (wide, former):
        torch.save(source.state_dict(), tmp_path / "weights.pth")
        loaded, taken = (build_network("up_projection", **options).eval() for _ in range(2))
        loaded.load_state_dict(source.state_dict())
        transfer(taken, tmp_path / "weights.pth")
        assert same_depth(loaded, source) and same_depth(taken, source)
    old = former.state_dict()
    del old["log_bins"]
    torch.save(old, tmp_path / "old.pth")
    loaded, taken = (build_network("up_projection", **options, depth_bins=(0.25, 20.0)).eval() for _ in range(2))
    loaded.load_state_dict(old)
    transfer(taken, tmp_path / "old.pth")
    assert same_depth(loaded, former) and same_depth(taken, former)


@pytest.mark.parametrize(
    "bins",
    [(0.0, 10.0), (10.0, 1.0), (1.0, float("inf")), (float("nan"), 1.0), (1.0, 2.0, 3.0), 5.0, ["a", "b"]],
)
def test_bins_that_are_no_range_of_depths_are_refused(bins):
    with pytest.raises(ValueError, match="depth_bins must be two depths in metres, the smaller first"):
        build_network("up_projection", encoder="resnet18", output="bins", depth_bins=bins)
    with pytest.raises(ValueError, match="depth_bins needs output: bins, not log"):
        build_network("up_projection", encoder="resnet18", output="log", depth_bins=bins)


def test_a_transfer_takes_what_fits_and_says_what_not(tmp_path):
    torch.manual_seed(0)
    common = {"encoder": "resnet18", "encoder_blocks": (1, 1, 1, 1), "decoder_channels": (16, 8, 8, 8, 8)}
    source = build_network("resnet_up_projection", **common, log_variance=True)
    torch.save(source.state_dict(), tmp_path / "source.pth")
    target = build_network("resnet_up_projection", **common, output="bins")
    done = transfer(target, tmp_path / "source.pth")
    assert (target.encoder[0].weight == source.encoder[0].weight).all()
    assert (target.decoder[3].up.weight == source.decoder[3].up.weight).all()
    assert set(done.reshaped) == {"predict.weight", "predict.bias"}
    assert done.unused == ["predict_log_variance.weight", "predict_log_variance.bias"] and done.fresh == ["log_bins"]
    assert "of another shape: predict.weight [1, 8, 3, 3], not [64, 8, 3, 3]" in str(done)
    before = copy.deepcopy(target.state_dict())
    torch.save(build_network("plain").state_dict(), tmp_path / "plain.pth")
    with pytest.raises(ValueError, match="holds no weights that fit this network"):
        transfer(target, tmp_path / "plain.pth")
    assert all((value == before[name]).all() for name, value in target.state_dict().items())


def test_mistakes_in_a_recipe_are_named():
    with pytest.raises(ValueError, match="network 'vgg' is unknown; known are up_projection, resnet_up_projection"):
        build_network("vgg")
    with pytest.raises(ValueError, match="encoder must be resnet18"):
        build_network("resnet_up_projection", encoder="vgg99")
    with pytest.raises(ValueError, match="unexpected keyword argument 'depth'"):
        build_network("resnet_up_projection", depth=3)
    with pytest.raises(ValueError, match="output must be"):
        build_network("resnet_up_projection", output="metres")
    with pytest.raises(ValueError, match="unpooling must be zeros or average, got 'nearest'"):
        build_network("resnet_up_projection", encoder="resnet18", unpooling="nearest")
    with pytest.raises(ValueError, match="pretrained or encoder_weights, not both"):
        build_network("resnet_up_projection", pretrained="DEFAULT", encoder_weights="x.pth")
    with pytest.raises(ValueError, match="channels must be 7 widths, got 2"):
        build_network("plain", channels=(8, 8))
    with pytest.raises(ValueError, match="poolings must lie between 0 and 2, got 3"):
        build_network("plain", poolings=3, transpose=True)
    with pytest.raises(ValueError, match="leave out encoder_blocks"):
        build_network("resnet_up_projection", encoder_blocks=(1, 1, 1, 1), pretrained="DEFAULT")
