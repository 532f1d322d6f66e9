import math
import os
import re
import signal
import time

import cv2
import numpy as np
import onnx
import pytest
from depth_client import CAMERA, MODULE, picture
from onnx import TensorProto, helper
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_processes import output, start_node, stop
from sensor_msgs.msg import CompressedImage

from depth_estimation_ros.conversions import camera_from_info, camera_to_info, rgb_to_image
from depth_estimation_ros.model import METADATA_KEY, ModelInfo, load_model

BEST_EFFORT = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)


# Settings that need a node of their own


def test_without_autostart_the_node_waits_and_a_failed_configuration_can_be_repeated(start):
    depth = start("/manual", autostart=False, model="/nowhere/model.onnx")
    assert not depth.change_state("configure")
    assert "model '/nowhere/model.onnx' not found" in output(depth.process)
    assert depth.set(model="default").successful
    assert depth.change_state("configure")
    assert depth.change_state("activate")
    depth.subscribe("depth/image")
    depth.send_until_published()
    assert depth.change_state("shutdown")
    assert stop(depth.process, timeout=2.0) == 0


def test_a_field_of_view_stands_in_for_camera_info(start):
    depth = start("/fov")
    depth.subscribe("depth/image", "depth/camera_info")

    def send():
        image = rgb_to_image(picture())
        image.header = depth.header()
        depth.images.publish(image)

    def failed():
        send()
        return depth.figure("failed: no camera_info")

    depth.wait(failed)
    assert "no camera_info came yet; publish it or set horizontal_fov" in output(depth.process)
    assert depth.set(horizontal_fov=math.pi / 2).successful
    depth.wait(lambda: send() or depth.got["depth/camera_info"])
    assert camera_from_info(depth.got["depth/camera_info"][-1]).fx == pytest.approx(160.0)


def test_rates_and_reliabilities_are_what_the_parameters_say(start):
    depth = start("/slow", max_rate=0.01, queue_depth=7, image_reliability="reliable", output_reliability="best_effort")
    depth.wait(lambda: depth.node.count_publishers("/slow/depth/image") and depth.node.count_subscribers("/slow/image"))
    publisher = depth.node.get_publishers_info_by_topic("/slow/depth/image")[0]
    subscription = depth.node.get_subscriptions_info_by_topic("/slow/image")[0]
    assert publisher.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT
    assert subscription.qos_profile.reliability == ReliabilityPolicy.RELIABLE
    depth.subscribe("depth/image", qos=BEST_EFFORT)
    depth.wait(lambda: depth.send() and depth.figure("received") >= 10)
    assert depth.settled()["published"] == "1"
    assert depth.set(max_rate=0.0, preview_rate=0.01).successful
    depth.subscribe("depth/preview", qos=BEST_EFFORT)
    count = depth.figure("published")
    depth.wait(lambda: depth.send() and depth.figure("published") >= count + 10)
    assert len(depth.got["depth/preview"]) == 1


