"""
Stand-ins for published networks: inputs and outputs (names, ranks, free axes, types, opset) and little arithmetic.

All weigh the channels of each pixel as they get them. So their depth is known by hand, and says whether order of the
channels, normalisation, layout, border and size are as the network wants them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, HALF, INT64 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT64
WEIGHTS = np.float32([0.3, 0.2, 0.1])
MEAN, DEVIATION = np.float64([0.485, 0.456, 0.406]), np.float64([0.229, 0.224, 0.225])

NORMALISED: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "imagenet": lambda rgb: (rgb / 255 - MEAN) / DEVIATION,
    "half": lambda rgb: (rgb / 255 - 0.5) / 0.5,
    "unit": lambda rgb: rgb / 255,
    "raw": lambda rgb: rgb / 1.0,
}


def weighed(rgb: np.ndarray, normalised: str, offset: float, scale: float = 1.0) -> np.ndarray:
    """Return what `Graph.plane` computes of an image uint8 [h, w, 3], by hand: [h, w]."""
    return scale * (NORMALISED[normalised](rgb.astype(np.float64)) @ WEIGHTS) + offset


class Graph:
    """A graph under construction."""

    def __init__(self, opset: int, name: str, shape: Sequence[int | str], dtype: int = FLOAT):
        self.opset, self.dtype = opset, dtype
        self.nodes, self.weights, self.outputs = [], [], []
        self.inputs = [helper.make_tensor_value_info(name, dtype, shape)]

    def add(self, operator: str, inputs: Sequence[str], output: str = "", **attributes) -> str:
        output = output or f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def weight(self, values, dtype=None) -> str:
        dtype = dtype or helper.tensor_dtype_to_np_dtype(self.dtype)
        self.weights.append(numpy_helper.from_array(np.asarray(values, dtype), f"w{len(self.weights)}"))
        return self.weights[-1].name

    def plane(self, offset: float, scale: float = 1.0, channels: int = 1) -> str:
        """Weigh the channels of the NCHW image: [N, channels, H, W], all the same."""
        kernel = np.tile((scale * WEIGHTS).reshape(1, 3, 1, 1), (channels, 1, 1, 1))
        image = self.inputs[0].name
        return self.add("Conv", [image, self.weight(kernel), self.weight([offset] * channels)])

    def without_axis(self, value: str, axis: int, output: str = "") -> str:
        if self.opset < 13:
            return self.add("Squeeze", [value], output, axes=[axis])
        return self.add("Squeeze", [value, self.weight([axis], np.int64)], output)

    def embedding(self, value: str) -> str:
        """Add what stands for a position embedding, brought to the image's size; it adds 0.25."""
        shape = self.add("Shape", [value])
        sides = self.add("Slice", [shape, *(self.weight([i], np.int64) for i in (2, 4))])
        size = self.add("Concat", [self.weight([1, 1], np.int64), sides], axis=0)
        small = self.weight(np.full((1, 1, 4, 4), 0.25))
        nothing = "" if self.opset >= 13 else self.weight([], np.float32)
        resized = self.add("Resize", [small, nothing, nothing if self.opset < 13 else "", size], mode="linear")
        return self.add("Add", [value, resized])

    def output(self, value: str, name: str, shape: Sequence[int | str], dtype: int | None = None) -> None:
        self.add("Identity", [value], name)
        self.outputs.append(helper.make_tensor_value_info(name, dtype or self.dtype, shape))

    def model(self, ir_version: int = 8, weights_are_inputs: bool = False) -> onnx.ModelProto:
        inputs = list(self.inputs)
        if weights_are_inputs:
            inputs += [helper.make_tensor_value_info(w.name, w.data_type, w.dims) for w in self.weights]
        graph = helper.make_graph(self.nodes, "published", inputs, self.outputs, self.weights)
        opsets = [helper.make_opsetid("", self.opset)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=ir_version, producer_name="pytorch")


@dataclass(frozen=True)
class StandIn:
    """
    A network and what is known of its model.

    Parameters
    ----------
    preset : str
        To wrap it with.
    file : str
        Name of the published file.
    model : onnx.ModelProto
        The network.
    depth : callable
        Depth by hand: of an image uint8 [h, w, 3] of the model's input size, [h', w'].
    size : tuple of int
        (width, height) of the model's input, for images of 640x480.
    focal : tuple of float
        Focal lengths of the model.
    options : dict
        Of `wrap`.
    """

    preset: str
    file: str
    model: onnx.ModelProto
    depth: Callable[[np.ndarray], np.ndarray]
    size: tuple[int, int]
    focal: tuple[float, float] | None = None
    options: dict = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.preset}-{self.file}"


