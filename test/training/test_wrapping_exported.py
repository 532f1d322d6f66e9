"""Graphs as PyTorch's two exporters write them, with free sizes, become models of one size that compute the same."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn
from torch.nn import functional

from depth_estimation_ros.backends import create_backend
from depth_estimation_ros.model import load_model
from depth_estimation_ros.wrapping.foreign import read
from depth_estimation_ros.wrapping.presets import PRESETS
from depth_estimation_ros.wrapping.wrap import wrap

WIDTH, HEADS, GRID = 32, 4, 37
SIZES = [(686, 518), (518, 686), (210, 154)]


class Block(nn.Module):
    """Self-attention and a perceptron (Vaswani et al. 2017)."""

    def __init__(self):
        super().__init__()
        self.before, self.between = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.perceptron = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x):
        batch, tokens, _ = x.shape
        qkv = self.qkv(self.before(x)).reshape(batch, tokens, 3, HEADS, WIDTH // HEADS)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-2, -1) * (WIDTH // HEADS) ** -0.5).softmax(-1)
        x = x + self.out((weights @ v).transpose(1, 2).reshape(batch, tokens, WIDTH))
        return x + self.perceptron(self.between(x))


class VisionTransformer(nn.Module):
    """As networks for depth are: patches of 14, an interpolated position embedding, depth [N, h, w] by a sigmoid."""

    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(3, WIDTH, 14, 14)
        self.position = nn.Parameter(0.1 * torch.randn(1, 1 + GRID * GRID, WIDTH))
        self.token = nn.Parameter(torch.randn(1, 1, WIDTH))
        self.block, self.head = Block(), nn.Conv2d(WIDTH, 1, 3, padding=1)

    def forward(self, image):
        batch, _, height, width = image.shape
        h, w = height // 14, width // 14
        x = self.patch(image).flatten(2).transpose(1, 2)
        grid = self.position[:, 1:].reshape(1, GRID, GRID, WIDTH).permute(0, 3, 1, 2)
        grid = functional.interpolate(grid, size=(h, w), mode="bicubic").permute(0, 2, 3, 1).reshape(1, h * w, WIDTH)
        x = torch.cat([self.token.expand(batch, -1, -1), x], 1) + torch.cat([self.position[:, :1], grid], 1)
        x = self.block(x)[:, 1:].permute(0, 2, 1).reshape(batch, WIDTH, h, w)
        x = functional.interpolate(self.head(x), size=(h * 14, w * 14), mode="bilinear", align_corners=True)
        return (20 * torch.sigmoid(x)).squeeze(1)


@pytest.fixture(scope="module")
def network() -> VisionTransformer:
    torch.manual_seed(0)
    return VisionTransformer().eval()


@pytest.fixture(scope="module", params=["torchscript", "dynamo"])
def exported(request, network, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp(request.param) / "network.onnx"
    image = torch.randn(1, 3, 518, 518)
    names = {"input_names": ["image"], "output_names": ["depth"]}
    if request.param == "dynamo":
        sides = {axis: 14 * torch.export.Dim(f"patches{axis}", min=4, max=100) for axis in (2, 3)}
        options = {"dynamo": True, "opset_version": 18, "dynamic_shapes": (sides,), "verbose": False}
    else:
        axes = {axis: f"side{axis}" for axis in (2, 3)}
        options = {"dynamo": False, "opset_version": 17, "dynamic_axes": {"image": axes, "depth": axes}}
    torch.onnx.export(network, (image,), path, **names, **options)
    return path


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("size", SIZES)
def test_what_was_exported_with_free_sizes_computes_the_same_at_one(network, exported, tmp_path, size):
    made = wrap(read(exported), PRESETS["da2_hypersim_s"], "exported", size=size)
    onnx.save(made.model, tmp_path / "model.onnx")
    rgb = np.random.default_rng(0).integers(0, 256, (1, size[1], size[0], 3), np.uint8)
    image = torch.from_numpy(rgb).permute(0, 3, 1, 2).double() / 255
    image = (image - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(
        3, 1, 1
    )
    with torch.inference_mode():
        expected = network(image.float())[:, None].numpy()
    for engine in ("cpu", "openvino"):
        depth = create_backend(load_model(tmp_path / "model.onnx"), engine).infer(rgb)["depth"]
        np.testing.assert_allclose(depth, expected, rtol=1e-4, err_msg=engine)


@pytest.mark.filterwarnings("ignore")
def test_nothing_that_asks_for_a_size_is_left_and_tensorrt_builds_it(exported):
    model = wrap(read(exported), PRESETS["da2_hypersim_s"], "exported").model
    operators = [node.op_type for node in model.graph.node]
    assert not {"Shape", "If", "ConstantOfShape", "Range", "Constant"} & set(operators)
    assert operators.count("Resize") == 1, "the one of depth; the position embedding's is folded"
    pytest.importorskip("tensorrt_rtx", reason="needs TensorRT for RTX: pip install -e '.[test]'")
    from depth_estimation_ros.backends import EngineOptions
    from depth_estimation_ros.backends.tensorrt.builder import build
    from depth_estimation_ros.backends.tensorrt.library import find_library

    options = EngineOptions("fp16")
    assert build(find_library("tensorrt_rtx"), model.SerializeToString(), options, free_memory=1 << 30).plan
