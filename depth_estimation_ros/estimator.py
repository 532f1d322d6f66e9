"""From a colour image and its camera to metric depth. No ROS here, and no engine's specifics."""

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

# The positive numbers of float32.
_TINY, _HUGE = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)
_NAN = np.float32(np.nan)


@dataclass(frozen=True)
class DepthMap:
    """
    Depth of every pixel of a view.

    Parameters
    ----------
    depth : numpy.ndarray
        float32 [h, w], metres along the optical axis (REP 118), NaN where invalid.
    camera : PinholeCamera or None
        Intrinsics at this size, where the camera is known.
    deviation : numpy.ndarray or None
        float32 [h, w], metres, one standard deviation of the depth's error, NaN where depth is invalid; from models
        that say how sure they are.

    Raises
    ------
    ValueError
        If the depth is no image, or the camera or the deviation is of another size.
    """

    depth: np.ndarray
    camera: PinholeCamera | None = None
    deviation: np.ndarray | None = None

    def __post_init__(self):
        """Refuse what is no view."""
        if not isinstance(self.depth, np.ndarray) or self.depth.ndim != 2 or not self.depth.size:
            raise ValueError(f"depth must be an array [height, width], got {_described(self.depth)}")
        height, width = self.depth.shape
        if self.camera is not None and (self.camera.width, self.camera.height) != (width, height):
            raise ValueError(f"the camera is {self.camera.width}x{self.camera.height}, the depth {width}x{height}")
        if self.deviation is not None and self.deviation.shape != self.depth.shape:
            raise ValueError(f"deviation must be an array [{height}, {width}] too, got {_described(self.deviation)}")

    def limited(self, near: float, far: float) -> DepthMap:
        """Return the same view, invalid where depth is not between two depths in metres."""
        with np.errstate(invalid="ignore"):
            valid = (self.depth >= near) & (self.depth <= far)
        deviation = None if self.deviation is None else np.where(valid, self.deviation, _NAN)
        return DepthMap(np.where(valid, self.depth, _NAN), self.camera, deviation)

    def resized(self, width: int, height: int) -> DepthMap:
        """
        Return the same view at another size, interpolated; invalid pixels stay invalid.

        Raises
        ------
        ValueError
            If the size is not one of whole pixels.
        """
        check_size("depth", width, height)
        if self.depth.shape == (height, width):
            return self
        depth, deviation = (
            a if a is None else cv2.resize(a, (width, height), interpolation=cv2.INTER_LINEAR)
            for a in (self.depth, self.deviation)
        )
        return DepthMap(depth, self.camera and self.camera.resized(width, height), deviation)


class DepthEstimator:
    """
    Estimates metric depth from single colour images.

    Parameters
    ----------
    model : Model
        A checked model.
    backend : Backend
        The engine that runs it.
    """

    def __init__(self, model: Model, backend: Backend):
        # Without its content, which may be large and has gone into the engine.
        self.model, self.backend = replace(model, content=None), backend

    @classmethod
    def load(cls, model: str | Path = "default", backend: str = "auto", threads: int = 0) -> DepthEstimator:
        """
        Load a model.

        Parameters
        ----------
        model : str or path
            ``"default"``, or the path of an ONNX file that keeps the contract of `depth_estimation_ros.model`.
        backend : str
            One of `depth_estimation_ros.backends.BACKENDS`.
        threads : int
            CPU threads, 0 for all cores.

        Raises
        ------
        ModelError
            If the model is missing or cannot be used.
        BackendError
            If this machine does not have the backend.
        """
        checked = load_model(model)
        return cls(checked, create_backend(checked, backend, threads))

    def estimate(self, rgb: np.ndarray, camera: PinholeCamera | None = None) -> DepthMap:
        """
        Estimate the depth of one image.

        Parameters
        ----------
        rgb : numpy.ndarray
            uint8 [H, W, 3].
        camera : PinholeCamera, optional
            Intrinsics of the image. Without them depth is metric only if the camera's field of view is that of
            the model's training data.

        Returns
        -------
        DepthMap
            At the network's output size.

        Raises
        ------
        ValueError
            If the image is not uint8 [H, W, 3], or the camera is none or of another size.
        BackendError
            If the engine fails.
        """
        images = self.preprocess(rgb)
        _check_camera(camera, rgb)
        return self.postprocess(self.backend.infer(images), rgb, camera)

    def preprocess(self, rgb: np.ndarray) -> np.ndarray:
        """Resample an image, uint8 [H, W, 3], to a batch of one of the network's input size, uint8 [1, h, w, 3]."""
        # None is what cv2.imread gives for a file that it cannot read.
        is_image = isinstance(rgb, np.ndarray) and rgb.dtype == np.uint8 and rgb.ndim == 3 and rgb.shape[2] == 3
        if not is_image or not rgb.size:
            raise ValueError(f"rgb must be a uint8 array [height, width, 3], got {_described(rgb)}")
        # Averaging while shrinking, as in training: plain interpolation would alias.
        return shrink(rgb, self.model.info.input_width, self.model.info.input_height)[None]

    def postprocess(
        self, outputs: dict[str, np.ndarray], rgb: np.ndarray, camera: PinholeCamera | None = None
    ) -> DepthMap:
        """
        Turn the network's outputs for one image into metres for its camera.

        The network knows the training camera only: seen through a focal length k times as long, everything looks
        k times nearer than it is, so its depth is multiplied by k, and so is the deviation of its error. What is not a
        positive number becomes invalid.

        Parameters
        ----------
        outputs : dict
            As from `Backend.infer`, for a batch of one.
        rgb : numpy.ndarray
            The image, [H, W, 3].
        camera : PinholeCamera, optional
            Intrinsics of the image.

        Returns
        -------
        DepthMap
            At the outputs' size.
        """
        depth, log_variance = outputs["depth"][0, 0], outputs.get("log_variance")
        height, width = depth.shape
        ratio = np.float32(1.0)
        if camera is not None:
            _check_camera(camera, rgb)
            info = self.model.info
            across, down = info.input_width / camera.width, info.input_height / camera.height
            ratio = np.float32(info.depth_ratio(camera.fx * across, camera.fy * down))
            depth = depth * ratio
            camera = camera.resized(width, height)
        valid = (depth >= _TINY) & (depth <= _HUGE)
        depth = np.where(valid, depth, _NAN)
        if log_variance is None:
            return DepthMap(depth, camera)
        deviation = np.where(valid, ratio * np.exp(0.5 * log_variance[0, 0]), _NAN)
        return DepthMap(depth, camera, deviation)


def _check_camera(camera: PinholeCamera | None, rgb: np.ndarray) -> None:
    """Refuse intrinsics that are not those of an image."""
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
    """Return type and shape of an array; anything else as it is."""
    return f"{value.dtype} {list(value.shape)}" if isinstance(value, np.ndarray) else quoted(value)
