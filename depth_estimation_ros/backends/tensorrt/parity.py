"""Compare an engine's depth with that of ONNX Runtime, which runs the same model in float32 on the CPU."""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass

import numpy as np

from depth_estimation_ros.backends import Backend, BackendError
from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.imaging.resample import shrink
from depth_estimation_ros.model import Model, ModelInfo

FRAMES = 8


class ParityError(BackendError):
    """Error for an engine whose depth differs too much from its model's."""


@dataclass(frozen=True)
class Tolerance:
    """
    Tolerance of an engine: allowed depth difference from its model, relative to the model's depth.

    Parameters
    ----------
    mean : float
        Mean of the relative difference over all pixels of all frames.
    percentile99 : float
        99th percentile of the relative difference.
    """

    mean: float
    percentile99: float


TOLERANCES = {
    # Sums are computed in another order.
    "fp32": Tolerance(1e-4, 1e-3),
    # Half precision has 11 bits: 5e-4 per rounding. A broken engine differs by tens of percent, or is not finite.
    "fp16": Tolerance(5e-3, 3e-2),
    # The int8 graph is the same, but engines round and fuse differently.
    "int8": Tolerance(2e-2, 1e-1),
}
"""Tolerances by precision."""


# A model may have no depth in the sky, say. The edges of such a mask move with rounding.
_MASK_EDGES = 0.01

_REMEDIES = {
    "fp32": "choose the backend cuda or cpu",
    "fp16": "choose the precision fp32",
    "int8": "choose the float model, with the precision fp16 or fp32",
}


@dataclass(frozen=True)
class Parity:
    """
    Result of a comparison.

    Parameters
    ----------
    frames : int
        Number of frames compared.
    mean, percentile99 : float
        Relative difference of the depths, as in `Tolerance`.
    """

    frames: int
    mean: float
    percentile99: float

    def __str__(self) -> str:
        """Return the figures as text."""
        return (
            f"depth differs from ONNX Runtime's by {self.mean:.3%} in the mean and {self.percentile99:.3%} at the 99th "
            f"percentile, over {self.frames} frames"
        )

    def facts(self) -> dict[str, float]:
        """Return the figures for the JSON sidecar."""
        return asdict(self)


def calibration_frames(info: ModelInfo, source: str = "", count: int = FRAMES) -> np.ndarray:
    """
    Return images for the comparison.

    Parameters
    ----------
    info : ModelInfo
        Metadata of the model.
    source : str
        Folder of images, video or bag (`sources.open_source`); empty renders synthetic rooms.
    count : int
        Number of images; of a source, the first ones are used.

    Returns
    -------
    numpy.ndarray
        uint8 [n, height, width, 3], n at most `count`.

    Raises
    ------
    ValueError
        If the source cannot be opened, or contains no images.
    """
    width, height = info.input_width, info.input_height
    if not source:
        from depth_estimation_ros.synthetic import Room

        camera = PinholeCamera(width, height, *info.focal_lengths, 0.5 * (width - 1), 0.5 * (height - 1))
        rooms = (Room(0), Room(1))
        walk = np.linspace(0.0, 40.0, count, endpoint=False)  # seconds along the trajectory, which repeats after 40 s
        views = zip(itertools.cycle(rooms), walk, strict=False)
        return np.stack([room.render(camera, room.trajectory(t))[0] for room, t in views])
    from depth_estimation_ros.sources import open_source

    frames = [shrink(frame.rgb, width, height) for frame in itertools.islice(open_source(source), count)]
    if not frames:
        raise ValueError(f"source '{source}' holds no images")
    return np.stack(frames)


def reference(model: Model, frames: np.ndarray) -> np.ndarray:
    """Return ONNX Runtime's depth of the frames, float32 [n, 1, h, w], computed one by one on the CPU."""
    from depth_estimation_ros.backends.onnxruntime import OnnxRuntimeBackend

    backend = OnnxRuntimeBackend(model, "cpu")
    return np.concatenate([backend.infer(frame[None])["depth"] for frame in frames])


def relative_difference(depth: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return depth differences relative to the wanted depth, or to a typical depth where a ReLU has made it 0."""
    scale = np.maximum(np.abs(wanted), 0.05 * np.median(np.abs(wanted)) + np.finfo(np.float32).tiny)
    return np.abs(depth - wanted) / scale


def check(backend: Backend, frames: np.ndarray, wanted: np.ndarray, precision: str) -> Parity:
    """
    Compare an engine with its model.

    Parameters
    ----------
    backend : Backend
        The engine.
    frames : numpy.ndarray
        uint8 [n, height, width, 3].
    wanted : numpy.ndarray
        The model's depth of the frames, from `reference`.
    precision : {"fp32", "fp16", "int8"}
        Precision that selects the tolerance.

    Raises
    ------
    ParityError
        If the difference exceeds the tolerance; the message says by how much and what to do.
    """
    depth = np.concatenate([backend.infer(frame[None])["depth"] for frame in frames])
    remedy = _REMEDIES[precision]
    if depth.shape != wanted.shape:
        raise ParityError(
            f"engine {backend.name} is refused: its depth is {list(depth.shape)}, the model's {list(wanted.shape)}"
        )
    computed, known = np.isfinite(depth), np.isfinite(wanted)
    share = (known & ~computed).mean()
    if share > (0.0 if known.all() else _MASK_EDGES):
        raise ParityError(f"engine {backend.name} is refused: {share:.1%} of its depth is not finite; {remedy}")
    both = computed & known
    if not both.any():
        raise ParityError(f"engine {backend.name} is refused: there is no depth in any of the frames to compare")
    relative = relative_difference(depth[both], wanted[both])
    parity = Parity(len(frames), float(relative.mean()), float(np.percentile(relative, 99)))
    allowed = TOLERANCES[precision]
    if parity.mean > allowed.mean or parity.percentile99 > allowed.percentile99:
        raise ParityError(
            f"engine {backend.name} is refused: its {parity}; {allowed.mean:.2%} and {allowed.percentile99:.2%} are "
            f"allowed; {remedy}"
        )
    return parity
