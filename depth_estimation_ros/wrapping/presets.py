"""
The networks that ``wrap_model`` knows, one declaration each.

Focal lengths are those of the training cameras: NYU Depth v2 has 518.86 pixels at 640x480.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from depth_estimation_ros.support.sentences import choices, quoted
from depth_estimation_ros.wrapping.depth_anything import DEPTH_ANYTHING
from depth_estimation_ros.wrapping.preset import RELATIVE, Focal, Mask, Preset

_NYU = Focal(518.86, 640, 480)
# Half a frame of NYU, and its centre.
_NYU_CENTRE = Focal(259.58, 304, 228)

_MIDAS = Preset(
    name="midas_small",
    title="MiDaS v2.1 small",
    kind="inverse_relative",
    licence="MIT",
    commercial_use=True,
    source="github.com/isl-org/MiDaS, release v2_1: model-small.onnx",
    training_data="ten RGB-D data sets",
    expect=f"{RELATIVE}. Exports by others want --normalisation imagenet",
    inputs=("0", "input", "input.1"),
    outputs=("797", "output"),
    normalisation="unit",
    side=("short", 256),
    multiple=32,
    files=r"model-small|midas.*small",
)

_PRESETS = (
    *DEPTH_ANYTHING,
    Preset(
        name="metric3d_v2_s",
        title="Metric3D v2 (Small; Large and Giant alike)",
        kind="canonical",
        licence="BSD-2-Clause code; the authors ask for mail before commercial use of the weights",
        commercial_use=None,
        source="github.com/YvanYin/Metric3D (onnx/); huggingface.co/onnx-community/metric3d-vit-small",
        training_data="16 million images of many cameras",
        expect="metres for every camera whose focal length is known",
        inputs=("image", "pixel_values"),
        outputs=("pred_depth", "predicted_depth"),
        normalisation="raw",
        fit="pad",
        side=("short", 616),
        multiple=28,
        focal=Focal(1000.0),
        max_depth=300.0,
        files=r"metric.?3d",
    ),
    Preset(
        name="moge2_s",
        title="MoGe-2 (Small; Base and Large alike)",
        kind="points",
        licence="MIT, a part Apache-2.0",
        commercial_use=True,
        source="huggingface.co/Ruicheng/moge-2-vits-normal-onnx",
        training_data="the data of MoGe-2",
        expect="metres for the camera of --horizontal-fov, others approximately; no depth where its mask has none",
        inputs=("image",),
        outputs=("points",),
        normalisation="unit",
        side=("short", 480),
        multiple=2,
        freeze=MappingProxyType({"num_tokens": 1800}),
        mask=Mask(("mask",), 0.5, "above"),
        scale=("metric_scale", "scale"),
        solve_shift=True,
        files=r"moge",
    ),
    Preset(
        name="fastdepth",
        title="FastDepth",
        kind="metric",
        licence="MIT",
        commercial_use=True,
        source="github.com/PINTO0309/PINTO_model_zoo, 146_FastDepth",
        training_data="NYU Depth v2",
        expect="NYU's rooms and camera: focal_normalisation crop shows it what it knows",
        inputs=("input", "input.1", "0", "image"),
        normalisation="unit",
        side=("short", 224),
        multiple=32,
        # The middle of 250 rows of a frame.
        focal=Focal(270.24, 304, 228),
        max_depth=10.0,
        clip=10.0,
        files=r"fast.?depth",
    ),
    Preset(
        name="zoed_n",
        title="ZoeDepth-N (ZoeD_M12_N)",
        kind="metric",
        licence="MIT",
        commercial_use=True,
        source="ailia-models, depth_estimation/zoe_depth: ZoeD_M12_N.onnx",
        training_data="twelve RGB-D data sets, then NYU Depth v2",
        expect="NYU's camera",
        outputs=("metric_depth", "depth", "output"),
        normalisation="unit",
        side=("short", 384),
        multiple=32,
        focal=_NYU,
        max_depth=10.0,
        clip=10.0,
        files=r"zoe.?d.*_n(?!k)|zoedepth.?nyu",
    ),
    Preset(
        name="fcrn_nyu",
        title="FCRN (ResNet-50 with up-projection)",
        kind="metric",
        licence="BSD-2-Clause",
        commercial_use=True,
        source="ailia-models, depth_estimation/fcrn-depthprediction: ResNet50UpProj.onnx",
        training_data="NYU Depth v2",
        expect="NYU's rooms and camera; `fetch_model fcrn-nyu` makes the same network from its authors' weights",
        inputs=("Placeholder", "Placeholder:0", "input", "image"),
        normalisation="raw",
        layout="nhwc",
        side=("short", 228),
        multiple=4,
        focal=_NYU_CENTRE,
        max_depth=10.0,
        clip=10.0,
        files=r"resnet50upproj|fcrn",
    ),
    Preset(
        name="unidepth2",
        title="UniDepth v2",
        kind="points",
        licence="CC-BY-NC-4.0",
        commercial_use=False,
        source="github.com/lpiccinelli-eth/UniDepth, unidepthv2/export.py",
        training_data="the data of UniDepth v2",
        expect="metres for every camera; a file with the input rays is made for the camera of --horizontal-fov",
        inputs=("rgbs", "image"),
        outputs=("pts_3d",),
        side=("short", 462),
        freeze=MappingProxyType({"rays": "rays"}),
        own_focal=("intrinsics",),
        max_depth=200.0,
        files=r"unidepth",
    ),
    Preset(
        name="depth_pro",
        title="Depth Pro, exported with its canonical inverse depth",
        kind="canonical_inverse",
        licence="Apple Machine Learning Research Model (research only)",
        commercial_use=False,
        source="github.com/yester31/Monocular_Depth_Estimation_TRT; an output 'depth' beside 'fov' is inverse as well",
        training_data="the data of Depth Pro",
        expect="metres for every camera whose focal length is known; far from a robot's rate on a CPU",
        inputs=("input", "image", "pixel_values"),
        outputs=("canonical_inverse_depth", "depth"),
        normalisation="half",
        side=("short", 1536),
        multiple=1536,
        focal=Focal(1.0, 1, 1, horizontal_only=True),
        max_depth=10000.0,
        files=r"depth.?pro",
    ),
    Preset(
        name="depth_pro_hf",
        title="Depth Pro, with its own focal length",
        kind="metric",
        licence="Apple Machine Learning Research Model (research only); the file is tagged apple-ascl",
        commercial_use=False,
        source="huggingface.co/onnx-community/DepthPro-ONNX (model_fp16.onnx: float32 is over 2 GB)",
        training_data="the data of Depth Pro",
        expect="as depth_pro: its own focal length is divided out, yours takes its place",
        inputs=("pixel_values",),
        outputs=("predicted_depth",),
        normalisation="half",
        side=("short", 1536),
        multiple=1536,
        focal=Focal(1.0, 1, 1, horizontal_only=True),
        max_depth=10000.0,
        own_focal=("focallength_px",),
        files=r"depth.?pro",
    ),
    _MIDAS,
    replace(
        _MIDAS,
        name="midas_large",
        title="MiDaS v2.1 large",
        source="github.com/isl-org/MiDaS, release v2_1: model-f6b98070.onnx",
        expect=RELATIVE,
        outputs=("1080", "output"),
        side=("short", 384),
        files=r"model-f6b98070|midas.*large",
    ),
    Preset(
        name="distill",
        title="Distill Any Depth",
        kind="inverse_relative",
        licence="MIT code, weights tagged apache-2.0; distilled in part from non-commercial networks",
        commercial_use=None,
        source="github.com/yester31/Monocular_Depth_Estimation_TRT; huggingface.co/FuryTMP",
        training_data="predictions of other networks",
        expect=RELATIVE,
        inputs=("input", "image", "pixel_values"),
        outputs=("output", "depth", "predicted_depth"),
        files=r"distill",
    ),
)

PRESETS: MappingProxyType[str, Preset] = MappingProxyType({preset.name: preset for preset in _PRESETS})
"""By name."""

REFUSED = MappingProxyType(
    {
        "marigold": "it is three networks that run several times an image, far from a robot's rate",
        "depthfm": "it is an equation solved in several steps, whose result has another scale for every image",
        "patchfusion": "it runs two networks over the tiles of a 4K image, in a loop outside any graph",
        "ess": "it takes a stereo pair, not one camera's image",
        "video_depth_anything": "it takes 32 images at a time",
        "prompt_depth_anything": "it takes a lidar's depth as a second image",
        "da3_nested": "it is two networks that are joined outside any graph",
        "unidepth1": "there is no way to export it to ONNX; take unidepth2",
        "moge1": "there is no documented export to ONNX; take moge2_s",
    }
)
"""Networks that cannot be one graph at a robot's rate, and why."""


def preset_of(name: str) -> Preset:
    """
    Return a preset by its name.

    Raises
    ------
    ValueError
        If there is none of that name; the text says why where it cannot be.
    """
    key = name.strip().lower().replace("-", "_")
    if key in PRESETS:
        return PRESETS[key]
    for refused, why in REFUSED.items():
        if key == refused or key.replace("_", "") == refused.replace("_", ""):
            raise ValueError(f"{quoted(name)} cannot become a model: {why}")
    raise ValueError(f"preset {quoted(name)} is unknown; there are {choices(PRESETS, name)}; `wrap_model --list`")
