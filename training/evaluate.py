"""
``python -m training.evaluate MODEL --data SET``: accuracy of a model on the test frames of a dataset.

PyTorch weights (``--weights``) are exported to ONNX first, and then evaluated as any other model.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.progress import track
from torch.utils.data import Dataset

from depth_estimation_ros.backends import BackendError
from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.estimator import DepthEstimator, DepthMap
from depth_estimation_ros.evaluation.alignment import AlignedMetrics
from depth_estimation_ros.evaluation.metrics import METRICS, DepthMetrics
from depth_estimation_ros.imaging.resample import shrink
from depth_estimation_ros.support.files import refuse_missing_folder, write_json
from training.breakdown import Calibration, ErrorByDistance, RiskCoverage
from training.card import check_card, enter_figures
from training.data.folder import PreparedFolder, split_names
from training.data.kinect import COLOUR_CAMERA
from training.files import write_csv, write_image
from training.pictures import calibration_picture, frame_picture
from training.predictor import MedianPredictor, Predictor
from training.protocols import PROTOCOLS, Protocol

NYU_FULL, NYU_HALF = COLOUR_CAMERA, COLOUR_CAMERA.resized(320, 240)


@dataclass
class Evaluation:
    """Results of an evaluation by one protocol: per frame and over all pixels."""

    protocol: Protocol
    names: list[str] = field(default_factory=list)
    metrics: DepthMetrics = field(default_factory=DepthMetrics)
    by_distance: ErrorByDistance = field(default_factory=ErrorByDistance)
    calibration: Calibration = field(default_factory=Calibration)
    risk: RiskCoverage = field(default_factory=RiskCoverage)
    aligned: AlignedMetrics = field(default_factory=AlignedMetrics)

    @property
    def is_relative(self) -> bool:
        """Whether there are only figures after alignment, because depth is relative."""
        return not self.metrics.per_image

    def add(self, name: str, estimate: DepthMap, truth: np.ndarray) -> None:
        """Add a frame: its estimate, and the ground truth of the same size, [h, w] metres, 0 where unknown."""
        depth, mask = self.protocol.compared(estimate.depth, truth)
        self.names.append(name)
        self.aligned.add(estimate.depth, estimate.kind, truth, mask)
        if estimate.kind != "metric":
            return
        self.metrics.add(depth, truth, mask)
        self.by_distance.add(depth, truth, mask)
        if estimate.deviation is not None:
            # Pixels without a standard deviation are left out.
            known = mask & ~np.isnan(estimate.deviation)
            self.calibration.add(depth, truth, estimate.deviation, known)
            self.risk.add(depth, truth, estimate.deviation, known)

    def mean(self) -> dict[str, float]:
        """Return the mean of the per-image metrics."""
        return self.metrics.mean()

    def pooled(self) -> dict[str, float]:
        """Return the metrics over all pixels."""
        return self.metrics.pooled()

    def extremes(self, count: int) -> dict[str, list[int]]:
        """Return the frames with the largest and the smallest ``abs_rel``, as ``worst`` and ``best``."""
        order = np.argsort([row["abs_rel"] for row in self.metrics.per_image], kind="stable").tolist()
        return {"worst": order[::-1][:count], "best": order[:count]}

    def to_dict(self) -> dict:
        """Return all figures, for JSON."""
        found = {
            "protocol": self.protocol.name,
            "frames": len(self.names),
            "aligned": {"per_image_mean": self.aligned.per_image(), "at_once": self.aligned.at_once()},
        }
        if self.is_relative:
            return found
        found |= {
            "per_image_mean": self.mean(),
            "pooled": self.pooled(),
            # JSON has no infinity.
            "by_distance": [
                {k: None if v == math.inf else v for k, v in row.items()} for row in self.by_distance.table()
            ],
        }
        if self.calibration.used:
            found["calibration"] = {**self.calibration.summary(), "curve": self.calibration.curve()}
            found["risk_coverage"] = [
                {k: None if v == math.inf else v for k, v in row.items()} for row in self.risk.curve()
            ]
        return found

    def write_csv(self, path: Path) -> None:
        """Write one line per frame: its name, the metrics, and the number of pixels that count."""
        columns = (*METRICS, "pixels")
        rows = zip(self.names, self.metrics.per_image, strict=True)
        write_csv(path, ("name", *columns), ([name, *(row[column] for column in columns)] for name, row in rows))


def evaluate(
    predictor: Predictor | MedianPredictor, frames: Dataset, names: list[str], protocol: Protocol
) -> Evaluation:
    """
    Evaluate a model on frames.

    Parameters
    ----------
    predictor : Predictor
        The model.
    frames : Dataset
        Frames with ``image`` and ``depth`` as in `training.data`, in the stored size: NYU Depth v2, full or half.
    names : list of str
        Names of the frames.
    protocol : Protocol
        One of `training.protocols.PROTOCOLS`.

    Returns
    -------
    Evaluation

    Raises
    ------
    ValueError
        If the frames have neither the full nor half the size of NYU Depth v2.
    """
    found = Evaluation(protocol)
    for name, i in zip(names, track(range(len(frames)), description="evaluating"), strict=True):
        rgb, truth, camera = frame_of(frames, i)
        found.add(name, predictor(rgb, camera), truth)
    return found


def write_pictures(
    found: Evaluation, predictor: Predictor | MedianPredictor, frames: Dataset, folder: Path, count: int = 4
) -> None:
    """
    Write PNG files of the worst and best frames, and of the calibration curve if the model estimates a deviation.

    Parameters
    ----------
    found : Evaluation
        Evaluation of the same frames.
    predictor : Predictor
        The model.
    frames : Dataset
        As for `evaluate`.
    folder : pathlib.Path
        Output folder; created if it does not exist.
    count : int
        Number of worst and of best frames.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for kind, chosen in found.extremes(count).items():
        for rank, i in enumerate(chosen, 1):
            rgb, truth, camera = frame_of(frames, i)
            depth, mask = found.protocol.compared(predictor(rgb, camera).depth, truth)
            caption = f"{kind} {rank}: {found.names[i]}, abs_rel {found.metrics.per_image[i]['abs_rel']:.3f}"
            picture = frame_picture(rgb, truth, depth, mask, caption)
            write_image(folder / f"{kind}_{rank}_{found.names[i]}.png", picture)
    if found.calibration.used:
        calibration_picture(found.calibration.curve(), found.risk.curve(), folder / "calibration.png")


