"""Checkpoints of a training: read without executing code in them, written completely or not at all."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.fabric.plugins.io import TorchCheckpointIO
from torch import nn

from depth_estimation_ros.support.files import sha256_of
from training.models import build_network, from_scratch
from training.weights import of_network, read_file, read_weights


@dataclass(frozen=True)
class Checkpoint:
    """Trained network with its data and, for `training.card`, facts about its training."""

    network: nn.Module
    data: dict
    sha256: str
    recipe: dict = field(default_factory=dict)


def load_checkpoint(path: str | Path, recipe: str | Path | None = None) -> Checkpoint:
    """
    Read a checkpoint of ``python -m training fit``, or a file of weights.

    Parameters
    ----------
    path : path
        The ``.ckpt`` file. If the training averaged the weights, it holds the average. With ``recipe``: any file of
        weights by name, in half or single precision.
    recipe : path, optional
        YAML recipe with the network of the weights, the camera and the image size.

    Returns
    -------
    Checkpoint
        With the network in evaluation mode.

    Raises
    ------
    ValueError
        If a file is missing, damaged or not from ``python -m training fit``, or the weights do not fit the network.
    """
    if recipe is not None:
        return _weights_with_recipe(Path(path), Path(recipe))
    content = read_file(path, "checkpoint")
    if "hyper_parameters" not in content:
        raise ValueError(
            f"{path} is no checkpoint of `python -m training fit`: if it holds weights alone, name their --recipe"
        )
    try:
        # Initial weights are not needed any more, and their file may not exist here.
        network = build_network(**from_scratch(content["hyper_parameters"]["network"]))
        network.load_state_dict(of_network(content["state_dict"]))
        data = content["datamodule_hyper_parameters"]
    except (RuntimeError, KeyError, TypeError, AttributeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"checkpoint {path} is not from `python -m training fit`: {reason}") from None
    return Checkpoint(network.eval(), data, sha256_of(Path(path)), _recipe(content))


def _weights_with_recipe(path: Path, recipe: Path) -> Checkpoint:
    weights = read_weights(path)
    try:
        content = yaml.safe_load(recipe.read_text())
        options, data = from_scratch(content["model"]["network"]), dict(content["data"])
        # Only input and output are known of these weights, not their training.
        for name in ("augmentation", "extra", "held_out"):
            data.pop(name, None)
        network = build_network(**options)
    except OSError as error:
        raise ValueError(f"recipe {recipe} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise ValueError(f"{recipe} is no recipe of `python -m training fit`: {str(error).splitlines()[0]}") from None
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"weights {path} are not of the network in {recipe}: {reason}") from None
    return Checkpoint(network.eval(), data, sha256_of(path), {"network": options})


def _recipe(content: dict[str, Any]) -> dict:
    """Return facts about the training in a checkpoint: options of the task, optimisers, epochs, steps, averaging."""
    names = content.get("optimizer_names", [])  # older checkpoints have none
    groups = [state["param_groups"][0] for state in content.get("optimizer_states", [])]
    known = {**content["hyper_parameters"], "optimizers": dict(zip(names, groups, strict=False))}
    if loop := content.get("loops", {}).get("fit_loop"):
        # "epoch" is larger by one after a training than in its last epoch; the number of started epochs is the same.
        known.update(epochs=loop["epoch_progress"]["current"]["ready"], steps=content["global_step"])
    return {**known, "averaged": "averaging_state" in content}


def check_resumable(path: str | Path) -> None:
    """
    Check that a training can resume from a checkpoint.

    Parameters
    ----------
    path : path
        The ``.ckpt`` file.

    Raises
    ------
    ValueError
        If it is missing, damaged, or holds only weights. The message names the newest complete one beside it, if any.
    """
    path = Path(path)
    try:
        if missing := {"state_dict", "optimizer_states", "loops"} - set(read_file(path, "checkpoint")):
            raise ValueError(f"checkpoint {path} lacks {', '.join(sorted(missing))}: start from it with --init-from")
    except ValueError as error:
        others = sorted(path.parent.glob("*.ckpt"), key=os.path.getmtime, reverse=True)
        whole = next((p for p in others if p != path and _is_whole(p)), None)
        raise ValueError(f"{error}; {whole} beside it is whole" if whole else str(error)) from None


class WholeCheckpoints(TorchCheckpointIO):
    """
    Checkpoint writer that writes beside the target file and moves the checkpoint there when it is complete.

    Lightning writes to the system's temporary folder. Moving that file to another disk copies it, so that a full disk
    or a kill leaves half a file in place of the last good checkpoint.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """
        Write a checkpoint.

        Raises
        ------
        ValueError
            If it cannot be written. An existing checkpoint of that name is unchanged.
        """
        path = Path(path)
        draft = path.with_name(path.name + ".part")
        content = io.BytesIO()
        torch.save(checkpoint, content)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(draft, "wb") as file:
                file.write(content.getbuffer())
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, path)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise ValueError(
                f"checkpoint {path} ({content.tell() / 1e6:.0f} MB) could not be written: {error.strerror}. "
                "Earlier checkpoints are untouched; make room and resume from the newest with --ckpt_path"
            ) from None


def _is_whole(path: Path) -> bool:
    try:
        return "loops" in read_file(path)
    except ValueError:
        return False
