"""Several cameras in one process: each has a node of its own and all that comes with it, and they share one engine."""

import shutil
from contextlib import ExitStack
from pathlib import Path

import pytest
from depth_client import DepthClient
from diagnostic_msgs.msg import DiagnosticStatus
from ros_processes import output, ros_context, running_node, start_node, stop
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger

from depth_estimation_ros.model import PACKAGED

MODULE = "depth_estimation_ros.nodes.multi_camera"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return Path(shutil.copy(PACKAGED["nyu_resnet18_small"], tmp_path_factory.mktemp("model") / "model.onnx"))


@pytest.fixture(scope="module")
def cameras(tmp_path_factory, model):
    """Return a client of each of two cameras, whose nodes run in one process."""
    settings = tmp_path_factory.mktemp("settings") / "cameras.yaml"
    settings.write_text("/robot/left/depth_estimation: {ros__parameters: {depth_encoding: 16UC1}}\n")
    with (
        ros_context(name="multi_camera_observer") as node,
        running_node(
            MODULE,
            "--params-file",
            str(settings),
            parameters={"cameras": "front left", "image_reliability": "reliable", "model": str(model)},
            remappings={"__ns": "/robot", "image": "image_raw"},
        ) as process,
    ):
        clients = [DepthClient(node, process, f"/robot/{name}") for name in ("front", "left")]
        for client in clients:
            client.images = node.create_publisher(Image, f"{client.namespace}/image_raw", 10)
            client.subscribe("depth/image")
            client.send_until_published()
        yield clients
        assert stop(process) == 0, "Ctrl-C ends all of them"
        printed = output(process)
        assert "Traceback" not in printed
        for name in ("front", "left"):
            assert f"[robot.{name}.depth_estimation]: " in printed and printed.count(" frames received = ") == 2


def test_each_camera_has_its_own_parameters_by_file_and_at_run_time(cameras):
    front, left = cameras
    for client, encoding in ((front, "32FC1"), (left, "16UC1")):
        header = client.send()
        client.wait(lambda client=client, header=header: client.result("depth/image", header))
        assert client.result("depth/image", header).encoding == encoding
    assert left.set(depth_resolution="network").successful
    sizes = []
    for client in cameras:
        client.send()
        header = client.send()
        client.wait(lambda client=client, header=header: client.result("depth/image", header))
        sizes.append(client.result("depth/image", header).width)
    assert sizes == [320, 80]
    assert left.set(depth_resolution="camera").successful


def test_frames_that_arrive_together_come_back_to_their_own_camera_and_are_counted_there(cameras):
    front, left = cameras
    before = [client.settled()["received"] for client in cameras]
    for _ in range(5):
        headers = [client.send() for client in cameras]
        for client, header in zip(cameras, headers, strict=True):
            client.wait(lambda client=client, header=header: client.result("depth/image", header))
    header = front.send()
    front.wait(lambda: front.result("depth/image", header))
    counts = [int(client.settled()["received"]) - int(count) for client, count in zip(cameras, before, strict=True)]
    assert counts == [6, 5]
    assert not left.result("depth/image", header)


def test_they_run_on_one_engine(cameras):
    for client in cameras:
        client.settled()
        assert client.figures["engine_cameras"] == "2"
        assert client.figures["level"] == DiagnosticStatus.OK
    printed = output(cameras[0].process)
    assert printed.count("runs on") == 2 and printed.count("using the engine that already runs for another camera") == 1


def test_a_reload_that_fails_costs_no_camera_its_model(cameras, model):
    _, left = cameras
    content = model.read_bytes()
    for damage in (lambda: model.write_bytes(content[:-1000]), model.unlink):
        damage()
        answer = left.call(Trigger, "reload_model", Trigger.Request())
        assert not answer.success and str(model) in answer.message and "\n" not in answer.message
        for client in cameras:
            header = client.send()
            client.wait(lambda client=client, header=header: client.result("depth/image", header))
            assert client.settled()["level"] == DiagnosticStatus.OK
    model.write_bytes(content)
    assert left.call(Trigger, "reload_model", Trigger.Request()).success


