"""The options of ``wrap_model``: a preset, and every choice in it by an option of its own."""

from __future__ import annotations

import argparse
import re
from dataclasses import fields, replace
from pathlib import Path

from depth_estimation_ros.camera import WIDEST_FOV
from depth_estimation_ros.support.sentences import quoted
from depth_estimation_ros.wrapping.errors import WrapError
from depth_estimation_ros.wrapping.preset import CHANNELS, FITS, KINDS, LAYOUTS, NORMALISATIONS, Focal, Mask, Preset
from depth_estimation_ros.wrapping.presets import PRESETS, REFUSED, preset_of

_DESCRIBED = {
    "metric": "metres",
    "inverse_relative": "relative inverse depth (metres by an anchor)",
    "depth_relative": "relative depth (metres by an anchor)",
}
_COMMERCIAL = {"yes": True, "no": False, "unknown": None}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("network", nargs="?", type=Path, help="the network's ONNX file; its weights' files beside it")
    parser.add_argument("--preset", metavar="NAME", help="what is known of the network; the options below go before it")
    parser.add_argument("--output", type=Path, metavar="MODEL.onnx", help="ONNX file to write")
    parser.add_argument("--list", action="store_true", help="list the presets, and end")
    parser.add_argument("--force", action="store_true", help="write it even if it fails in the rendered rooms")
    parser.add_argument("--name", help="name of the model; the output's file name without it")
    made = parser.add_argument_group("the camera and the size")
    made.add_argument("--image-size", metavar="WxH", help="of your camera, for the aspect (default: 640x480)")
    made.add_argument("--size", metavar="WxH", help="of the network's input, where the file leaves it free")
    made.add_argument(
        "--horizontal-fov",
        type=float,
        metavar="DEGREES",
        help="of your camera, for networks made for one (default: 60)",
    )
    network = parser.add_argument_group("the network; from the preset, else")
    network.add_argument("--input", metavar="NAME", help="input that takes the image")
    network.add_argument("--depth", metavar="NAME", help="output that gives depth")
    network.add_argument("--kind", choices=KINDS, help="what its depth is")
    network.add_argument(
        "--normalisation",
        choices=NORMALISATIONS,
        help="of the image, outside of the network (raw: 0 to 255, unit: 0 to 1)",
    )
    network.add_argument("--channels", choices=CHANNELS, help="order of the colours (default: rgb)")
    network.add_argument("--layout", choices=LAYOUTS, help="of its input (default: nchw)")
    network.add_argument(
        "--fit", choices=FITS, help="how images get the size of an input of one size (default: stretch)"
    )
    network.add_argument("--multiple", type=int, help="of which both sides of a free input are multiples")
    network.add_argument(
        "--focal-length", type=float, metavar="PX", help="at the input's size, of its (canonical) camera"
    )
    network.add_argument("--focal-length-y", type=float, metavar="PX", help="the vertical one, where it is another")
    network.add_argument("--min-depth", type=float, metavar="M", help="nearest depth, metres (default: 0.1)")
    network.add_argument("--max-depth", type=float, metavar="M", help="farthest depth, metres (default: 100)")
    network.add_argument("--clip", type=float, metavar="M", help="set farther depths to this, metres; 0 keeps all")
    network.add_argument(
        "--mask", metavar="NAME>T", help="output that says where there is depth, e.g. 'mask>0.5', 'sky<0.3'"
    )
    network.add_argument("--scale", metavar="NAME", help="output that depth is to be multiplied by")
    network.add_argument(
        "--own-focal", metavar="NAME", help="output with its own focal length or camera matrix, pixels"
    )
    network.add_argument("--solve-shift", action="store_true", default=None, help="points lack a shift along the axis")
    network.add_argument(
        "--freeze", action="append", metavar="NAME=VALUE", help="a further input's number; 'rays' for rays"
    )
    network.add_argument("--licence", help="of the weights")
    network.add_argument("--commercial-use", choices=_COMMERCIAL, help="whether that allows commercial use")
    network.add_argument("--training-data", help="what it was trained on, in words")


