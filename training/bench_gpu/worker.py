"""
The process that measures. It sends what it found as dictionaries, one by one, so that nothing is lost when it ends.

Messages, by their keys: ``device`` and ``software``; ``plan``, the names of the candidates; ``begun``, one of these;
``row``; ``ceilings``; ``without``, a sentence about what cannot be measured; ``done``.
"""

from __future__ import annotations

import gc
import logging
import platform
from collections.abc import Callable
from contextlib import suppress

import numpy as np
import torch

from training.bench_gpu.engines import Candidate, candidates
from training.bench_gpu.measure import Memory, difference, sentence_of, timing
from training.bench_gpu.peaks import measure_ceilings
from training.bench_gpu.prepared import read
from training.bench_gpu.task import Task

LOST = 3
"""Exit status after a fault of the GPU: this process can no longer use it, but a new one may."""


def work(task: Task, send: Callable[[dict], None]) -> int:
    """Measure every candidate, and return the exit status of the process."""
    logging.getLogger().setLevel(logging.ERROR)
    if task.device == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"this machine has no GPU that PyTorch {torch.__version__} can use; `--device cpu` tries the command "
            "without one, and `python -m training.bench` compares engines on the CPU"
        )
    if task.device == "cpu":
        torch.set_num_threads(1)  # on a busy machine, threads wait for one another
    device = torch.device(task.device)
    send({"device": _name(device), "software": _software(device)})
    missing: list[str] = []
    found = candidates(read(task.folder), device, task.modes, task.batches, task.temporary, missing.append)
    send({"plan": [candidate.name for candidate in found]})
    ceilings_due = task.ceilings
    for sentence in missing:
        send({"without": sentence})
    for candidate in found:
        if candidate.name in task.finished:
            continue
        send({"begun": candidate.name})
        _measure(candidate, device, send)
        gc.collect()
        if device.type == "cuda":
            try:
                torch.cuda.synchronize()
                torch.cuda.empty_cache()
            except Exception:  # every call fails after a fault
                return LOST
        if ceilings_due and candidate.batches == task.batches:
            ceilings, missing = measure_ceilings(device)
            send({"ceilings": ceilings.facts()})
            for sentence in missing:
                send({"without": sentence})
            ceilings_due = False
    send({"done": True})
    return 0


def _measure(candidate: Candidate, device: torch.device, send: Callable[[dict], None]) -> None:
    """Measure one candidate at every batch size, and send a row for each."""
    memory = Memory(device)
    try:
        frames, wanted = candidate.prepared.reference()
        backend = candidate.make()
    except Exception as error:  # engines raise any exception, and the others must still be measured
        send({"without": f"{candidate.name}: {sentence_of(error)}"})
        return
    about = {
        "network": candidate.prepared.name,
        "engine": candidate.engine,
        "precision": candidate.precision,
        "decoder": candidate.decoder,
    }
    figures: dict = dict(getattr(backend, "seconds", {}))
    for batch in candidate.batches:
        row = {**about, "batch": batch}
        try:
            if "mean_difference" not in figures:
                figures |= difference(backend, frames, wanted)
            images = np.resize(frames, (batch, *frames.shape[1:]))
            memory.begin()
            for _ in range(2):
                backend.infer(images)
            row |= figures | memory.taken()
            row |= timing(backend, images, device)
        except Exception as error:  # see above
            send({"row": {**row, "ended": sentence_of(error)}})
            break
        send({"row": {**row, "ended": ""}})
    with suppress(Exception):  # after a fault of the GPU, releasing memory fails too
        if hasattr(backend, "release"):
            backend.release()


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name() if device.type == "cuda" else f"CPU ({platform.machine()})"


def _software(device: torch.device) -> dict[str, str]:
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    with suppress(ImportError):
        import onnxruntime

        versions["onnxruntime"] = onnxruntime.__version__
    if device.type == "cuda":
        versions |= {"cuda": torch.version.cuda, "cudnn": str(torch.backends.cudnn.version())}
        versions["compute_capability"] = "{}.{}".format(*torch.cuda.get_device_capability())
    return versions