def depth_anything_2(file: str, preset: str, far: float, **kwargs) -> StandIn:
    """Depth-Anything-ONNX, dynamic: rank 3, its axes labelled as if there were four."""
    graph = Graph(17, "image", [1, 3, "height", "width"])
    depth = graph.without_axis(graph.embedding(graph.plane(far - 1.0, far / 4)), 1)
    graph.output(depth, "depth", [1, "height", "width"])

    def by_hand(rgb):
        return np.minimum(weighed(rgb, "imagenet", far - 0.75, far / 4), far)

    return StandIn(preset, file, graph.model(), by_hand, (686, 518), **kwargs)


def depth_anything_2_static(name: str, opset: int, preset: str, focal) -> StandIn:
    graph = Graph(opset, name, [1, 3, 518, 518])
    graph.output(graph.without_axis(graph.plane(5.0), 1), "depth", [1, 518, 518])
    file = f"depth_anything_v2_vits_indoor_{name}.onnx"
    return StandIn(preset, file, graph.model(), lambda rgb: weighed(rgb, "imagenet", 5.0), (518, 518), focal)


def relative_hf(preset: str, file: str) -> StandIn:
    graph = Graph(14, "pixel_values", ["batch_size", 3, "height", "width"])
    depth = graph.without_axis(graph.embedding(graph.plane(5.0)), 1)
    graph.output(depth, "predicted_depth", ["batch_size", "height", "width"])
    return StandIn(preset, file, graph.model(), lambda rgb: weighed(rgb, "imagenet", 5.25), (686, 518))


def depth_anything_1() -> StandIn:
    graph = Graph(19, "image", [1, 3, "height", "width"])
    graph.output(graph.plane(5.0), "depth", [1, 1, "height", "width"])
    return StandIn(
        "da1", "depth_anything_vits14.onnx", graph.model(10), lambda rgb: weighed(rgb, "imagenet", 5.0), (686, 518)
    )


def with_sky(preset: str, file: str, height: int, rank: int, opset: int, focal=None) -> StandIn:
    """Depth Anything 3: sky where the image is bright."""
    graph = Graph(opset, "image", [1, 3, height, 504])
    depth, sky = graph.plane(5.0), graph.plane(0.1)
    shape = [1, 1, height, 504][4 - rank :]
    if rank == 3:
        depth, sky = graph.without_axis(depth, 1), graph.without_axis(sky, 1)
    graph.output(depth, "depth", shape)
    graph.output(sky, "sky", shape)

    def by_hand(rgb):
        return np.where(weighed(rgb, "imagenet", 0.1) < 0.3, weighed(rgb, "imagenet", 5.0), np.nan)

    return StandIn(preset, file, graph.model(), by_hand, (504, height), focal)


def depth_anything_3_any_view() -> StandIn:
    graph = Graph(18, "pixel_values", ["batch", 1, 3, "height", "width"])
    image = graph.inputs[0].name
    flat = graph.without_axis(image, 1)
    kernel = graph.weight(WEIGHTS.reshape(1, 3, 1, 1))
    graph.output(graph.add("Conv", [flat, kernel, graph.weight([5.0])]), "predicted_depth", ["batch", 1, "h", "w"])
    return StandIn(
        "da3_s", "depth-anything-v3-small.onnx", graph.model(), lambda rgb: weighed(rgb, "imagenet", 5.0), (504, 378)
    )


def metric3d() -> StandIn:
    """Its image is padded with the mean colour; the border's depth must not be seen."""
    graph = Graph(11, "image", [1, 3, 616, 1064])
    graph.output(graph.plane(2.0, 0.01), "pred_depth", [1, 1, 616, 1064])
    return StandIn(
        "metric3d_v2_s",
        "metric3d_vit_small.onnx",
        graph.model(7),
        lambda rgb: weighed(rgb, "raw", 2.0, 0.01),
        (822, 616),
        (1000.0, 1000.0),
    )


def metric3d_hf() -> StandIn:
    graph = Graph(11, "pixel_values", ["batch", 3, "height", "width"])
    plane = graph.plane(2.0, 0.01)
    graph.output(graph.without_axis(plane, 1), "predicted_depth", ["batch", "height", "width"])
    graph.output(graph.plane(0.0, 0.01, channels=3), "predicted_normal", ["batch", 3, "height", "width"])
    graph.output(graph.without_axis(graph.plane(0.0), 1), "normal_confidence", ["batch", "height", "width"])
    return StandIn(
        "metric3d_v2_s",
        "metric3d-vit-small.onnx",
        graph.model(7),
        lambda rgb: weighed(rgb, "raw", 2.0, 0.01),
        (812, 616),
        (1000.0, 1000.0),
    )


