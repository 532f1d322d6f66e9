"""Results of finished slices on disk, from which an interrupted run with the same options resumes."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import zipfile
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from depth_estimation_ros.evaluation.report.gallery import Gallery
from depth_estimation_ros.evaluation.result.frame_table import ROW, FrameTable
from depth_estimation_ros.evaluation.run.work import Options, SliceResult, Survey, identity
from depth_estimation_ros.support.files import write_whole

_VERSION = 4  # of the file format and of the meaning of the results


class Checkpoint:
    """
    Folder with the results of finished slices.

    Parameters
    ----------
    folder : pathlib.Path
        Folder; it is created if it does not exist.
    options : Options
        Options of this run. Results of runs with other options are ignored.
    """

    def __init__(self, folder: Path, options: Options):
        self._folder, self._options = folder, options
        folder.mkdir(parents=True, exist_ok=True)

    def key(self, survey: Survey, start: int, stop: int) -> str:
        """Return the key of a slice, a digest of everything that its results depend on."""
        options = asdict(self._options)
        # The path of a model does not matter; its sha256 does.
        for model in options["models"]:
            del model["path"]
        facts = [_VERSION, identity(survey.path), asdict(survey), start, stop, options]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]

    def bag(self, key: str) -> Path:
        """Return the path of the output bag of a finished slice."""
        return self._folder / f"{key}_bag"

    def draft_bag(self, key: str) -> Path:
        """Return the path where the output bag of a slice is written, and remove an incomplete bag there."""
        draft = self._folder / "drafts" / f"{key}_bag"
        shutil.rmtree(draft, ignore_errors=True)
        return draft

    def load(self, key: str) -> SliceResult | None:
        """Return the result of a slice; None if there is none or its output bag is missing."""
        try:
            with np.load(self._folder / f"{key}.npz", allow_pickle=False) as stored:
                result = _unpack(stored)
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            return None
        return None if self._options.bag and not self.bag(key).is_dir() else result

    def save(self, key: str, result: SliceResult) -> None:
        """Store the result of a slice, completely or not at all."""
        if self._options.bag:
            shutil.rmtree(self.bag(key), ignore_errors=True)
            os.replace(self._folder / "drafts" / self.bag(key).name, self.bag(key))
        write_whole(self._folder / f"{key}.npz", _pack(result))


def _pack(result: SliceResult) -> bytes:
    facts, pictures = result.gallery.to_arrays()
    arrays: dict[str, Any] = dict(pictures)
    tables = {}
    for number, (name, table) in enumerate(result.frames.items()):
        rows = list(table.chunks())
        arrays[f"rows_{number}"] = np.concatenate(rows) if rows else np.empty(0, ROW)
        sums = {kind: {key: row.tolist() for key, row in groups.items()} for kind, groups in table.sums.items()}
        tables[name] = {"estimated": table.estimated, "sums": sums}
    document = {
        "frames": tables,
        "gallery": facts,
        "problems": dict(result.problems),
        "errors": result.errors,
        "models": result.models,
    }
    file = io.BytesIO()
    arrays["document"] = np.array(json.dumps(document))
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def _unpack(stored) -> SliceResult:
    document = json.loads(str(stored["document"]))
    frames = {}
    for number, (name, facts) in enumerate(document["frames"].items()):
        sums = {kind: {key: np.array(row) for key, row in groups.items()} for kind, groups in facts["sums"].items()}
        frames[name] = FrameTable()
        frames[name].append(stored[f"rows_{number}"], sums, facts["estimated"])
    return SliceResult(
        frames=frames,
        gallery=Gallery.from_arrays(document["gallery"], stored),
        problems=Counter(document["problems"]),
        errors=document["errors"],
        models=document["models"],
    )