def test_a_camera_that_fails_or_is_shut_down_does_not_disturb_the_others(cameras):
    front, left = cameras
    bad = Image(height=240, width=320, encoding="rgb8", step=960)
    left.send(image=bad)
    left.wait(lambda: left.figures.get("failed: image not readable") == "1")
    assert front.settled()["failed"] == "0"
    for transition in ("deactivate", "cleanup"):
        assert left.change_state(transition)
        header = front.send()
        front.wait(lambda header=header: front.result("depth/image", header))
    front.wait(lambda: front.figures.get("engine_cameras") == "1")
    left.wait(lambda: left.figures.get("state") == "unconfigured")
    for transition in ("configure", "activate"):
        assert left.change_state(transition)
    left.send_until_published()
    front.wait(lambda: front.figures.get("engine_cameras") == "2")
    assert left.change_state("shutdown")
    header = front.send()
    front.wait(lambda: front.result("depth/image", header))


def test_two_synthetic_cameras_become_two_streams_of_depth_with_their_stamps_and_frames():
    with ros_context(name="multi_camera_observer") as node, ExitStack() as ending:
        process = ending.enter_context(running_node(MODULE, parameters={"cameras": ["east", "west"]}))
        clients, stamps = [], {}
        for name in ("east", "west"):
            clients.append(DepthClient(node, process, f"/{name}"))
            clients[-1].subscribe("depth/image")
            stamps[name] = []
            keep = stamps[name].append
            node.create_subscription(Image, f"/{name}/image", lambda msg, keep=keep: keep(msg.header.stamp), 10)
            ending.enter_context(
                running_node(
                    "depth_estimation_ros.nodes.synthetic_camera",
                    parameters={"width": 160, "height": 120, "rate": 10.0, "frame_id": f"{name}_lens"},
                    remappings={"__ns": f"/{name}"},
                )
            )
        for client in clients:
            name = client.namespace[1:]
            depths = client.got["depth/image"]
            client.wait(lambda depths=depths: len(depths) >= 10)
            # On a busy machine, this process may receive its first image after the tenth depth image.
            client.wait(lambda depths=depths, name=name: any(msg.header.stamp in stamps[name] for msg in depths))
            assert {msg.header.frame_id for msg in depths} == {f"{name}_lens"}
            times = [(msg.header.stamp.sec, msg.header.stamp.nanosec) for msg in depths]
            assert times == sorted(times)


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({}, "cameras is empty: name the cameras, such as -p cameras:='front left right'"),
        ({"cameras": 3}, "cameras takes names, such as 'front left right', not 3"),
        ({"cameras": "a, a"}, "cameras names /a twice"),
        ({"cameras": "a 1b"}, "cameras: '1b' is no name for ROS"),
        ({"cameras": "a b", "model": "/none"}, "model '/none' not found: give the path of an ONNX file"),
        ({"cameras": "a b", "min_depth": 20.0}, "min_depth must be less than max_depth"),
    ],
)
def test_what_is_wrong_is_one_sentence_and_the_end(parameters, sentence):
    process = start_node(MODULE, parameters=parameters)
    assert process.wait(30) == 1
    (line,) = output(process).splitlines()
    assert sentence in line


def test_one_camera_that_cannot_start_ends_them_all(tmp_path):
    settings = tmp_path / "cameras.yaml"
    settings.write_text("/b/depth_estimation: {ros__parameters: {model: /none}}\n")
    process = start_node(MODULE, "--params-file", str(settings), parameters={"cameras": "a b c"})
    assert process.wait(30) == 1
    errors = [line for line in output(process).splitlines() if "[ERROR]" in line]
    assert len(errors) == 1 and "[b.depth_estimation]: model '/none' not found" in errors[0]
    assert "Traceback" not in output(process)
