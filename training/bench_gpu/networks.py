"""Networks of the benchmark, each in both forms of the decoder."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from depth_estimation_ros.backends.tensorrt.parity import calibration_frames
from depth_estimation_ros.model import Model, ModelInfo, load_model
from training.checkpoint import Checkpoint, load_checkpoint
from training.export import DECODERS, export, model_info
from training.models import build_network
from training.models.up_projection import depth_to_space


@dataclass(frozen=True)
class Form:
    """
    Network in one form of the decoder.

    Parameters
    ----------
    decoder : str
        One of `training.export.DECODERS`, or ``"as exported"``.
    model : Model
        ONNX file of the network.
    network : torch.nn.Module or None
        The same network in PyTorch, in evaluation mode; None for an ONNX file.
    """

    decoder: str
    model: Model
    network: nn.Module | None = None


def open_forms(name: str, folder: Path, skip: Callable[[str], None]) -> list[Form]:
    """
    Return all forms of a trained network.

    Parameters
    ----------
    name : str
        ``"default"``, an ONNX file of the model contract, or a checkpoint (``.ckpt``) of ``python -m training fit``.
    folder : pathlib.Path
        Folder for ONNX files.
    skip : callable
        Function called with one sentence (str) about a missing form.

    Raises
    ------
    ValueError
        If ``name`` is none of these.
    """
    if not name.endswith(".ckpt"):
        skip(f"PyTorch, {name}: an ONNX file holds no PyTorch network; give its checkpoint (.ckpt) beside it")
        return [Form("as exported", load_model(name))]
    checkpoint = load_checkpoint(name)
    info = model_info(checkpoint, Path(name).stem, "its checkpoint's", "its checkpoint's")
    return export_forms(checkpoint.network, info, folder, skip)


def export_forms(network: nn.Module, info: ModelInfo, folder: Path, skip: Callable[[str], None]) -> list[Form]:
    """
    Export a network in both forms of the decoder.

    Parameters
    ----------
    network : torch.nn.Module
        Network in evaluation mode.
    info : ModelInfo
        Metadata of the ONNX files.
    folder, skip
        As for `open_forms`. A network without up-projection has only one form.
    """
    found, frames = [], calibration_frames(info, count=2)
    for decoder in DECODERS:
        path = folder / f"{info.name}_{decoder}.onnx"
        try:
            export(Checkpoint(network, {}, info.source_sha256), info, path, False, frames, decoder)
        except ValueError as error:
            skip(f"{info.name}, {decoder}: {error}")
            continue
        written = network if decoder == DECODERS[0] else depth_to_space(copy.deepcopy(network))
        found.append(Form(decoder, load_model(path), written))
    return found


def random_resnet50() -> tuple[nn.Module, ModelInfo]:
    """
    Return the network of Laina et al. (2016) with random weights, and the metadata of its ONNX files.

    As initialised, its depth hardly varies, which would hide differences between engines. The last layer is therefore
    scaled so that depth varies by half a metre. Rounding then has about the same effect as in a trained network.
    """
    torch.manual_seed(0)
    network = build_network("resnet_up_projection").eval()
    info = ModelInfo("resnet50", 304, 228, 259.6, 0.5, 10.0, "nothing", "Apache-2.0", "0" * 64)
    with torch.inference_mode():
        depth = network(torch.from_numpy(calibration_frames(info, count=2)))["depth"]
        network.predict.weight.mul_(0.5 / depth.std())
    return network, info
