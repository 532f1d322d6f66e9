"""Estimate depth from a colour image and its camera, without ROS and independent of the inference engine."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from depth_estimation_ros.backends import Backend, create_backend
from depth_estimation_ros.camera import PinholeCamera, check_size
from depth_estimation_ros.imaging.resample import shrink
from depth_estimation_ros.model import Model, load_model
from depth_estimation_ros.support.sentences import quoted

# Range of the positive normal numbers of float32.
_TINY, _HUGE = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)
_NAN = np.float32(np.nan)


@dataclass(frozen=True)
class DepthMap:
    """
    Depth image of one view, with its camera.

    Parameters
    ----------
    depth : numpy.ndarray
        float32 [h, w], metres along the optical axis (REP 118), NaN where invalid. Of another `kind`: the values that
        the model outputs, which are no metres.
    camera : PinholeCamera or None
        Intrinsics at the size of `depth`; None if the camera is unknown.
    deviation : numpy.ndarray or None
        float32 [h, w], standard deviation of the depth error in metres, NaN where depth is invalid. None if the model
        does not estimate its uncertainty.
    kind : str
        Kind of depth, see `ModelInfo`. `anchor.RelativeAnchor` makes relative depth metric.

    Raises
    ------
    ValueError
        If `depth` is not a 2-D array with at least one pixel, or `camera` or `deviation` has another size.
    """

    depth: np.ndarray
    camera: PinholeCamera | None = None
    deviation: np.ndarray | None = None
    kind: str = "metric"

    def __post_init__(self):
        """Check the shapes."""
        if not isinstance(self.depth, np.ndarray) or self.depth.ndim != 2 or not self.depth.size:
            raise ValueError(f"depth must be an array [height, width], got {_described(self.depth)}")
        height, width = self.depth.shape
        if self.camera is not None and (self.camera.width, self.camera.height) != (width, height):
            raise ValueError(f"the camera is {self.camera.width}x{self.camera.height}, the depth {width}x{height}")
        if self.deviation is not None and self.deviation.shape != self.depth.shape:
            raise ValueError(f"deviation must be an array [{height}, {width}] too, got {_described(self.deviation)}")

    @property
    def known_camera(self) -> PinholeCamera:
        """`camera`, for what needs it; raises ValueError if it is None."""
        if self.camera is None:
            raise ValueError("this needs the camera's intrinsics: estimate with a PinholeCamera")
        return self.camera

    def require_metres(self) -> None:
        """Raise ValueError if the depth is relative."""
        if self.kind != "metric":
            raise ValueError(
                f"depth is relative ({self.kind}), not metres: it becomes metric by the true depth of some points, "
                "with the parameter anchor of the node or a RelativeAnchor"
            )

    def limited(self, near: float, far: float) -> DepthMap:
        """Return the same view with depth outside [near, far] (metres) set to NaN."""
        self.require_metres()
        with np.errstate(invalid="ignore"):
            valid = (self.depth >= near) & (self.depth <= far)
        deviation = None if self.deviation is None else _masked(self.deviation, valid)
        return DepthMap(_masked(self.depth, valid), self.camera, deviation)

    def resized(self, width: int, height: int) -> DepthMap:
        """
        Return the view resampled to another size (bilinear). An output pixel is NaN if one of its input pixels is.

        Raises
        ------
        ValueError
            If the size is not positive whole numbers.
        """
        check_size("depth", width, height)
        if self.depth.shape == (height, width):
            return self

        def resize(image: np.ndarray) -> np.ndarray:
            return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)

        deviation = None if self.deviation is None else resize(self.deviation)
        camera = self.camera and self.camera.resized(width, height)
        return DepthMap(resize(self.depth), camera, deviation, self.kind)


class DepthEstimator:
    """
    Estimator of depth from single colour images: metric, or relative if the model is (`ModelInfo.kind`).

    Parameters
    ----------
    model : Model
        Checked model, from `load_model`.
    backend : Backend
        Backend that runs the model.
    """

    def __init__(self, model: Model, backend: Backend):
        # Drop the file content: it may be large, and the engine already has it.
        self.model, self.backend = replace(model, content=None), backend

    @classmethod
    def load(cls, model: str | Path = "default", backend: str = "auto", threads: int = 0) -> DepthEstimator:
        """
        Load a model and create the backend that runs it.

        Parameters
        ----------
        model : str or path
            Name of a model, one of `depth_estimation_ros.weights.NAMES`, e.g. ``"default"`` or ``"small"``, or the path
            of an ONNX file that satisfies the model contract (`depth_estimation_ros.model`).
        backend : str
            One of `depth_estimation_ros.backends.BACKENDS`.
        threads : int
            Number of CPU threads; 0 uses all cores.

        Raises
        ------
        ModelError
            If the model is missing or cannot be used.
        BackendError
            If the backend is not available on this machine.
        """
        checked = load_model(model)
        return cls(checked, create_backend(checked, backend, threads))

    def estimate(self, rgb: np.ndarray, camera: PinholeCamera | None = None) -> DepthMap:
        """
        Estimate the depth of one image.

        Parameters
        ----------
        rgb : numpy.ndarray
            uint8 [H, W, 3], RGB.
        camera : PinholeCamera, optional
            Intrinsics of the image. Without them, depth is metric only if the camera has the field of view of the
            model's training camera.

        Returns
        -------
        DepthMap
            At the network's output size. Its ``kind`` says whether it is in metres.

        Raises
        ------
        ValueError
            If `rgb` is not uint8 [H, W, 3], or `camera` is not a `PinholeCamera` of the size of `rgb`.
        BackendError
            If inference fails.
        """
        images = self.preprocess(rgb)
        _check_camera(camera, rgb)
        return self.postprocess(self.backend.infer(images), rgb, camera)

    def preprocess(self, rgb: np.ndarray) -> np.ndarray:
        """Resample an image uint8 [H, W, 3] to the input size: a batch of one, uint8 [1, h, w, 3]."""
        # cv2.imread returns None for a file that it cannot read.
        is_image = isinstance(rgb, np.ndarray) and rgb.dtype == np.uint8 and rgb.ndim == 3 and rgb.shape[2] == 3
        if not is_image or not rgb.size:
            raise ValueError(f"rgb must be a uint8 array [height, width, 3], got {_described(rgb)}")
        # Average while shrinking, as in training: plain interpolation would alias.
        return shrink(rgb, self.model.info.input_width, self.model.info.input_height)[None]

    def postprocess(
        self, outputs: dict[str, np.ndarray], rgb: np.ndarray, camera: PinholeCamera | None = None
    ) -> DepthMap:
        """
        Convert the model's outputs for one image to metric depth for its camera.

        The model assumes the training camera. With a focal length k times as long, every object looks k times nearer
        than it is, so depth and deviation are multiplied by k (`ModelInfo.depth_ratio`). Values that are not positive
        numbers become NaN. Relative depth stays as it is, because its zero is arbitrary.

        Parameters
        ----------
        outputs : dict
            Outputs of `Backend.infer` for a batch of one.
        rgb : numpy.ndarray
            Image that was estimated, [H, W, 3].
        camera : PinholeCamera, optional
            Intrinsics of the image.

        Returns
        -------
        DepthMap
            Depth at the size of the outputs.
        """
        depth, log_variance = outputs["depth"][0, 0], outputs.get("log_variance")
        height, width = depth.shape
        ratio, info = np.float32(1.0), self.model.info
        if camera is not None:
            _check_camera(camera, rgb)
            across, down = info.input_width / camera.width, info.input_height / camera.height
            ratio = np.float32(info.depth_ratio(camera.fx * across, camera.fy * down))
            depth = depth * ratio
            camera = camera.resized(width, height)
        if info.is_relative:
            return DepthMap(np.where(np.isfinite(depth), depth, _NAN), camera, kind=info.kind)
        valid = (depth >= _TINY) & (depth <= _HUGE)
        depth = _masked(depth, valid)
        if log_variance is None:
            return DepthMap(depth, camera)
        deviation = _masked(ratio * np.exp(0.5 * log_variance[0, 0]), valid)
        return DepthMap(depth, camera, deviation)


def _masked(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return a copy with NaN where values are not valid. Mostly all are, and a copy takes a third of a selection."""
    return values.copy() if valid.all() else np.where(valid, values, _NAN)


def _check_camera(camera: PinholeCamera | None, rgb: np.ndarray) -> None:
    """Raise ValueError if the intrinsics are not those of the image."""
    if camera is None:
        return
    if not isinstance(camera, PinholeCamera):
        raise ValueError(f"camera must be a PinholeCamera or None, got {quoted(camera)}")
    if (camera.height, camera.width) != rgb.shape[:2]:
        raise ValueError(
            f"the camera is {camera.width}x{camera.height}, the image {rgb.shape[1]}x{rgb.shape[0]}: "
            "use the intrinsics of this image size"
        )


def _described(value: object) -> str:
    """Return dtype and shape of an array, or the quoted value of anything else."""
    return f"{value.dtype} {list(value.shape)}" if isinstance(value, np.ndarray) else quoted(value)
