"""
``wrap_model NETWORK.onnx --preset NAME --output MODEL.onnx``: a published network as a model of this package.

The model looks at rendered rooms before it is written, and what is wrong with it is said.
"""

from __future__ import annotations

from functools import partial

if __name__ == "__main__":  # before the imports, as a package may be missing
    from depth_estimation_ros import entry

    entry.wrap_model()

import argparse
import math
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from depth_estimation_ros.backends import Backend, BackendError, create_backend
from depth_estimation_ros.model import Model, load_model
from depth_estimation_ros.support.sentences import quoted, reason
from depth_estimation_ros.tools.wrap_options import add_options, described, listing, preset_from, size_from
from depth_estimation_ros.wrapping.errors import WrapError
from depth_estimation_ros.wrapping.foreign import Foreign, read
from depth_estimation_ros.wrapping.macs import count_macs
from depth_estimation_ros.wrapping.preset import Preset
from depth_estimation_ros.wrapping.proof import Infer, Proof, prove, rooms
from depth_estimation_ros.wrapping.recognise import Signature, likely_presets
from depth_estimation_ros.wrapping.wrap import DEFAULT_IMAGE, Wrapped, wrap


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; a user's mistake ends with one sentence. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="wrap_model", description=__doc__.strip())
    add_options(parser)
    options = parser.parse_args(arguments)
    if options.list:
        print(listing())
        return 0
    if options.network is None or options.output is None:
        parser.error("give the network's ONNX file and --output MODEL.onnx, or --list")
    try:
        for line in _wrap(options):
            print(line)
    except (ValueError, BackendError, OSError, MemoryError) as error:
        print(f"wrap_model: {reason(error) if isinstance(error, OSError | MemoryError) else error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("wrap_model: interrupted, nothing was written", file=sys.stderr)
        return 130
    return 0


def _wrap(options: argparse.Namespace) -> list[str]:
    """Do what the options say; returns what there is to tell."""
    output: Path = options.output
    if not output.parent.is_dir():
        raise WrapError(f"folder {quoted(output.parent)} does not exist")
    if output.is_dir():
        raise WrapError(f"{quoted(output)} is a folder; name the file to write")
    if output.exists() and options.network.exists() and output.samefile(options.network):
        raise WrapError(f"{quoted(output)} is the network itself; give another name for the output")
    preset = preset_from(options)
    foreign = read(options.network)
    wrapped_as = partial(
        wrap,
        foreign,
        name=options.name or output.stem,
        image=size_from("--image-size", options.image_size) or DEFAULT_IMAGE,
        size=size_from("--size", options.size),
        horizontal_fov=None if options.horizontal_fov is None else math.radians(options.horizontal_fov),
    )
    wrapped = wrapped_as(preset)
    if options.image_size and wrapped.frame.stretched and (preset.focal is not None or preset.is_relative):
        size = f"{wrapped.frame.width}x{wrapped.frame.height}"
        raise WrapError(
            f"the network takes images of {size} only, to which all are stretched: "
            "--image-size changes nothing, leave it out, or pad with --fit pad"
        )
    with tempfile.TemporaryDirectory(dir=output.parent) as folder:
        draft = Path(folder) / output.name
        draft.write_bytes(wrapped.model.SerializeToString())
        model = load_model(draft)
        backend, notes = _engine(model, Path(folder))

        def variant(normalisation: str) -> Infer:
            other = wrapped_as(replace(preset, normalisation=normalisation))
            draft_of_variant = Path(folder) / "variant.onnx"
            draft_of_variant.write_bytes(other.model.SerializeToString())
            return _infer(create_backend(load_model(draft_of_variant), "cpu"))

        proof = prove(_infer(backend), preset, rooms(wrapped.info), variant)
        if proof.failures and not options.force:
            raise WrapError(
                f"{quoted(options.network)} is not written as a model: {proof.failures[0]}; --force writes it"
            )
        os.replace(draft, output)
    likely = _other_preset(foreign, preset) if options.preset else []
    notes = [*likely, *wrapped.notes, *notes, *proof.failures, *proof.warnings]
    return [*_summary(output, wrapped, proof, backend), *(f"note: {note}" for note in notes)]


def _engine(model: Model, folder: Path) -> tuple[Backend, list[str]]:
    """Return the engine that a node would take here, or ONNX Runtime and why it is not that one."""
    try:
        return create_backend(model, "auto"), []
    except BackendError as error:
        backend = create_backend(model, "cpu")
        return backend, [
            f"only ONNX Runtime runs it here, so set the backend to cpu ({str(error).replace(str(folder), '')})"
        ]


def _infer(backend: Backend) -> Callable:
    return lambda images: backend.infer(images)["depth"]


def _other_preset(foreign: Foreign, preset: Preset) -> list[str]:
    ports = [[(port.name, port.shape) for port in ports] for ports in (foreign.inputs, foreign.outputs)]
    likely = likely_presets(Signature(foreign.path, *ports))
    if not likely or preset.name in [other.name for other in likely]:
        return []
    return [
        f"by its name, inputs and outputs it looks like {likely[0].name} ({likely[0].title}) rather than {preset.name}"
    ]


def _summary(output: Path, wrapped: Wrapped, proof: Proof, backend: Backend) -> list[str]:
    info, frame = wrapped.info, wrapped.frame
    size = f"image {frame.width}x{frame.height}"
    if (frame.width, frame.height) != (frame.network_width, frame.network_height):
        size += f" in {frame.network_width}x{frame.network_height}"
    if not info.is_relative:
        size += f", focal length {' x '.join(f'{pixels:.0f}' for pixels in dict.fromkeys(info.focal_lengths))} px"
    lines = [
        f"{output}: {output.stat().st_size / 1e6:.1f} MB, {described(info.kind)}, {size}",
        f"{count_macs(wrapped.model) / 1e9:.2f} GMAC, {proof.milliseconds:.0f} ms here ({backend.name})",
    ]
    if not math.isnan(proof.correlation):
        ratio = "" if math.isnan(proof.ratio) else f", median of depth over truth {proof.ratio:.2f}"
        lines.append(f"in rendered rooms: rank correlation with the true depth {proof.correlation:+.2f}{ratio}")
    unclear = "" if info.commercial_use is not None else "; whether commercial use is allowed is not clear"
    lines.append(f"licence of the weights: {info.terms}{unclear}")
    return lines