def open_frames(data: Path, split: str, depth_scale: float, protocol: Protocol) -> tuple[Dataset, list[str]]:
    """
    Open frames of NYU Depth v2 with the ground truth that a protocol uses, if the set has it.

    Parameters
    ----------
    data : pathlib.Path
        Prepared folder that contains ``splits.mat``, or ``nyu_depth_v2_labeled.mat`` with ``splits.mat`` beside it.
    split : {"train", "test"}
        Part of the data set.
    depth_scale : float
        Metres per unit of a folder's depth images.
    protocol : Protocol
        Determines the ground truth and its largest depth.

    Returns
    -------
    frames : Dataset
    names : list of str
    """
    if data.suffix == ".mat":
        from training.data.nyu_labelled import NyuLabelled

        names = split_names(data.parent / "splits.mat", split)
        return NyuLabelled(data, names, protocol.truth, protocol.truth_limit), names
    names = split_names(data / "splits.mat", split)
    return PreparedFolder(data, names, depth_scale, protocol.truth_limit, cache=False), names


def frame_of(frames: Dataset, i: int) -> tuple[np.ndarray, np.ndarray, PinholeCamera]:
    """
    Return a frame to evaluate on.

    Parameters
    ----------
    frames : Dataset
        As for `evaluate`.
    i : int
        Its index.

    Returns
    -------
    rgb : numpy.ndarray
        uint8 [h, w, 3].
    truth : numpy.ndarray
        [h, w] metres, 0 where unknown.
    camera : PinholeCamera
        Camera of NYU Depth v2 at this image size.

    Raises
    ------
    ValueError
        If the frame has neither the full nor half the size of NYU Depth v2.
    """
    frame = frames[i]
    truth = frame["depth"][0].numpy()
    cameras = {(c.height, c.width): c for c in (NYU_FULL, NYU_HALF)}
    if truth.shape not in cameras:
        raise ValueError(f"frames must be 640x480 or 320x240 as NYU Depth v2, not {truth.shape[1]}x{truth.shape[0]}")
    return frame["image"].numpy(), truth, cameras[truth.shape]