def moge(frozen: bool) -> StandIn:
    """Points whose depth lacks 0.7, before a scale of 2; the right of the image has none."""
    width, height, shift, scale = 640, 480, 0.7, 2.0
    focal = 0.5 * width / np.tan(np.radians(35.0))
    shape = ["batch_size", 3, "height", "width"]
    graph = Graph(14, "image", [1, 3, height, width] if frozen else shape)
    u = ((np.arange(width) - 0.5 * (width - 1)) / focal).reshape(1, 1, 1, width)
    v = ((np.arange(height) - 0.5 * (height - 1)) / focal).reshape(1, 1, height, 1)
    z = graph.plane(1.0)
    true = graph.add("Add", [z, graph.weight(shift)])
    x, y = (graph.add("Mul", [true, graph.weight(ray)]) for ray in (u, v))
    points = graph.add("Transpose", [graph.add("Concat", [x, y, z], axis=1)], perm=[0, 2, 3, 1])
    mask = np.ones((1, height, width))
    mask[:, :, 500:] = 0.2
    if not frozen:
        graph.inputs.append(helper.make_tensor_value_info("num_tokens", INT64, []))
        tokens = graph.add("Cast", ["num_tokens"], to=FLOAT)
        zero = graph.add("Mul", [tokens, graph.weight(0.0)])
        points = graph.add("Add", [points, zero])
    graph.output(points, "points", ["batch_size", "height", "width", 3])
    graph.output(points, "normal", ["batch_size", "height", "width", 3])
    graph.output(graph.weight(mask), "mask", ["batch_size", "height", "width"])
    graph.output(graph.weight([scale]), "scale" if frozen else "metric_scale", ["batch_size"])

    def by_hand(rgb):
        depth = scale * (weighed(rgb, "unit", 1.0) + shift)
        depth[:, 500:] = np.nan
        return depth

    file = "moge-2-static.onnx" if frozen else "moge-2-vits-normal.onnx"
    options = {"horizontal_fov": np.radians(70.0)}
    return StandIn("moge2_s", file, graph.model(), by_hand, (width, height), (focal, focal), options)


def fastdepth() -> StandIn:
    graph = Graph(11, "input.1", [1, 3, 224, 224])
    graph.output(graph.plane(2.0), "424", [1, 1, 224, 224])
    focal = (270.24 * 224 / 304, 270.24 * 224 / 228)
    return StandIn(
        "fastdepth", "fast_depth_224x224.onnx", graph.model(6), lambda rgb: weighed(rgb, "unit", 2.0), (224, 224), focal
    )


def zoedepth() -> StandIn:
    graph = Graph(17, "image", [1, 3, 384, 512])
    graph.output(graph.plane(2.0), "metric_depth", [1, 1, 384, 512])
    focal = 518.86 * 384 / 480
    return StandIn(
        "zoed_n", "ZoeD_M12_N.onnx", graph.model(), lambda rgb: weighed(rgb, "unit", 2.0), (512, 384), (focal, focal)
    )


def fcrn() -> StandIn:
    """NHWC, 0 to 255; its output has another size."""
    graph = Graph(11, "Placeholder:0", [1, 228, 304, 3])
    planes = graph.add("Transpose", ["Placeholder:0"], perm=[0, 3, 1, 2])
    kernel = graph.weight((0.01 * WEIGHTS).reshape(1, 3, 1, 1))
    depth = graph.add("Conv", [planes, kernel, graph.weight([2.0])], strides=[2, 2], kernel_shape=[1, 1])
    depth = graph.add("Slice", [depth, *(graph.weight(v, np.int64) for v in ([0, 0], [114, 150], [2, 3]))])
    graph.output(graph.add("Transpose", [depth], perm=[0, 2, 3, 1]), "ConvPred/ConvPred:0", [1, 114, 150, 1])
    focal = 259.58
    return StandIn(
        "fcrn_nyu",
        "ResNet50UpProj.onnx",
        graph.model(6),
        lambda rgb: weighed(rgb, "raw", 2.0, 0.01)[::2, :300:2],
        (304, 228),
        (focal, focal),
    )


def unidepth(with_rays: bool) -> StandIn:
    """With rays its depth is the ray's Z times a distance; without, it says for which camera matrix it is right."""
    width, height = 630, 462
    graph = Graph(14, "rgbs", ["batch", 3, height, width])
    own = 400.0
    fov = np.radians(80.0)
    pixels = 320 / np.tan(fov / 2)
    focal = (pixels * width / 640, pixels * height / 480)
    if with_rays:
        graph.inputs.append(helper.make_tensor_value_info("rays", FLOAT, ["batch", 3, height, width]))
        points = graph.add("Mul", ["rays", graph.plane(4.0)])
    else:
        points = graph.plane(4.0, channels=3)
    graph.output(points, "pts_3d", ["batch", 3, height, width])
    graph.output(graph.plane(0.0), "confidence", ["batch", 1, height, width])
    matrix = np.float32([[[own, 0, 315], [0, own, 231], [0, 0, 1]]])
    graph.output(graph.weight(matrix), "intrinsics", ["batch", 3, 3])

    def by_hand(rgb):
        distance = weighed(rgb, "imagenet", 4.0)
        if not with_rays:
            return distance * np.sqrt(focal[0] * focal[1]) / own
        u, v = np.meshgrid((np.arange(width) - 314.5) / focal[0], (np.arange(height) - 230.5) / focal[1])
        return distance / np.sqrt(u**2 + v**2 + 1)

    file = "unidepthv2_rays.onnx" if with_rays else "unidepthv2.onnx"
    return StandIn("unidepth2", file, graph.model(), by_hand, (width, height), focal, {"horizontal_fov": fov})


