"""A prepared folder: the networks to measure, their images, and the depth that they must compute."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from depth_estimation_ros.model import ModelInfo
from depth_estimation_ros.support.files import write_json
from training.bench_gpu.floor import Work

DECODERS = ("conv_transpose", "depth_to_space")
"""Ways to write up-projections; see `training.export`."""

AS_EXPORTED = "as exported"
"""Decoder of a model of which only the ONNX file is known."""

MANIFEST = "networks.json"
_VERSION = 1


@dataclass(frozen=True)
class Prepared:
    """
    Network that is ready to be measured.

    Parameters
    ----------
    folder : pathlib.Path
        Folder of its files: ``reference.npz``, ``{decoder}.onnx`` and, if it is trained, ``weights.pt``.
    info : ModelInfo
        Metadata.
    work : Work
        Work for one image, of the decoder with the fewest operations.
    outputs : tuple of str
        Outputs of the network.
    decoders : tuple of str
        Ways in which the decoder can be written.
    network : dict or None
        Arguments of `training.models.build_network`; None if only the ONNX file is known.
    scale : float or None
        Factor of the last layer of a network with random weights (`networks.random_network`); None if it is trained.
    """

    folder: Path
    info: ModelInfo
    work: Work
    outputs: tuple[str, ...]
    decoders: tuple[str, ...]
    network: dict | None
    scale: float | None

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.info.name

    def onnx(self, decoder: str) -> Path:
        """Return the place of the ONNX file of a decoder."""
        return self.folder / f"{decoder.replace(' ', '_')}.onnx"

    @property
    def weights(self) -> Path:
        """Place of the weights of a trained network."""
        return self.folder / "weights.pt"

    def store_reference(self, frames: np.ndarray, depth: np.ndarray) -> None:
        """Write images, uint8 [n, height, width, 3], and their depth, float32 [n, 1, h, w]."""
        np.savez_compressed(self.folder / "reference.npz", frames=frames, depth=depth)

    def reference(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the images and their depth."""
        with np.load(self.folder / "reference.npz", allow_pickle=False) as arrays:
            return arrays["frames"], arrays["depth"]


def place_of(folder: Path, info: ModelInfo) -> Path:
    """Return the folder of a network in a prepared folder."""
    return folder / ("".join(c if c.isalnum() or c in "-_." else "_" for c in info.name).lstrip(".") or "model")


def write(folder: Path, networks: list[Prepared]) -> None:
    """Write the list of the networks of a prepared folder; it comes last, so that half a folder is not measured."""
    entries = [
        {
            "info": network.info.to_json(),
            "work": asdict(network.work),
            **{name: getattr(network, name) for name in ("outputs", "decoders", "network", "scale")},
        }
        for network in networks
    ]
    write_json(folder / MANIFEST, {"version": _VERSION, "networks": entries})


def read(folder: Path) -> list[Prepared]:
    """
    Return the networks of a prepared folder.

    Raises
    ------
    ValueError
        If the folder is not one, or from another version of this program.
    """
    path = folder / MANIFEST
    advice = f"write one with `python -m training.bench_gpu prepare {folder}`"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["version"] != _VERSION:
            raise ValueError(f"{path} is from another version of this program; {advice}")
        return [
            Prepared(
                place_of(folder, info := ModelInfo.from_json(entry["info"])),
                info,
                Work(**entry["work"]),
                tuple(entry["outputs"]),
                tuple(entry["decoders"]),
                entry["network"],
                entry["scale"],
            )
            for entry in content["networks"]
        ]
    except OSError as error:
        raise ValueError(f"{folder} is not a prepared folder ({path.name}: {error.strerror}); {advice}") from None
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged ({type(error).__name__}: {error}); {advice}") from None
