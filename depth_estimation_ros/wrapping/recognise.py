"""Say which preset a file looks like, by its name and by its inputs and outputs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from depth_estimation_ros.wrapping.preset import Preset
from depth_estimation_ros.wrapping.presets import PRESETS

_LIKELY = 4
_MOST = 3


@dataclass(frozen=True)
class Signature:
    """
    What a file shows of a network.

    Parameters
    ----------
    path : pathlib.Path
        Of the file.
    inputs, outputs : sequence of tuple
        Name and shape of each; what is no number in a shape is a free axis.
    """

    path: Path
    inputs: Sequence[tuple[str, Sequence[object]]]
    outputs: Sequence[tuple[str, Sequence[object]]]


def likely_presets(signature: Signature) -> list[Preset]:
    """Return the presets that a file looks like, the likeliest first; those that are as likely, and no others."""
    scores = {preset.name: _score(preset, signature) for preset in PRESETS.values()}
    best = max(scores.values())
    return [PRESETS[name] for name, score in scores.items() if score == best] if best >= _LIKELY else []


def advice(signature: Signature) -> str:
    """Say in a clause what to do with a file that has no metadata."""
    found = likely_presets(signature)
    file = shlex.quote(str(signature.path))
    if not found:
        return (
            f"a network from elsewhere becomes a model with `wrap_model {file} --preset NAME --output MODEL.onnx` "
            "(`wrap_model --list` names the presets), a trained one with `python -m training.export`"
        )
    first, *others = found[:_MOST]
    likeness = " or ".join(f"{preset.name} ({preset.title})" for preset in (first, *others))
    return f"it looks like {likeness}: `wrap_model {file} --preset {first.name} --output MODEL.onnx`"


def _score(preset: Preset, signature: Signature) -> int:
    """Count what speaks for a preset, the file's name most, and what against it."""
    inputs, outputs = dict(signature.inputs), dict(signature.outputs)
    name = f"{signature.path.parent.name}/{signature.path.stem}".lower()
    score = 6 if re.search(preset.files, name) else 0
    score += 2 * _rank(preset.inputs, inputs) + 3 * _rank(preset.outputs, outputs)
    for names in (preset.mask.outputs if preset.mask else (), preset.scale, preset.own_focal):
        if names:
            score += 3 if outputs.keys() & set(names) else -3
    score += sum(1 if other in inputs else 0 for other in preset.freeze)
    known = {*preset.outputs, *preset.scale, *preset.own_focal, *(preset.mask.outputs if preset.mask else ())}
    score -= min(2, len(outputs.keys() - known))
    image = next((shape for shape in inputs.values() if len(shape) in (4, 5)), ())
    if len(image) >= 4:
        score += _layout(preset, image)
    return score


def _rank(wanted: Sequence[str], there: Mapping[str, object]) -> int:
    """Return 2 where the first of some names is there, 1 where another is."""
    return 2 if wanted[0] in there else 1 if there.keys() & set(wanted) else 0


def _layout(preset: Preset, shape: Sequence[object]) -> int:
    channels_last = shape[-1] == 3
    if channels_last != (preset.layout == "nhwc"):
        return -4
    sides = [side for side in (shape[-3:-1] if channels_last else shape[-2:]) if isinstance(side, int)]
    if len(sides) < 2:
        return 0
    which, pixels = preset.side
    return 1 if (min(sides) if which == "short" else max(sides)) == pixels else 0
