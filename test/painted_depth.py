"""
Scenes that a test can put before a depth node: a model that reads the depth out of the picture.

The node, its engine and its messages are the real ones; only the network is one whose every depth is known, so that
what the node makes of depth can be held against geometry. Red and green are the depth's bytes in millimetres, blue is
the standard deviation of its error in centimetres.
"""

from contextlib import contextmanager

import numpy as np
import onnx
from depth_client import MODULE, DepthClient
from onnx import TensorProto, helper
from ros_processes import output, ros_context, running_node, stop

from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.conversions import rgb_to_image
from depth_estimation_ros.model import METADATA_KEY, ModelInfo

CAMERA = PinholeCamera(96, 72, 80.0, 80.0, 47.5, 35.5)
"""Of the size of the model's input, and its focal length: nothing is resampled, nothing scaled."""


def painted(depth, deviation=0.05) -> np.ndarray:
    """Return the picture, uint8 [h, w, 3], of depth in metres, [h, w] or a number, up to 65 m."""
    millimetres = np.round(np.broadcast_to(depth, (CAMERA.height, CAMERA.width)) * 1000.0).astype(np.uint16)
    centimetres = np.broadcast_to(np.round(np.asarray(deviation) * 100.0), millimetres.shape)
    return np.stack([millimetres >> 8, millimetres & 255, centimetres], axis=-1).astype(np.uint8)


def painting(depth, deviation=0.05):
    """Return the same as an image message."""
    return rgb_to_image(painted(depth, deviation))


def write_model(path, uncertain=True, name="painted", factor=1.0, kind="metric") -> str:
    """Write the model, whose depth is `factor` times what is painted; an uncertain one has ``log_variance`` too."""
    size = CAMERA.width, CAMERA.height
    info = ModelInfo(name, *size, CAMERA.fx, 0.1, 65.0, "none", "Apache-2.0", "0" * 64, kind=kind)
    node, constant = helper.make_node, onnx.numpy_helper.from_array
    kernels = np.array([[256, 1, 0], [0, 0, 10]], np.float32).reshape(2, 3, 1, 1) / np.float32(1000.0)
    kernels[0] *= np.float32(factor)
    nodes = [
        node("Cast", ["image"], ["colour"], to=TensorProto.FLOAT),
        node("Transpose", ["colour"], ["planes"], perm=[0, 3, 1, 2]),
        node("Conv", ["planes", "kernels"], ["metres"]),
        node("Split", ["metres"], ["depth", "deviation"], axis=1),
    ]
    outputs = ["depth"]
    if uncertain:
        nodes += [
            node("Max", ["deviation", "least"], ["positive"]),
            node("Log", ["positive"], ["log_deviation"]),
            node("Mul", ["log_deviation", "two"], ["log_variance"]),
        ]
        outputs.append("log_variance")
    graph = helper.make_graph(
        nodes,
        "painted",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ("N", CAMERA.height, CAMERA.width, 3))],
        [helper.make_tensor_value_info(o, TensorProto.FLOAT, ("N", 1, CAMERA.height, CAMERA.width)) for o in outputs],
        [
            constant(kernels, "kernels"),
            constant(np.float32(0.001), "least"),
            constant(np.float32(2.0), "two"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    model.metadata_props.add(key=METADATA_KEY, value=info.to_json())
    onnx.save(model, path)
    return str(path)


@contextmanager
def painted_node(folder, namespace, remappings=None, kind="metric", **parameters):
    """Run a depth node that reads painted depth; gives its client, and checks that it ends without a traceback."""
    model = write_model(folder / "painted.onnx", uncertain=kind == "metric", kind=kind)
    names = {"__ns": namespace, **(remappings or {})}
    parameters = {"model": model, "threads": 1, **parameters}
    with ros_context() as node, running_node(MODULE, parameters=parameters, remappings=names) as process:
        client = DepthClient(node, process, namespace)
        client.wait(lambda: client.figures.get("state") == "active")
        yield client
        assert stop(process, timeout=5.0) == 0, output(process)
        assert "Traceback" not in output(process), output(process)
