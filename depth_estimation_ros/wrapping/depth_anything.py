"""
Depth Anything, versions 1 to 3, as ``wrap_model`` knows it; see `presets`.

The training cameras: Hypersim has 886.81 pixels at 1024x768, Virtual KITTI 2 has 725.0087 at 1242x375.
"""

from __future__ import annotations

from dataclasses import replace

from depth_estimation_ros.wrapping.preset import RELATIVE, Focal, Mask, Preset

_HYPERSIM = Focal(886.81, 1024, 768)
_VKITTI = Focal(725.0087, 1242, 375)
_ONNX = "github.com/fabio-sim/Depth-Anything-ONNX (releases)"

_DA2_S = Preset(
    name="da2_s",
    title="Depth Anything V2 Small",
    kind="inverse_relative",
    licence="Apache-2.0",
    commercial_use=True,
    source=f"{_ONNX}; huggingface.co/onnx-community",
    training_data="595 thousand synthetic and 62 million real images, the latter labelled by a larger network",
    expect=RELATIVE,
    inputs=("image", "pixel_values", "l_x_", "input"),
    files=r"depth.?anything.?v2.*(vits|small)(?!.*(indoor|outdoor|hypersim|vkitti|metric))",
)
_HYPERSIM_S = replace(
    _DA2_S,
    name="da2_hypersim_s",
    title="Depth Anything V2 Small, metric, indoors (Hypersim)",
    kind="metric",
    training_data="Depth Anything V2, then Hypersim (rendered rooms)",
    expect="scale off by 10 to 25 % on other cameras: an anchor pays off",
    focal=_HYPERSIM,
    max_depth=20.0,
    clip=20.0,
    files=r"depth.?anything.?v2.*(?=.*(vits|small)).*(indoor|hypersim)",
)
_VKITTI_S = replace(
    _HYPERSIM_S,
    name="da2_vkitti_s",
    title="Depth Anything V2 Small, metric, outdoors (Virtual KITTI 2)",
    training_data="Depth Anything V2, then Virtual KITTI 2 (rendered streets)",
    focal=_VKITTI,
    max_depth=80.0,
    clip=80.0,
    files=r"depth.?anything.?v2.*(?=.*(vits|small)).*(outdoor|vkitti)",
)


def _larger(preset: Preset) -> list[Preset]:
    """Return the larger networks of Depth Anything V2, whose weights have another licence."""
    return [
        replace(
            preset,
            name=preset.name.removesuffix("_s") + f"_{size[0].lower()}",
            title=preset.title.replace("Small", size),
            licence="CC-BY-NC-4.0 by its authors' README; some published files are tagged apache-2.0",
            commercial_use=False,
            files=preset.files.replace("vits|small", f"vit{size[0].lower()}|{size.lower()}"),
        )
        for size in ("Base", "Large")
    ]


DEPTH_ANYTHING = (
    _HYPERSIM_S,
    *_larger(_HYPERSIM_S),
    _VKITTI_S,
    *_larger(_VKITTI_S),
    _DA2_S,
    *_larger(_DA2_S),
    Preset(
        name="da1",
        title="Depth Anything (V1)",
        kind="inverse_relative",
        licence="Apache-2.0",
        commercial_use=True,
        source=f"{_ONNX}; huggingface.co/Xenova/depth-anything-small-hf",
        training_data="1.5 million labelled and 62 million unlabelled images",
        expect=RELATIVE,
        files=r"depth.?anything.?(v1|vit|small|base|large)",
    ),
    Preset(
        name="da3_metric_l",
        title="Depth Anything 3 Metric Large",
        kind="canonical",
        licence="Apache-2.0",
        commercial_use=True,
        source="github.com/ika-rwth-aachen/ros2-depth-anything-v3-trt; huggingface.co/Heliosoph/da3metric-large-onnx",
        training_data="the data of Depth Anything 3",
        expect="metres for every camera whose focal length is known; sky has no depth",
        side=("long", 504),
        focal=Focal(300.0),
        max_depth=200.0,
        mask=Mask(("sky",), 0.3, "below"),
        files=r"(da3|depth.?anything.?(v?3)).*metric",
    ),
    Preset(
        name="da3_mono_l",
        title="Depth Anything 3 Mono Large",
        kind="depth_relative",
        licence="Apache-2.0",
        commercial_use=True,
        source="huggingface.co/ohaiibuzzle/DA3-ONNX",
        training_data="the data of Depth Anything 3",
        expect="metres by an anchor only: far is large, scale unknown; sky has no depth",
        side=("long", 504),
        mask=Mask(("sky",), 0.3, "below"),
        files=r"da3.*mono|depth.?anything.?v?3.*mono",
    ),
    Preset(
        name="da3_s",
        title="Depth Anything 3 Small (Base alike)",
        kind="depth_relative",
        licence="Apache-2.0 (Small, Base); Large and Giant CC-BY-NC-4.0",
        commercial_use=None,
        source="huggingface.co/onnx-community/depth-anything-v3-small",
        training_data="the data of Depth Anything 3",
        expect="metres by an anchor only: far is large, scale unknown",
        side=("long", 504),
        files=r"da3.*(small|base|large)|depth.?anything.?v?3.*(small|base|large)(?!.*metric)",
    ),
)
