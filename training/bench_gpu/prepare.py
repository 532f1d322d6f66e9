"""Write a folder with everything for the measurement that needs no GPU."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from depth_estimation_ros.backends.tensorrt.parity import calibration_frames, reference
from depth_estimation_ros.model import OUTPUTS, ModelInfo, load_model
from training.bench_gpu.floor import Work, work_of
from training.bench_gpu.networks import RESNET50, RESNET50_OPTIONS, fitting_scale, random_network
from training.bench_gpu.prepared import AS_EXPORTED, DECODERS, MANIFEST, Prepared, place_of, read, write
from training.checkpoint import Checkpoint, load_checkpoint
from training.export import export, model_info
from training.models import from_scratch
from training.models.up_projection import depth_to_space

RANDOM = "resnet50"
"""Name of the network of Laina et al. (2016) with random weights. Its weights are made again where it is measured."""


def prepare(folder: Path, names: list[str], onnx: bool, say: Callable[[str], None] = print) -> list[Prepared]:
    """
    Write a folder of networks to measure.

    Parameters
    ----------
    folder : pathlib.Path
        New or empty folder, or one that was prepared before, whose networks are replaced.
    names : list of str
        ``"resnet50"``, names of packaged models, ONNX files of the model contract, and checkpoints (``.ckpt``) of
        ``python -m training fit``.
    onnx : bool
        Also export the networks that PyTorch can run, for TensorRT and ONNX Runtime.
    say : callable
        Function called with one sentence (str) about each network.

    Raises
    ------
    ValueError
        If the folder holds other files, a name is none of these, or two networks have the same name.
    OSError
        If the folder cannot be written.
    """
    _clear(folder)
    found: list[Prepared] = []
    for name in names:
        in_pytorch = name == RANDOM or name.endswith(".ckpt")
        prepared = _from_pytorch(folder, name, onnx, say) if in_pytorch else _from_onnx(folder, name)
        found.append(prepared)
        say(f"{prepared.name}: {_size(prepared.folder):.1f} MiB, {prepared.work.operations / 1e9:.1f} GFLOP an image")
    write(folder, found)
    return found


def random_resnet50() -> tuple[nn.Module, ModelInfo, float]:
    """Return the network of Laina et al. (2016) with random weights, its metadata, and the scale of its last layer."""
    scale = fitting_scale(random_network(RESNET50_OPTIONS), calibration_frames(RESNET50, count=2))
    return random_network(RESNET50_OPTIONS, scale), RESNET50, scale


def _clear(folder: Path) -> None:
    """Remove the networks that an earlier call wrote; refuse a folder with other files."""
    if (folder / MANIFEST).is_file():
        for network in read(folder):
            shutil.rmtree(network.folder, ignore_errors=True)
        (folder / MANIFEST).unlink()
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise ValueError(f"{folder} holds other files: name a new folder, or one that was prepared before")


def _from_onnx(folder: Path, name: str) -> Prepared:
    """Prepare a model of which only the ONNX file is known."""
    model = load_model(name)
    place = _place(folder, model.info)
    prepared = Prepared(place, model.info, work_of(model.path), model.outputs, (AS_EXPORTED,), None, None)
    prepared.onnx(AS_EXPORTED).write_bytes(model.known_content)
    frames = calibration_frames(model.info)
    prepared.store_reference(frames, reference(model, frames))
    return prepared


def _from_pytorch(folder: Path, name: str, onnx: bool, say: Callable[[str], None]) -> Prepared:
    """Prepare a network that PyTorch can run."""
    if name == RANDOM:
        network, info, scale = random_resnet50()
        options = RESNET50_OPTIONS
    else:
        checkpoint = load_checkpoint(name)
        info = model_info(checkpoint, Path(name).stem, "its checkpoint's", "its checkpoint's")
        options, scale, network = from_scratch(checkpoint.recipe["network"]), None, checkpoint.network
    frames = calibration_frames(info)
    place = _place(folder, info)
    work, depth, outputs = _computed(network, frames)
    prepared = Prepared(place, info, work, outputs, _decoders(network, frames, info, say), options, scale)
    prepared.store_reference(frames, depth)
    if scale is None:
        torch.save(network.state_dict(), prepared.weights)
    for decoder in prepared.decoders if onnx else ():
        checkpoint = Checkpoint(copy.deepcopy(network), {}, info.source_sha256)
        export(checkpoint, info, prepared.onnx(decoder), False, frames[:2], decoder)
    return prepared


@torch.inference_mode()
def _computed(network: nn.Module, frames: np.ndarray) -> tuple[Work, np.ndarray, tuple[str, ...]]:
    """Return the work for one image, the depth of all images, and the names of the outputs."""
    with FlopCounterMode(display=False) as counter:
        found = network(torch.from_numpy(frames[:1]))
    depth = [found["depth"]] + [network(torch.from_numpy(frame[None]))["depth"] for frame in frames[1:]]
    outputs = tuple(name for name in OUTPUTS if name in found)
    size = frames[0].nbytes + 4 * sum(found[name].numel() for name in outputs)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return Work(counter.get_total_flops(), parameters, size), torch.cat(depth).numpy(), outputs


def _decoders(network: nn.Module, frames: np.ndarray, info: ModelInfo, say: Callable[[str], None]) -> tuple[str, ...]:
    """Return the ways in which the decoder of a network can be written."""
    try:
        with torch.inference_mode():
            depth_to_space(copy.deepcopy(network))(torch.from_numpy(frames[:1]))
    except ValueError as error:
        say(f"{info.name} without {DECODERS[1]}: {error}")
        return DECODERS[:1]
    return DECODERS


def _place(folder: Path, info: ModelInfo) -> Path:
    place = place_of(folder, info)
    if place.exists():
        raise ValueError(f"two of the models are called {info.name}: prepare a folder for each")
    place.mkdir()
    return place


def _size(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20
