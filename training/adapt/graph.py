"""
A model file as a network of PyTorch that can be trained and written back.

The graph is computed node by node and its weights are the parameters, so no recipe and no checkpoint is needed, and the
file that is written differs from the one that was read in the weights only. Batch normalisation is usually folded into
the convolutions before it, and stays folded: a few frames of one site would spoil its statistics.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from depth_estimation_ros.model import METADATA_KEY, OUTPUTS, Model, ModelError, ModelInfo
from training.adapt.operators import OPERATORS, UnsupportedError

# Operators with weights, and which of their inputs these are.
_WEIGHTS = {"Conv": (1, 2), "ConvTranspose": (1, 2), "Gemm": (1, 2), "MatMul": (1,), "BatchNormalization": (1, 2)}
_ENLARGING = ("ConvTranspose", "DepthToSpace")


class GraphNetwork(nn.Module):
    """
    Network of a model file.

    Parameters
    ----------
    model : Model
        Model with its content, from `load_model`.

    Attributes
    ----------
    weights : torch.nn.ParameterList
        Weights of the convolutions, of fully connected layers and of batch normalisation.
    places : dict
        Index of each weight by its name in the file.
    encoder, decoder : list of int
        Indices of the weights before the first layer that enlarges a map, and of all others.

    Raises
    ------
    ModelError
        If the graph has an operator that cannot be trained here.
    """

    def __init__(self, model: Model):
        super().__init__()
        self._file = onnx.load_from_string(model.content)
        self.path, self.info = model.path, model.info
        graph = self._file.graph
        self._outputs = [output.name for output in graph.output if output.name in OUTPUTS]
        stored = {tensor.name: tensor for tensor in graph.initializer}
        # Weights in half precision are followed by a cast.
        self._alias = {
            node.output[0]: node.input[0] for node in graph.node if node.op_type == "Cast" and node.input[0] in stored
        }
        self._nodes = [node for node in graph.node if node.output[0] not in self._alias]
        self._attributes = [_attributes(node) for node in self._nodes]
        self._refuse_unknown()
        names = dict.fromkeys(
            self._stored(name)
            for node in self._nodes
            for place in _WEIGHTS.get(node.op_type, ())
            for name in node.input[place : place + 1]
            if self._stored(name) in stored and not _is_fixed_filter(node, stored[self._stored(name)])
        )
        self.places = {name: i for i, name in enumerate(names)}
        self.weights = nn.ParameterList(_as_torch(stored[name]) for name in names)
        self._constants = [name for name in stored if name not in names]
        for i, name in enumerate(self._constants):
            self.register_buffer(f"constant{i}", _as_torch(stored[name]), persistent=False)
        before = self._before_enlarging()
        self.encoder = [i for name, i in self.places.items() if name in before]
        self.decoder = [i for name, i in self.places.items() if name not in before]

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """
        Estimate depth.

        Parameters
        ----------
        image : torch.Tensor
            uint8 [N, H, W, 3], RGB.

        Returns
        -------
        dict
            ``depth`` float32 [N, 1, h, w], metres for the training camera, and ``log_variance`` if the model has it.
        """
        values: dict[str, Any] = {"": None, "image": image}
        values.update((name, getattr(self, f"constant{i}")) for i, name in enumerate(self._constants))
        values.update((name, self.weights[i]) for name, i in self.places.items())
        values.update((name, values[source]) for name, source in self._alias.items())
        for node, attributes in zip(self._nodes, self._attributes, strict=True):
            found = OPERATORS[node.op_type](attributes, *(values[name] for name in node.input))
            values.update(zip(node.output, found if isinstance(found, tuple) else (found,), strict=False))
        return {name: values[name].float() for name in self._outputs}

    def write(self, path: Path, info: ModelInfo) -> None:
        """
        Write the model with the present weights.

        Parameters
        ----------
        path : pathlib.Path
            Output file.
        info : ModelInfo
            Metadata of the file.
        """
        file = onnx.ModelProto()
        file.CopyFrom(self._file)
        for tensor in file.graph.initializer:
            if (place := self.places.get(tensor.name)) is not None:
                dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
                weights = self.weights[place].detach().cpu().contiguous().numpy().astype(dtype)
                tensor.CopyFrom(numpy_helper.from_array(weights, tensor.name))
        for entry in file.metadata_props:
            if entry.key == METADATA_KEY:
                entry.value = info.to_json()
        onnx.save(file, path)

    def load(self, weights: Iterable[Tensor]) -> None:
        """Replace the weights by others, in the order of `weights`."""
        with torch.no_grad():
            for weight, value in zip(self.weights, weights, strict=True):
                weight.copy_(value)

    @property
    def is_half(self) -> bool:
        """Whether weights are stored in half precision."""
        return any(tensor.data_type == TensorProto.FLOAT16 for tensor in self._file.graph.initializer)

    def _stored(self, name: str) -> str:
        return self._alias.get(name, name)

    def _refuse_unknown(self) -> None:
        kinds = {node.op_type for node in self._nodes}
        if any("Quantize" in kind or "Integer" in kind for kind in kinds):
            raise ModelError(
                f"model '{self.path}' has 8-bit weights, which cannot be trained: adapt the model that it was made "
                "from, and run quantize_model afterwards"
            )
        if unknown := sorted(kinds - set(OPERATORS)):
            raise ModelError(
                f"model '{self.path}' has operators that cannot be trained here ({', '.join(unknown[:6])}): adapt a "
                "packaged model or one of `python -m training.export`"
            )

    def _before_enlarging(self) -> set[str]:
        """Return the names of the weights before the first layer that enlarges a map."""
        makers = {name: node for node in self._nodes for name in node.output}
        first = next((node for node in self._nodes if node.op_type in _ENLARGING), None)
        found, waiting = set(), [] if first is None else [first.input[0]]
        while waiting:
            node = makers.get(waiting.pop())
            if node is not None:
                new = [name for name in node.input if name not in found]
                found.update(new)
                waiting += new
        return {self._stored(name) for name in found}


def check_same(network: GraphNetwork, computed: dict[str, np.ndarray], images: np.ndarray, most: float) -> float:
    """
    Compare a network with what an engine computed.

    Parameters
    ----------
    network : GraphNetwork
        The network.
    computed : dict
        Outputs of `Backend.infer` for the images.
    images : numpy.ndarray
        uint8 [N, H, W, 3].
    most : float
        Largest difference that is accepted, relative to the depth, or to the model's nearest depth where it is smaller.

    Returns
    -------
    float
        Largest difference.

    Raises
    ------
    ModelError
        If they differ more.
    """
    try:
        with torch.inference_mode():
            # Twice, as training needs batches and some graphs are of one image only.
            depth = network(torch.from_numpy(images.repeat(2, axis=0)))["depth"].numpy()[::2]
    except (UnsupportedError, RuntimeError, TypeError, KeyError, IndexError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(
            f"model '{network.path}' cannot be trained here ({reason}): adapt a packaged model or one of "
            "`python -m training.export`"
        ) from None
    scale = np.maximum(np.abs(computed["depth"]), network.info.min_depth)
    difference = float((np.abs(depth - computed["depth"]) / scale).max())
    if not difference <= most:
        raise ModelError(f"PyTorch and the engine differ by up to {difference:.2%} on model '{network.path}'")
    return difference


def _attributes(node: onnx.NodeProto) -> dict:
    found = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    found = {name: value.decode() if isinstance(value, bytes) else value for name, value in found.items()}
    found["outputs"] = len(node.output)
    return found


def _as_torch(tensor: TensorProto) -> Tensor:
    value = torch.from_numpy(numpy_helper.to_array(tensor).copy())
    value = value.float() if value.is_floating_point() else value
    return value.contiguous(memory_format=torch.channels_last) if value.ndim == 4 else value


def _is_fixed_filter(node: onnx.NodeProto, tensor: TensorProto) -> bool:
    """Whether this is one filter for all channels, such as that of average unpooling, which is not learned."""
    if node.op_type != "Conv" or len(tensor.dims) != 4 or tensor.dims[0] < 2 or tensor.dims[1] != 1:
        return False
    weights = numpy_helper.to_array(tensor)
    return bool((weights == weights[:1]).all())