def depth_pro() -> StandIn:
    graph = Graph(19, "input", [1, 3, 1536, 1536])
    graph.output(graph.plane(0.5, 0.5), "canonical_inverse_depth", [1, 1, 1536, 1536])
    graph.output(graph.weight([60.0]), "fov_deg", [1])

    def by_hand(rgb):
        return 1 / np.clip(weighed(rgb, "half", 0.5, 0.5), 1e-4, 1e4)

    return StandIn("depth_pro", "depth_pro.onnx", graph.model(9), by_hand, (1536, 1536), (1536.0, 1536.0))


def depth_pro_hf() -> StandIn:
    graph = Graph(14, "pixel_values", ["batch_size", 3, "height", "width"])
    graph.output(graph.without_axis(graph.plane(2.0), 1), "predicted_depth", ["batch_size", "height", "width"])
    graph.output(graph.weight([[1200.0]]), "focallength_px", ["batch_size", 1])

    def by_hand(rgb):
        return weighed(rgb, "half", 2.0) * 1536 / 1200

    return StandIn("depth_pro_hf", "DepthPro-ONNX.onnx", graph.model(), by_hand, (1536, 1536), (1536.0, 1536.0))


def midas(preset: str, file: str, side: int, output: str) -> StandIn:
    """As old exporters wrote: weights are inputs, too."""
    graph = Graph(9, "0", [1, 3, side, side])
    graph.output(graph.without_axis(graph.plane(5.0), 1), output, [1, side, side])
    model = graph.model(4, weights_are_inputs=True)
    return StandIn(preset, file, model, lambda rgb: weighed(rgb, "unit", 5.0), (side, side))


def distill() -> StandIn:
    graph = Graph(17, "input", [1, 3, 518, 518])
    graph.output(graph.plane(5.0), "output", [1, 1, 518, 518])
    return StandIn(
        "distill", "distill_any_depth.onnx", graph.model(), lambda rgb: weighed(rgb, "imagenet", 5.0), (518, 518)
    )


def stand_ins() -> list[StandIn]:
    """Return one for every way in which the presets' networks are published."""
    hypersim = 886.81 * 518 / 768
    vkitti = 725.0087 * 518 / 375
    stretched = (886.81 * 518 / 1024, hypersim)
    found = [
        depth_anything_2(
            "depth_anything_v2_vits_indoor_dynamic.onnx", "da2_hypersim_s", 20.0, focal=(hypersim, hypersim)
        ),
        depth_anything_2("depth_anything_v2_vits_outdoor_dynamic.onnx", "da2_vkitti_s", 80.0, focal=(vkitti, vkitti)),
        depth_anything_2_static("image", 17, "da2_hypersim_s", stretched),
        depth_anything_2_static("l_x_", 18, "da2_hypersim_s", stretched),
        with_sky("da3_metric_l", "da3metric-large.onnx", 280, 4, 20, (300.0, 300.0)),
        metric3d(),
        metric3d_hf(),
        moge(frozen=False),
        moge(frozen=True),
        fastdepth(),
        zoedepth(),
        fcrn(),
        unidepth(with_rays=False),
        unidepth(with_rays=True),
        depth_pro(),
        depth_pro_hf(),
        depth_anything_1(),
        relative_hf("da2_s", "depth-anything-v2-small.onnx"),
        midas("midas_small", "model-small.onnx", 256, "797"),
        midas("midas_large", "model-f6b98070.onnx", 384, "1080"),
        distill(),
        with_sky("da3_mono_l", "da3_mono_large.onnx", 378, 3, 17),
        depth_anything_3_any_view(),
    ]
    for size in "bl":
        for kind, file, far, focal in (
            ("hypersim", "indoor", 20.0, (hypersim, hypersim)),
            ("vkitti", "outdoor", 80.0, (vkitti, vkitti)),
        ):
            file = f"depth_anything_v2_vit{size}_{file}_dynamic.onnx"
            found.append(depth_anything_2(file, f"da2_{kind}_{size}", far, focal=focal))
        found.append(relative_hf(f"da2_{size}", f"depth_anything_v2_vit{size}.onnx"))
    return found
