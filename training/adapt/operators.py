"""
Operators of ONNX in PyTorch, for the graphs of convolutional networks.

Each function takes the attributes of a node and its inputs, None for one that is left out, and returns the output, or a
tuple of outputs. The definitions are those of ONNX's operator set 17 (https://onnx.ai/onnx/operators/).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

Attributes = dict[str, Any]


class UnsupportedError(ValueError):
    """A node that cannot be computed here; the message says what it does."""


def _conv(a: Attributes, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    x, padding = _padded(x, a)
    return F.conv2d(x, weight, bias, a.get("strides", 1), padding, a.get("dilations", 1), a.get("group", 1))


def _conv_transpose(a: Attributes, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    before, after = _pads(a)
    if before != after or "output_shape" in a:
        raise UnsupportedError("a transposed convolution with uneven padding")
    extra, dilations = a.get("output_padding", 0), a.get("dilations", 1)
    return F.conv_transpose2d(x, weight, bias, a.get("strides", 1), before, extra, a.get("group", 1), dilations)


def _max_pool(a: Attributes, x: Tensor) -> Tensor:
    x, padding = _padded(x, a, float("-inf"))
    ceil = bool(a.get("ceil_mode", 0))
    return F.max_pool2d(x, a["kernel_shape"], a.get("strides", 1), padding, a.get("dilations", 1), ceil)


def _average_pool(a: Attributes, x: Tensor) -> Tensor:
    before, after = _pads(a)
    if before != after:
        raise UnsupportedError("average pooling with uneven padding")
    options = {"ceil_mode": bool(a.get("ceil_mode", 0)), "count_include_pad": bool(a.get("count_include_pad", 0))}
    return F.avg_pool2d(x, a["kernel_shape"], a.get("strides", 1), before, **options)


def _batch_normalization(a: Attributes, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, var: Tensor) -> Tensor:
    return F.batch_norm(x, mean, var, scale, bias, eps=a.get("epsilon", 1e-5))


def _gemm(a: Attributes, x: Tensor, y: Tensor, bias: Tensor | None = None) -> Tensor:
    x, y = (m.T if a.get(name) else m for m, name in ((x, "transA"), (y, "transB")))
    product = a.get("alpha", 1.0) * (x @ y)
    return product if bias is None else product + a.get("beta", 1.0) * bias


def _split(a: Attributes, x: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, ...]:
    axis = a.get("axis", 0)
    if sizes is None:
        return x.chunk(a["outputs"], axis)
    return x.split(sizes.tolist(), axis)


def _slice(a: Attributes, x: Tensor, starts: Tensor, ends: Tensor, axes=None, steps=None) -> Tensor:
    axes = range(len(starts)) if axes is None else axes.tolist()
    steps = [1] * len(starts) if steps is None else steps.tolist()
    for start, end, axis, step in zip(starts.tolist(), ends.tolist(), axes, steps, strict=True):
        if step < 1:
            raise UnsupportedError("a slice that runs backwards")
        x = x[(slice(None),) * (axis % x.ndim) + (slice(start, end, step),)]
    return x


def _pad(a: Attributes, x: Tensor, pads: Tensor, value: Tensor | None = None, axes: Tensor | None = None) -> Tensor:
    if axes is not None:
        raise UnsupportedError("padding of chosen axes")
    sizes = pads.tolist()
    half = len(sizes) // 2
    flat = [size for axis in reversed(range(half)) for size in (sizes[axis], sizes[axis + half])]
    mode = str(a.get("mode", "constant"))
    if mode == "constant":
        return F.pad(x, flat, value=0.0 if value is None else value.item())
    while flat[-2:] == [0, 0]:  # PyTorch pads the last axes only
        flat = flat[:-2]
    return F.pad(x, flat, "replicate" if mode == "edge" else mode)


def _reshape(a: Attributes, x: Tensor, shape: Tensor) -> Tensor:
    sizes = shape.tolist()
    keep = not a.get("allowzero", 0)
    return x.reshape([x.shape[i] if size == 0 and keep else size for i, size in enumerate(sizes)])


def _flatten(a: Attributes, x: Tensor) -> Tensor:
    axis = a.get("axis", 1) % (x.ndim + 1)
    return x.reshape(x.shape[:axis].numel(), -1)


def _squeeze(a: Attributes, x: Tensor, axes: Tensor | None = None) -> Tensor:
    return x.squeeze() if axes is None else x.squeeze(tuple(axes.tolist()))


def _unsqueeze(a: Attributes, x: Tensor, axes: Tensor) -> Tensor:
    for axis in sorted(n % (x.ndim + len(axes)) for n in axes.tolist()):
        x = x.unsqueeze(axis)
    return x


def _depth_to_space(a: Attributes, x: Tensor) -> Tensor:
    size = a["blocksize"]
    if a.get("mode", "DCR") == "DCR":
        x = x.unflatten(1, (size * size, -1)).transpose(1, 2).flatten(1, 2)
    return F.pixel_shuffle(x, size)


def _reduced(function: Callable) -> Callable:
    def reduced(a: Attributes, x: Tensor, axes: Tensor | None = None) -> Tensor:
        over = a.get("axes") if axes is None else axes.tolist()
        if not over and a.get("noop_with_empty_axes"):
            return x
        # In float32, as sums lose digits in half precision.
        return function(x.float(), tuple(over or range(x.ndim)), bool(a.get("keepdims", 1)))

    return reduced


def _clip(a: Attributes, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    low, high = (None if limit is None else limit.item() for limit in (low, high))
    if low is None or high is None:
        return torch.clamp(x, low, high)
    return F.hardtanh(x, low, high)  # the same, with a faster gradient


def _cast(a: Attributes, x: Tensor) -> Tensor:
    if a["to"] != 1:
        raise UnsupportedError("a cast to another type than float")
    return x.float()


def _exactly(function: Callable[[Tensor], Tensor]) -> Callable:
    """Return a function of one input that is computed in float32 also where convolutions are in bfloat16."""
    return lambda a, x: function(x.float())


def _plainly(function: Callable) -> Callable:
    """Return a function of the inputs that has no attributes."""
    return lambda a, *inputs: function(*inputs)


OPERATORS: dict[str, Callable[..., Tensor | tuple[Tensor, ...]]] = {
    "Abs": _plainly(torch.abs),
    "Add": _plainly(torch.add),
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_normalization,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": lambda a, *inputs: torch.cat(inputs, a["axis"]),
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "DepthToSpace": _depth_to_space,
    "Div": _plainly(torch.div),
    "Exp": _exactly(torch.exp),
    "Flatten": _flatten,
    "Gemm": _gemm,
    "GlobalAveragePool": lambda a, x: x.mean((2, 3), keepdim=True),
    "HardSigmoid": lambda a, x: (a.get("alpha", 0.2) * x + a.get("beta", 0.5)).clamp(0, 1),
    "HardSwish": _plainly(F.hardswish),
    "Identity": _plainly(lambda x: x),
    "LeakyRelu": lambda a, x: F.leaky_relu(x, a.get("alpha", 0.01)),
    "Log": _exactly(torch.log),
    "MatMul": _plainly(torch.matmul),
    "Max": lambda a, *inputs: reduce(torch.maximum, inputs),
    "MaxPool": _max_pool,
    "Min": lambda a, *inputs: reduce(torch.minimum, inputs),
    "Mul": _plainly(torch.mul),
    "Neg": _plainly(torch.neg),
    "Pad": _pad,
    "Pow": lambda a, x, exponent: x.float() ** exponent,
    "Reciprocal": _exactly(torch.reciprocal),
    "ReduceMax": _reduced(torch.amax),
    "ReduceMean": _reduced(torch.mean),
    "ReduceSum": _reduced(torch.sum),
    "Relu": _plainly(F.relu),
    "Reshape": _reshape,
    "Sigmoid": _plainly(torch.sigmoid),
    "Slice": _slice,
    "Softmax": lambda a, x: F.softmax(x.float(), a.get("axis", -1)),
    "Softplus": _exactly(F.softplus),
    "Split": _split,
    "Sqrt": _exactly(torch.sqrt),
    "Squeeze": _squeeze,
    "Sub": _plainly(torch.sub),
    "Tanh": _plainly(torch.tanh),
    "Transpose": lambda a, x: x.permute(a["perm"]),
    "Unsqueeze": _unsqueeze,
}


def _pads(a: Attributes) -> tuple[Sequence[int], Sequence[int]]:
    """Return the padding before and after, (height, width) each."""
    if a.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise UnsupportedError(f"padding by {a['auto_pad']}")
    pads = a.get("pads", [0, 0, 0, 0])
    if len(pads) != 4:
        raise UnsupportedError("a convolution or pooling that is not over two dimensions")
    return pads[:2], pads[2:]


def _padded(x: Tensor, a: Attributes, value: float = 0.0) -> tuple[Tensor, Sequence[int]]:
    """Return the input and the padding that is left to do, which PyTorch does equally on both sides."""
    before, after = _pads(a)
    if before == after:
        return x, before
    return F.pad(x, (before[1], after[1], before[0], after[0]), value=value), (0, 0)
