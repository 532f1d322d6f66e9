"""Training, export and evaluation of a network of the study, by the same commands that a user types."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from depth_estimation_ros.estimator import DepthEstimator
from depth_estimation_ros.support.children import ending_with_this
from depth_estimation_ros.support.files import write_json
from training.data.folder import split_names
from training.data.module import hold_out
from training.evaluate import Evaluation, evaluate, frame_of, open_frames
from training.experiments.grid import spectrum
from training.experiments.study import RECIPES, TRAININGS, Scale, Training
from training.predictor import Predictor
from training.protocols import PROTOCOLS
from training.weights import read_file

# Without these, glibc returns the memory of every step to the system, which takes half of the CPU time.
_MALLOC = {"MALLOC_MMAP_THRESHOLD_": "4294967296", "MALLOC_TRIM_THRESHOLD_": "17179869184"}
DEPTH_SCALE = 10 / 255  # metres per unit of the folder that the recipes use
TRAINING_FRAMES = 100  # number of training frames to compare with the test frames
SPECTRUM_STEP = 4  # every fourth test frame


@dataclass(frozen=True)
class Runner:
    """
    Runner of the trainings of a scale. A finished training is not repeated, and an interrupted one resumes.

    Parameters
    ----------
    scale_name : str
        A name in `study.SCALES`.
    scale : Scale
        The scale of that name.
    data : pathlib.Path
        Labelled set of NYU Depth v2: ``rgb/``, ``depth/``, ``splits.mat``.
    runs : pathlib.Path
        Folder that keeps the trainings.
    rooms : pathlib.Path
        Folder of synthetic rooms, rendered when it is first needed.
    options : dict
        Options of every training, e.g. ``trainer.devices``.
    """

    scale_name: str
    scale: Scale
    data: Path
    runs: Path
    rooms: Path
    options: dict[str, Any] = field(default_factory=dict)

    def folder(self, training: Training, seed: int) -> Path:
        """Return the folder of a training."""
        return self.runs / self.scale_name / training.name / f"seed_{seed}"

    def needed(self, names: list[str]) -> list[str]:
        """Return these trainings and those that they start from, in the order to run them."""
        order: list[str] = []
        for name in names:
            start = TRAININGS[name].start
            order += [*(self.needed([start[1]]) if start else []), name]
        return list(dict.fromkeys(order))

    def fit_command(self, training: Training, seed: int) -> list[str]:
        """Return the command that trains a network, starting with ``python``."""
        folder = self.folder(training, seed)
        options = {
            "data.root": str(self.data),
            **self.scale.options,
            **self.scale.recipes.get(training.recipe, {}),
            **training.options,
            **(self._rooms_options() if training.rooms else {}),
            **self.options,
            "seed_everything": seed,
            "trainer.default_root_dir": str(folder),
            "trainer.logger.init_args.save_dir": str(folder.parents[1]),
            "trainer.logger.init_args.name": training.name,
            "trainer.logger.init_args.version": folder.name,
        }
        if training.start:
            option, source = training.start
            options[option] = str(self.folder(TRAININGS[source], seed) / "checkpoints" / "best.ckpt")
        command = ["python", "-m", "training", "fit", "--config", str(_near(RECIPES / f"{training.recipe}.yaml"))]
        for name, value in options.items():
            command += [f"--{name}", value if isinstance(value, str) else json.dumps(value)]
        return command

    def run(self, training: Training, seed: int) -> dict[str, Any]:
        """
        Train, export and evaluate a network; skip the steps that are done.

        Returns
        -------
        dict
            Content of ``figures.json``. Empty for a training on rooms, which only provides initial weights.

        Raises
        ------
        ValueError
            If a step fails. Finished steps are kept.
        """
        folder = self.folder(training, seed)
        self._claim(folder, shlex.join(self.fit_command(training, seed)))
        done = folder / ("trained.json" if training.rooms else "figures.json")
        if not done.is_file():
            if training.rooms and not self.rooms.is_dir():
                self._python("training.data.synthetic", self.rooms, "--rooms", "200", "--views", "20")
            trained = self._fit(training, seed)
            if training.rooms:
                return {}
            self._export(training, folder)
            figures = {**trained, **self._evaluate(folder)}
            write_json(done, figures)
        return {} if training.rooms else json.loads(done.read_text())

    def _claim(self, folder: Path, command: str) -> None:
        """Create the folder of a training, and check that no other training used it."""
        note = folder / "command.txt"
        if note.is_file() and note.read_text().strip() != command:
            raise ValueError(f"{folder} was trained with other options (see {note}): remove it, or name other --runs")
        folder.mkdir(parents=True, exist_ok=True)
        note.write_text(command + "\n")

    def _rooms_options(self) -> dict[str, Any]:
        options = {"data.root": str(self.rooms), "data.split_file": "split.txt", "data.depth_scale": 0.001}
        if epochs := self.scale.options.get("trainer.max_epochs"):
            # There are six times as many frames of rooms.
            options["trainer.max_epochs"] = max(1, epochs // 4)
        return options

    def _fit(self, training: Training, seed: int) -> dict[str, Any]:
        folder, started = self.folder(training, seed), time.monotonic()
        marker, command = folder / "trained.json", self.fit_command(training, seed)
        if marker.is_file():
            return json.loads(marker.read_text())
        last = folder / "checkpoints" / "last.ckpt"
        if last.is_file():
            if training.start and training.start[0] == "init-from":
                at = command.index("--init-from")
                del command[at : at + 2]
            command += ["--ckpt_path", str(last)]
        if not sys.stdout.isatty():
            command += ["--trainer.enable_progress_bar", "false"]
        self._python(*command[2:])
        best, end = (read_file(folder / "checkpoints" / f"{name}.ckpt") for name in ("best", "last"))
        figures = {
            "epochs": end["epoch"] + 1,
            "best_epoch": best["epoch"] + 1,
            "parameters": sum(
                v.numel() for k, v in best["state_dict"].items() if v.is_floating_point() and ".running_" not in k
            ),
            "minutes": (time.monotonic() - started) / 60,
        }
        write_json(marker, figures)
        return figures

    def _export(self, training: Training, folder: Path) -> None:
        about = ("NYU Depth v2, official training frames", "research use, as NYU Depth v2 asks")
        arguments = ("--name", training.name, "--data", self.data, "--training-data", about[0], "--licence", about[1])
        self._python("training.export", folder / "checkpoints" / "best.ckpt", folder / "model.onnx", *arguments)

    def _evaluate(self, folder: Path) -> dict[str, Any]:
        estimator = DepthEstimator.load(folder / "model.onnx")
        predictor, found = Predictor(estimator), {}
        for protocol in PROTOCOLS.values():
            frames, names = open_frames(self.data, "test", DEPTH_SCALE, protocol)
            evaluation = evaluate(predictor, frames, names, protocol)
            found[protocol.name] = evaluation.to_dict()
            if protocol.name == "eigen":
                evaluation.write_csv(folder / "frames.csv")
        best = read_file(folder / "checkpoints" / "best.ckpt")
        held_out = best["datamodule_hyper_parameters"]["held_out"]
        names = hold_out(split_names(self.data / "splits.mat", "train"), held_out)[0]
        eigen = PROTOCOLS["eigen"]
        trained_on, all_names = open_frames(self.data, "train", DEPTH_SCALE, eigen)
        seen = Evaluation(eigen)
        for name in names[:: max(1, len(names) // TRAINING_FRAMES)]:
            rgb, truth, camera = frame_of(trained_on, all_names.index(name))
            seen.add(name, predictor(rgb, camera), truth)
        found["training_frames"] = seen.mean()
        powers = []
        for i in range(0, len(frames), SPECTRUM_STEP):
            rgb, _, camera = frame_of(frames, i)
            powers.append(spectrum(np.nan_to_num(estimator.estimate(rgb, camera).depth, nan=1e-3)))
        found["spectrum"] = np.mean(powers, axis=0).tolist()
        return found

    def _python(self, module: str, *arguments: object) -> None:
        command = [sys.executable, "-m", module, *map(str, arguments)]
        tied = ending_with_this(command)
        result = subprocess.run(tied, env={**_MALLOC, **os.environ}, stderr=subprocess.PIPE, text=True)
        if result.returncode:
            lines = result.stderr.strip().splitlines() or ["it was killed"]
            raise ValueError(f"`{shlex.join(['python', *command[1:]])}` failed: {lines[-1]}")


def _near(path: Path) -> Path:
    """Return a path relative to the current folder if it lies inside."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
