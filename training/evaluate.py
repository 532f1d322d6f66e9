"""``python -m training.evaluate MODEL --data FOLDER``: accuracy of an exported model on a dataset's test frames."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from rich.progress import track

from depth_estimation_ros.backends import BackendError
from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.estimator import DepthEstimator
from depth_estimation_ros.evaluation.metrics import METRICS, DepthMetrics, eigen_crop_mask
from training.data.folder import PreparedFolder, split_names

# Half-size NYU Depth v2: the toolbox's intrinsics for 640x480 (1-based there), pixel centres kept.
NYU_HALF = PinholeCamera(320, 240, 259.4290, 259.7348, 162.0412, 126.1181)
# The Eigen protocol clamps predictions to this range; truth at 10 m is saturated (9.97 for 8-bit depth).
NEAR, FAR, TRUTH_LIMIT = 1e-3, 10.0, 9.97


def evaluate(estimator: DepthEstimator, frames: PreparedFolder, camera: PinholeCamera, flip: bool) -> DepthMetrics:
    """
    Run a model over frames, by the Eigen protocol.

    Parameters
    ----------
    estimator : DepthEstimator
        The same pipeline as on the robot.
    frames : PreparedFolder
        Images and true depth at their stored size.
    camera : PinholeCamera
        Intrinsics of the images.
    flip : bool
        Average each estimate with that of the mirrored image.

    Returns
    -------
    DepthMetrics
    """
    metrics = DepthMetrics()
    for i in track(range(len(frames)), description="evaluating"):
        rgb, truth = frames[i]["image"].numpy(), frames[i]["depth"][0].numpy()
        depth = estimator.estimate(rgb, camera).resized(camera.width, camera.height).depth
        if flip:
            mirrored = estimator.estimate(np.ascontiguousarray(rgb[:, ::-1]), camera)
            depth = 0.5 * (depth + mirrored.resized(camera.width, camera.height).depth[:, ::-1])
        depth = np.nan_to_num(depth, nan=NEAR).clip(NEAR, FAR)
        metrics.add(depth, truth, eigen_crop_mask(truth, NEAR, TRUTH_LIMIT))
    return metrics


def main() -> None:
    """Run the command line; a user's mistake ends with one sentence."""
    parser = argparse.ArgumentParser(prog="python -m training.evaluate", description=__doc__)
    parser.add_argument("model", nargs="?", default="default", help="'default' or the path of an ONNX file")
    parser.add_argument("--data", type=Path, required=True, help="prepared NYU folder with rgb/, depth/, splits.mat")
    parser.add_argument("--split", default="test", choices=("train", "test"))
    parser.add_argument("--depth-scale", type=float, default=10 / 255, help="metres per unit of the depth images")
    parser.add_argument("--flip", action="store_true", help="average with the mirrored image's estimate")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    try:
        estimator = DepthEstimator.load(arguments.model)
        names = split_names(arguments.data / "splits.mat", arguments.split)
        frames = PreparedFolder(arguments.data, names, arguments.depth_scale, cache=False)
        metrics = evaluate(estimator, frames, NYU_HALF, arguments.flip)
    except (ValueError, FileNotFoundError, BackendError) as error:
        sys.exit(f"evaluate: {error}")
    mean, pooled = metrics.mean(), metrics.pooled()
    print(f"{estimator.model.info.name} on {len(names)} {arguments.split} frames, Eigen crop, no scaling")
    print(f"{'':10}" + "".join(f"{name:>10}" for name in METRICS))
    for label, row in (("per image", mean), ("pooled", pooled)):
        print(f"{label:10}" + "".join(f"{row[name]:10.4f}" for name in METRICS))
    if arguments.json:
        arguments.json.write_text(json.dumps({"per_image_mean": mean, "pooled": pooled}, indent=2) + "\n")


if __name__ == "__main__":
    main()