def exported(weights: Path, recipe: Path | None, frames: Dataset) -> DepthEstimator:
    """
    Export PyTorch weights to a temporary ONNX file and load it.

    Parameters
    ----------
    weights, recipe : pathlib.Path
        As for `training.checkpoint.load_checkpoint`.
    frames : Dataset
        Frames; ONNX Runtime is compared with PyTorch on some of their images.

    Returns
    -------
    DepthEstimator
    """
    # Imported here, because evaluating an ONNX model does not need the packages of these modules.
    from training.checkpoint import load_checkpoint
    from training.export import export, model_info

    checkpoint = load_checkpoint(weights, recipe)
    info = model_info(checkpoint, weights.stem, "not said", "not said")
    few = (frame_of(frames, i)[0] for i in range(min(4, len(frames))))
    images = np.stack([shrink(image, info.input_width, info.input_height) for image in few])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        export(checkpoint, info, path, False, images)
        return DepthEstimator.load(path)


def _print_aligned(found: Evaluation) -> None:
    """Print the figures after affine alignment of inverse depth, see `evaluation.alignment`."""
    print("\naligned with the ground truth by scale and shift of inverse depth (relative models have only this)")
    print(f"{'':10}" + "".join(f"{name:>10}" for name in METRICS))
    for label, row in (("per image", found.aligned.per_image()), ("at once", found.aligned.at_once())):
        print(f"{label:10}" + "".join(f"{row[name]:10.4f}" if name in row else " " * 10 for name in METRICS))


def _print(found: Evaluation, title: str) -> None:
    if found.is_relative:
        print(title)
        _print_aligned(found)
        return
    print(f"{title}, no scaling")
    print(f"{'':10}" + "".join(f"{name:>10}" for name in METRICS))
    chosen = "pooled" if found.protocol.pooled else "per image"
    for label, row in (("per image", found.mean()), ("pooled", found.pooled())):
        marked = "  <- the protocol's" if label == chosen else ""
        print(f"{label:10}" + "".join(f"{row[name]:10.4f}" for name in METRICS) + marked)
    _print_aligned(found)
    print(f"\n{'distance':10}{'pixels':>10}{'abs_rel':>10}{'rmse':>10}{'delta1':>10}")
    for row in found.by_distance.table():
        label = f"{row['from']:g}-{row['to']:g} m" if row["to"] < math.inf else f"from {row['from']:g} m"
        print(
            f"{label:10}{row['share']:10.1%}" + "".join(f"{row[name]:10.4f}" for name in ("abs_rel", "rmse", "delta1"))
        )
    if found.calibration.used:
        summary = found.calibration.summary()
        print(f"\ncalibration: off by {summary['calibration_error']:.3f} on average; ", end="")
        print(f"deviation {summary['deviation']:.3f} m where rmse is {found.pooled()['rmse']:.3f} m")
        print("expected  " + "".join(f"{row['expected']:8.2f}" for row in found.calibration.curve()))
        print("observed  " + "".join(f"{row['observed']:8.2f}" for row in found.calibration.curve()))
        print("\npixels kept, the surest first; the limit is what max_relative_deviation takes")
        for label, name, form in (
            ("kept", "coverage", "8.0%"),
            ("limit", "limit", "8.3f"),
            ("abs_rel", "abs_rel", "8.4f"),
        ):
            print(f"{label:10}" + "".join(format(row[name], form) for row in found.risk.curve()))