def preset_from(options: argparse.Namespace) -> Preset:
    """
    Return the preset that options name, with what other options say in place of its own.

    Raises
    ------
    ValueError
        If it is unknown, an option has no sense, or one is missing where there is no preset.
    """
    said = {
        f.name: getattr(options, f.name)
        for f in fields(Preset)
        if f.name not in ("name", "scale", "mask", "own_focal", "freeze") and getattr(options, f.name, None) is not None
    }
    for name, option in (("inputs", "input"), ("outputs", "depth"), ("scale", "scale"), ("own_focal", "own_focal")):
        if (value := getattr(options, option)) is not None:
            said[name] = (value,)
    if options.commercial_use is not None:
        said["commercial_use"] = _COMMERCIAL[options.commercial_use]
    if options.mask is not None:
        said["mask"] = _mask(options.mask)
    if options.focal_length is not None:
        said["focal"] = Focal(options.focal_length, pixels_y=options.focal_length_y)
    elif options.focal_length_y is not None:
        raise WrapError("--focal-length-y goes with --focal-length")
    preset = preset_of(options.preset) if options.preset else _unknown(options, said)
    if options.freeze:
        said["freeze"] = {**preset.freeze, **dict(_frozen(text) for text in options.freeze)}
    if said.get("multiple", 1) < 1:
        raise WrapError(f"--multiple must be at least 1, got {said['multiple']}")
    if options.horizontal_fov is not None:
        if not 0 < options.horizontal_fov <= WIDEST_FOV:
            raise WrapError(
                f"--horizontal-fov must lie between 0 and {WIDEST_FOV} degrees, got {options.horizontal_fov:g}"
            )
        if said.get("focal", preset.focal) is not None or preset.is_relative:
            raise WrapError(
                f"--horizontal-fov changes nothing: {preset.name} is right for cameras of every field of view"
            )
    return replace(preset, **said)


def size_from(option: str, text: str | None) -> tuple[int, int] | None:
    """Read WIDTHxHEIGHT."""
    if text is None:
        return None
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if not match:
        raise WrapError(f"{option} is WIDTHxHEIGHT in pixels, as 640x480, not {quoted(text)}")
    return int(match[1]), int(match[2])


def described(kind: str) -> str:
    """Return a kind of depth in words."""
    return _DESCRIBED[kind]


def listing() -> str:
    """Return all presets, and what there is none for, one a line."""
    width = max(len(name) for name in PRESETS)
    use = {True: "", False: ", no commercial use", None: ", commercial use not clear"}
    lines = [f"{p.name:{width}}  {p.title} ({p.kind}; {p.licence}{use[p.commercial_use]})" for p in PRESETS.values()]
    return "\n".join([*lines, "", "not possible:", *(f"{name:{width}}  {why}" for name, why in REFUSED.items())])


def _unknown(options: argparse.Namespace, said: dict) -> Preset:
    """Return what is known of a network without a preset."""
    needed = {"--kind": options.kind, "--normalisation": options.normalisation}
    if options.kind in ("metric", "canonical", "canonical_inverse") and options.own_focal is None:
        needed["--focal-length"] = options.focal_length
    if missing := [option for option, value in needed.items() if value is None]:
        raise WrapError(f"give a --preset (`wrap_model --list`), or {', '.join(missing)}")
    return Preset(
        name=options.network.stem,
        title=options.network.stem,
        kind=options.kind,
        licence="not stated",
        commercial_use=None,
        source="",
        training_data="not stated",
        expect="",
        inputs=(),
        outputs=(),
        multiple=1,
    )


def _mask(text: str) -> Mask:
    match = re.fullmatch(r"(.+)([<>])([-+.\deE]+)", text)
    try:
        if match is None:
            raise ValueError
        return Mask((match[1].strip(),), float(match[3]), "below" if match[2] == "<" else "above")
    except ValueError:
        raise WrapError(
            f"--mask is an output and a threshold, as 'mask>0.5' or 'sky<0.3', not {quoted(text)}"
        ) from None


def _frozen(text: str) -> tuple[str, object]:
    name, _, value = text.partition("=")
    try:
        return name, value if value == "rays" else float(value) if "." in value else int(value)
    except ValueError:
        raise WrapError(f"--freeze is NAME=NUMBER or NAME=rays, not {quoted(text)}") from None
