"""The forms in which a network is written as ONNX give the same depth."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training package needs PyTorch")

import onnx  # noqa: E402

from depth_estimation_ros import DepthEstimator  # noqa: E402
from depth_estimation_ros.model import ModelInfo  # noqa: E402
from training.checkpoint import Checkpoint  # noqa: E402
from training.export import OPSET, export  # noqa: E402
from training.models import build_network  # noqa: E402
from training.models.up_projection import HOLES  # noqa: E402

TINY = {"encoder": "resnet18", "encoder_blocks": (1, 1, 1, 1), "decoder_channels": (32, 24, 16, 8, 8)}
INFO = ModelInfo("tiny", 96, 64, 80.0, 0.5, 10.0, "nothing", "Apache-2.0", "0" * 64)


@pytest.mark.parametrize("holes", HOLES)
def test_both_forms_of_the_decoder_export_and_give_the_same_depth(holes, tmp_path):
    torch.manual_seed(0)
    checkpoint = Checkpoint(build_network("resnet_up_projection", unpooling=holes, **TINY).eval(), {}, "0" * 64)
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3), np.uint8)
    depths = {}
    for form, operator in (("conv_transpose", "ConvTranspose"), ("depth_to_space", "DepthToSpace")):
        path = tmp_path / f"{form}.onnx"
        export(checkpoint, INFO, path, False, images, form)
        written = onnx.load(path)
        assert written.opset_import[0].version == OPSET
        operators = [node.op_type for node in written.graph.node]
        assert operators.count(operator) == 4 and "BatchNormalization" not in operators
        assert ("ConvTranspose" in operators) == (form == "conv_transpose")
        depths[form] = DepthEstimator.load(path, "cpu", threads=1).backend.infer(images)["depth"]
    np.testing.assert_allclose(depths["depth_to_space"], depths["conv_transpose"], rtol=1e-4, atol=1e-4)


def test_depth_to_space_of_a_network_that_has_nothing_to_rewrite_is_refused(tmp_path):
    network = build_network("fcrn", encoder_blocks=(1, 1, 1, 1), decoder_channels=(8, 8, 8, 8, 8)).eval()
    images = np.zeros((1, 64, 96, 3), np.uint8)
    with pytest.raises(ValueError, match="no up-projection with a transposed convolution"):
        export(Checkpoint(network, {}, "0" * 64), INFO, tmp_path / "x.onnx", False, images, "depth_to_space")
    assert not list(tmp_path.iterdir())