def main() -> None:
    """Run the command line; a mistake of the user ends with one sentence."""
    parser = argparse.ArgumentParser(prog="python -m training.evaluate", description=__doc__)
    parser.add_argument(
        "model", nargs="?", help="'default' (also if omitted), an ONNX file, or 'median' (ignores the image)"
    )
    parser.add_argument(
        "--weights", type=Path, help="instead of MODEL: a checkpoint, or a file of weights (.pth) with --recipe"
    )
    parser.add_argument("--recipe", type=Path, help="YAML recipe of the network of the weights")
    parser.add_argument(
        "--data", type=Path, required=True, help="NYU folder with rgb/, depth/, splits.mat, or nyu_depth_v2_labeled.mat"
    )
    parser.add_argument("--protocol", default="eigen", choices=PROTOCOLS, help="how the figures are computed")
    parser.add_argument("--split", default="test", choices=("train", "test"))
    parser.add_argument("--depth-scale", type=float, default=10 / 255, help="metres per unit of the depth images")
    parser.add_argument("--flip", action="store_true", help="average with the mirrored image's estimate")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--csv", type=Path, help="also write the figures of every frame here")
    parser.add_argument("--pictures", type=Path, help="folder for pictures of the worst and best frames")
    parser.add_argument("--card", type=Path, help="also write the figures into the model card, MODEL.md")
    arguments = parser.parse_args()
    protocol = PROTOCOLS[arguments.protocol]
    try:
        refuse_missing_folder(arguments.json, arguments.csv)
        if arguments.weights and (arguments.model or arguments.card):
            raise ValueError("--weights is evaluated without a model and a card beside it: export it to get both")
        if arguments.recipe and not arguments.weights:
            raise ValueError("--recipe says what --weights are of: give both, or a model")
        model = arguments.model or "default"
        data = (arguments.depth_scale, protocol)
        predictor: Predictor | MedianPredictor
        sha256 = ""
        if model == "median":
            if arguments.card:
                raise ValueError("--card is for a model, and the median of the training depths is none")
            predictor = MedianPredictor(open_frames(arguments.data, "train", *data)[0])
        elif arguments.weights:
            frames, _ = open_frames(arguments.data, arguments.split, *data)
            predictor = Predictor(exported(arguments.weights, arguments.recipe, frames), arguments.flip)
        else:
            predictor = Predictor(DepthEstimator.load(model), arguments.flip)
        if arguments.card and isinstance(predictor, Predictor):
            sha256 = predictor.estimator.model.sha256
            check_card(arguments.card, sha256)
        if isinstance(predictor, Predictor) and predictor.estimator.model.info.is_relative:
            for option in ("csv", "card", "pictures"):
                if getattr(arguments, option):
                    raise ValueError(f"--{option} is for metric depth, and that of {predictor.name} is relative")
        frames, names = open_frames(arguments.data, arguments.split, *data)
        found = evaluate(predictor, frames, names, protocol)
        _print(found, f"{predictor.name} on {len(names)} {arguments.split} frames, {protocol.title}")
        if arguments.json:
            write_json(arguments.json, found.to_dict())
        if arguments.csv:
            found.write_csv(arguments.csv)
        if arguments.card:
            what = f"{len(names)} {arguments.split} frames of {arguments.data.stem}, {protocol.title}"
            what += ", averaged with the mirrored image" if arguments.flip else ""
            enter_figures(arguments.card, sha256, what, protocol.figures(found.metrics))
        if arguments.pictures:
            write_pictures(found, predictor, frames, arguments.pictures)
    except (ValueError, OSError, BackendError) as error:
        sys.exit(f"evaluate: {error}")


if __name__ == "__main__":
    main()