def test_compressed_images_come_behind_the_name_that_image_is_remapped_to(start):
    depth = start("/packed", remappings={"image": "/lens/image_raw"}, image_transport="compressed")
    depth.subscribe("depth/image")
    images = depth.node.create_publisher(CompressedImage, "/lens/image_raw/compressed", 10)
    _, data = cv2.imencode(".jpg", picture())
    data = data.tobytes()

    def send(data=data):
        message = CompressedImage(header=depth.header(), format="rgb8; jpeg compressed bgr8", data=data)
        info = camera_to_info(CAMERA, message.header)
        depth.infos.publish(info)
        images.publish(message)
        return message.header

    depth.wait(lambda: send() and depth.got["depth/image"])
    count = depth.figure("failed: image not readable")
    send(data[: len(data) // 2])
    depth.wait(lambda: depth.figure("failed: image not readable") == count + 1)
    assert "is cut off" in output(depth.process)
    good = send()
    depth.wait(lambda: depth.result("depth/image", good))
    size = depth.result("depth/image", good)
    assert (size.width, size.height) == (CAMERA.width, CAMERA.height)


def test_silence_is_explained_by_its_cause(start):
    nobody = start("/nobody", remappings={"image": "lens"}, input_timeout=1.0)
    deaf = start("/deaf", qos=BEST_EFFORT, input_timeout=1.0, image_reliability="reliable")
    silent = start("/silent", input_timeout=1.0)
    other = start("/other", remappings={"image": "packed"}, input_timeout=1.0)
    other.node.create_publisher(CompressedImage, "/other/packed", 1)
    for depth, sentence in (
        (nobody, "nothing received on /nobody/lens for .* s: nobody publishes it"),
        (deaf, "nothing received on /deaf/image .* incompatible QoS .* set image_reliability to best_effort"),
        (silent, "nothing received on /silent/image .* none of them sends"),
        (silent, "nothing received on /silent/camera_info .* none of them sends"),
        (
            other,
            "/other/packed .* published as sensor_msgs/msg/CompressedImage, but this node wants sensor_msgs/msg/Image",
        ),
    ):
        depth.wait(lambda depth=depth, sentence=sentence: re.search(sentence, output(depth.process)))


# Models that cannot be used


def write_model(path, input_name="image", metadata=True, slow=False):
    """Write a tiny model: depth is the mean colour. A slow one takes ages for white images, not for black ones."""
    info = ModelInfo("tiny", 8, 6, 7.5, 0.5, 10.0, "none", "Apache-2.0", "0" * 64)
    nodes = [
        helper.make_node("Cast", [input_name], ["colour"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["colour"], ["mean"], axes=[3], keepdims=1),
        helper.make_node("Transpose", ["mean"], ["grey"], perm=[0, 3, 1, 2]),
    ]
    constants = []
    if slow:
        body = helper.make_graph(
            [
                helper.make_node("Identity", ["go"], ["go_on"]),
                helper.make_node("Mul", ["before", "near_one"], ["after"]),
            ],
            "body",
            [
                helper.make_tensor_value_info("turn", TensorProto.INT64, ()),
                helper.make_tensor_value_info("go", TensorProto.BOOL, ()),
                helper.make_tensor_value_info("before", TensorProto.FLOAT, None),
            ],
            [
                helper.make_tensor_value_info("go_on", TensorProto.BOOL, ()),
                helper.make_tensor_value_info("after", TensorProto.FLOAT, None),
            ],
            [helper.make_tensor("near_one", TensorProto.FLOAT, (), [0.999999])],
        )
        constants = [
            helper.make_tensor("many", TensorProto.FLOAT, (), [1e6]),
            helper.make_tensor("yes", TensorProto.BOOL, (), [True]),
        ]
        nodes += [
            helper.make_node("ReduceMax", ["colour"], ["brightest"], keepdims=0),
            helper.make_node("Mul", ["brightest", "many"], ["turns"]),
            helper.make_node("Cast", ["turns"], ["count"], to=TensorProto.INT64),
            helper.make_node("Loop", ["count", "yes", "grey"], ["depth"], body=body),
        ]
    else:
        nodes.append(helper.make_node("Identity", ["grey"], ["depth"]))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(input_name, TensorProto.UINT8, ("N", 6, 8, 3))],
        [helper.make_tensor_value_info("depth", TensorProto.FLOAT, ("N", 1, 6, 8))],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    if metadata:
        model.metadata_props.add(key=METADATA_KEY, value=info.to_json())
    onnx.save(model, path)
    return str(path)


def test_a_model_that_cannot_be_used_ends_the_node_with_one_clear_error(start, tmp_path):
    whole = load_model("default").path.read_bytes()
    truncated = tmp_path / "truncated.onnx"
    truncated.write_bytes(whole[: len(whole) // 2])
    expected = {
        "/nowhere/model.onnx": "model '/nowhere/model.onnx' not found: give the path of an ONNX file",
        str(truncated): "is not a complete ONNX file",
        write_model(tmp_path / "bare.onnx", metadata=False): "has no depth_estimation_ros metadata",
        write_model(tmp_path / "other.onnx", input_name="pixels"): "its inputs are [('pixels'",
    }
    nodes = [(start("/bad", model=model), sentence) for model, sentence in expected.items()]
    for depth, sentence in nodes:
        assert depth.process.wait(30) == 1
        lines = output(depth.process).splitlines()
        assert len(lines) == 1, lines
        assert "[ERROR]" in lines[0]
        assert sentence in lines[0]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"max_depth": 8}, "parameter max_depth must be a number with a decimal point, such as its default 10.0"),
        ({"threads": 1000}, "parameter threads must be in the range 0 to 256"),
        ({"backend": "abacus"}, "backend must be one of auto, cpu"),
        ({"min_depth": 20.0}, "min_depth must be less than max_depth, got 20 and 10"),
    ],
)
def test_a_parameter_that_is_not_allowed_ends_the_node_with_one_clear_error(values, sentence):
    process = start_node(MODULE, parameters=values)
    assert process.wait(30) == 1
    (line,) = output(process).splitlines()
    assert sentence in line


# Ctrl-C


def test_ctrl_c_during_inference_ends_the_node_cleanly(start, tmp_path):
    depth = start("/busy", model=write_model(tmp_path / "slow.onnx", slow=True))
    depth.subscribe("depth/image")
    white = rgb_to_image(np.full((240, 320, 3), 255, np.uint8))
    depth.wait(lambda: depth.send(image=white) and depth.figure("pending"))
    assert stop(depth.process, timeout=2.0) == 0
    printed = output(depth.process)
    assert "Traceback" not in printed
    assert "= 0 published" in printed
    assert "+ 1 failed" in printed
    assert "pending" not in printed


def test_sigterm_in_a_running_stream_ends_the_node_cleanly(start):
    depth = start("/term")
    depth.subscribe("depth/image", "depth/points")
    depth.send_until_published()
    for _ in range(5):
        depth.send()
    os.kill(depth.process.pid, signal.SIGTERM)
    assert depth.process.wait(2.0) == 0
    printed = output(depth.process)
    assert "Traceback" not in printed
    assert "frames received = " in printed


def test_ctrl_c_while_the_model_loads_ends_the_node_cleanly(start):
    depth = start("/young")
    depth.wait(lambda: depth.node.count_publishers("/young/depth_estimation/transition_event"))
    time.sleep(0.02)
    assert stop(depth.process, timeout=2.0) == 0
    assert "Traceback" not in output(depth.process)
