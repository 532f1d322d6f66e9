"""The node under an operator: it answers whatever its engine does, and what went wrong stays to be seen."""

import signal
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import yaml
from depth_client import DepthClient
from depth_node_on_script import LOST_GREY, STUCK_GREY
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.srv import GetState
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from ros_processes import REPOSITORY, output, ros_context, running_node
from std_msgs.msg import Float32MultiArray
from std_srvs.srv import Trigger

from depth_estimation_ros.conversions import rgb_to_image

MODULE = "depth_node_on_script"
OUTPUT_TIMEOUT = 1.0


class Script:
    """Tells the engine of a node what to do (`depth_node_on_script`)."""

    def __init__(self, folder: Path):
        self._folder = folder

    def write(self, name: str, order: str = "") -> None:
        half = self._folder / f".{name}"
        half.write_text(order)
        half.replace(self._folder / name)

    def clear(self) -> None:
        for file in self._folder.iterdir():
            file.unlink()


@contextmanager
def scripted(folder, namespace, program="node", **parameters):
    """Run a program on such an engine; gives its process, its script and a node to talk to it."""
    environment = {"SCRIPT": str(folder), "PROGRAM": program, "PYTHONPATH": f"{REPOSITORY}:{Path(__file__).parent}"}
    parameters = {"output_timeout": OUTPUT_TIMEOUT, "image_reliability": "reliable", **parameters}
    with (
        ros_context() as node,
        running_node(MODULE, parameters=parameters, remappings={"__ns": namespace}, env=environment) as process,
    ):
        yield process, Script(folder), node


def ended(process, number=signal.SIGHUP) -> str:
    """End a program by a signal, in time and cleanly; returns what it has printed."""
    process.send_signal(number)
    assert process.wait(15.0) == 0, output(process)
    assert "Traceback" not in output(process).split("as the script says")[-1]
    return output(process)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with scripted(tmp_path_factory.mktemp("script"), "/operated") as (process, script, node):
        client = DepthClient(node, process, "/operated")
        client.wait(lambda: client.figures.get("state") == "active")
        client.subscribe("depth/image")
        yield client, script
        printed = ended(process)
        assert " frames received = " in printed.splitlines()[-1], "it says so after a SIGHUP, too"


@pytest.fixture
def depth(running):
    """Give the node, active, with an engine that does as it should; and check that all frames are accounted for."""
    client, script = running
    script.clear()
    while client.figures.get("state") != "active":
        client.change_state({"inactive": "activate"}.get(client.figures.get("state"), "configure"))
        client.settled()
    client.send_until_published()
    yield client
    script.clear()
    client.settled()


@pytest.fixture
def script(running):
    return running[1]


def reload(depth) -> Trigger.Response:
    return depth.call(Trigger, "reload_model", Trigger.Request())


def lifecycle(depth) -> str:
    return depth.call(GetState, "get_state", GetState.Request()).current_state.label


def grey(value) -> object:
    return rgb_to_image(np.full((240, 320, 3), value, np.uint8))


def published(depth) -> None:
    header = depth.send()
    depth.wait(lambda: depth.result("depth/image", header))


def seen(depth) -> dict:
    """Return the next diagnostics."""
    depth.figures = {}
    depth.wait(lambda: depth.figures)
    return depth.figures


def get_stuck(depth, script) -> None:
    """Send a frame from which the engine does not come back."""
    script.write("stuck")
    depth.send(image=grey(STUCK_GREY))
    depth.wait(lambda: "no output: " in depth.figures.get("fault", ""))
    assert depth.figures["level"] == DiagnosticStatus.ERROR


# A model that cannot be had

WRONG = {
    "OSError": "Input/output error",
    "MemoryError": "the memory of this machine does not suffice",
    "UnicodeError": "as the script says",
    "RuntimeError": "as the script says",
    "KeyError": "KeyError: 'as the script says'",
    "SystemExit": "the engine has ended the loading (SystemExit): as the script says",
    "Panic": "the engine has ended the loading (Panic)",
}


def test_whatever_a_reload_raises_is_answered_in_a_sentence_and_the_old_model_goes_on(depth, script):
    for kind, sentence in WRONG.items():
        script.write("load", kind)
        answer = reload(depth)
        assert not answer.success and answer.message.startswith(sentence) and "\n" not in answer.message, answer
        assert f"the model was not reloaded: {sentence}" in output(depth.process)
        published(depth)
    assert "fault" not in seen(depth) and depth.figures["state"] == "active"


def test_whatever_a_configuration_raises_is_an_error_until_another_one_succeeds(depth, script):
    assert depth.change_state("deactivate") and depth.change_state("cleanup")
    for kind in ("OSError", "KeyError", "Panic"):
        script.write("load", kind)
        assert not depth.change_state("configure")
        assert lifecycle(depth) == "unconfigured"
        for _ in range(2):
            assert seen(depth)["level"] == DiagnosticStatus.ERROR
            assert depth.figures["message"] == depth.figures["fault"] and depth.figures["fault"].startswith(WRONG[kind])
    script.clear()
    assert depth.change_state("configure")
    assert "fault" not in seen(depth) and depth.figures["level"] == DiagnosticStatus.OK


def test_an_engine_that_is_lost_while_another_one_is_loaded_is_seen_and_replaced(depth, script):
    script.write("load", "wait")
    answer = depth.ask(Trigger, "reload_model", Trigger.Request())
    script.write("lost")
    depth.wait(lambda: depth.figures.get("fault") == "the engine is gone")
    assert depth.figures["level"] == DiagnosticStatus.ERROR
    script.clear()
    assert depth.answer(answer).success
    published(depth)
    assert "fault" not in seen(depth)


def test_an_engine_that_is_lost_and_cannot_be_replaced_leaves_the_node_unconfigured_with_that_fault(depth, script):
    script.write("load", "OSError")
    depth.wait(lambda: depth.send(image=grey(LOST_GREY)) and depth.figures.get("state") == "unconfigured")
    assert depth.figures["fault"] == "the engine is gone"
    assert lifecycle(depth) == "unconfigured"
    assert not depth.change_state("configure")
    assert seen(depth)["fault"] == "Input/output error"


# A model that takes long


def test_while_a_model_is_reloaded_the_old_one_works_and_everything_else_answers(depth, script):
    before = depth.settled()
    script.write("load", "wait")
    answer = depth.ask(Trigger, "reload_model", Trigger.Request())
    depth.wait(lambda: depth.figures.get("busy") == "reload_model")
    for _ in range(10):
        published(depth)
    assert lifecycle(depth) == "active"
    assert depth.set(max_depth=9.0).successful and depth.set(max_depth=10.0).successful
    refused = depth.set(threads=2)
    assert "threads cannot change while the node is busy with reload_model: try again when" in refused.reason
    second = reload(depth)
    assert not second.success and "the node is busy with reload_model: try again when it has ended" in second.message
    assert seen(depth)["level"] == DiagnosticStatus.OK and not answer.done()
    script.clear()
    assert depth.answer(answer).success
    published(depth)
    assert int(depth.settled()["published"]) - int(before["published"]) == 11


@pytest.mark.parametrize("how", ["wait", "hang"])
def test_a_transition_ends_a_reload(depth, script, how):
    script.write("load", how)
    answer = depth.ask(Trigger, "reload_model", Trigger.Request())
    depth.wait(lambda: depth.figures.get("busy") == "reload_model")
    assert depth.change_state("deactivate")
    assert not depth.answer(answer).success and "the reload was cancelled" in answer.result().message
    assert seen(depth)["state"] == "inactive"


def test_while_a_model_is_configured_services_answer_and_no_parameter_is_taken_and_forgotten(depth, script):
    assert depth.change_state("deactivate") and depth.change_state("cleanup")
    assert depth.set(model="nyu_resnet18_small").successful
    script.write("load", "wait")
    answer = depth.ask_for("configure")
    depth.wait(lambda: depth.figures.get("state") == "configuring")
    assert lifecycle(depth) == "configuring"
    assert "model cannot change while the node is busy with configure" in depth.set(model="/nowhere.onnx").reason
    assert "depends on the model, which is being loaded" in depth.set(max_relative_deviation=0.5).reason
    assert depth.set(model="nyu_resnet18_small", max_relative_deviation=0.0).successful, "it has that value"
    assert not depth.change_state("configure")
    assert "configure is refused: the node is busy with configure" in output(depth.process)
    assert seen(depth)["message"].startswith("configuring: ")
    script.clear()
    assert depth.answer(answer).success
    refused = depth.set(max_relative_deviation=0.5)
    assert "max_relative_deviation needs a model with the output log_variance" in refused.reason
    assert depth.change_state("cleanup") and depth.set(model="default").successful


# An engine that does not come back


def test_a_stuck_engine_is_replaced_by_a_reload_and_its_frame_is_counted_once(depth, script):
    before = depth.settled()
    get_stuck(depth, script)
    assert reload(depth).success
    published(depth)
    after = depth.settled()
    key = "failed: engine busy, given up"
    assert int(after[key]) - int(before.get(key, 0)) == 1 and "fault" not in after
    script.clear()  # now the old engine comes back
    published(depth)
    assert depth.settled()[key] == after[key]


def test_a_stuck_engine_does_not_keep_the_node_from_being_deactivated_and_configured_again(depth, script):
    get_stuck(depth, script)
    answer = depth.ask_for("deactivate")
    assert not depth.answer(answer).success
    assert seen(depth)["state"] == "unconfigured" and depth.figures["level"] == DiagnosticStatus.ERROR
    assert "the engine did not return from a frame within output_timeout" in depth.figures["fault"]
    assert depth.change_state("configure") and depth.change_state("activate")
    depth.send_until_published()  # the old one is stuck still
    assert "fault" not in seen(depth)


def test_a_shutdown_ends_a_configuration_that_hangs_and_ctrl_c_a_program_whose_engine_is_stuck(tmp_path):
    with scripted(tmp_path, "/hanging", autostart=False) as (process, script, node):
        depth = DepthClient(node, process, "/hanging")
        script.write("load", "hang")
        configured = depth.ask_for("configure")
        depth.wait(lambda: depth.figures.get("state") == "configuring")
        assert depth.change_state("shutdown")
        assert not depth.answer(configured).success
        assert seen(depth)["state"] == "finalized"
        ended(process, signal.SIGINT)


def test_cameras_with_one_engine_are_not_held_up_by_it_when_it_is_stuck(tmp_path):
    with scripted(tmp_path, "/robot", "multi_camera", cameras="left right") as (process, script, node):
        left, right = (DepthClient(node, process, f"/robot/{name}") for name in ("left", "right"))
        for camera in (left, right):
            camera.subscribe("depth/image")
            camera.send_until_published()
        get_stuck(left, script)
        right.wait(lambda: right.send() and "no output: " in right.figures.get("fault", ""))
        assert reload(right).success, "on an engine of its own"
        published(right)
        assert not left.change_state("deactivate")
        assert "did not return" in seen(left)["fault"]
        published(right)
        assert left.change_state("configure") and left.change_state("activate")
        left.send_until_published()
        left.wait(lambda: left.figures.get("engine_cameras") == "2")
        get_stuck(right, script)
        assert ended(process).count(" frames received = ") == 2


# Parameters, latency


def test_the_packaged_parameter_file_loads_on_a_running_node(depth):
    file = yaml.safe_load((REPOSITORY / "config" / "depth_estimation.yaml").read_text())
    values = {**file["/**"]["ros__parameters"], "output_timeout": OUTPUT_TIMEOUT, "image_reliability": "reliable"}
    parameters: list[ParameterMessage] = [Parameter(n, value=v).to_parameter_msg() for n, v in values.items()]
    answer = depth.call(SetParameters, "set_parameters", SetParameters.Request(parameters=parameters))
    assert [result.reason for result in answer.results if not result.successful] == []


def test_a_parameter_cannot_be_deleted(depth):
    request = SetParameters.Request(parameters=[ParameterMessage(name="max_depth")])
    (result,) = depth.call(SetParameters, "set_parameters", request).results
    assert not result.successful and result.reason
    published(depth)


def test_whoever_takes_the_latency_alone_gets_it(depth):
    depth.unsubscribe()
    got = []
    subscription = depth.node.create_subscription(
        Float32MultiArray, "/operated/depth/latency", lambda msg: got.append(by_stage(msg)), 10
    )
    try:
        depth.wait(lambda: depth.send() and len(got) > 3)
    finally:
        depth.node.destroy_subscription(subscription)
        depth.subscribe("depth/image")
    assert got[-1]["inference"] > 0.0 and got[-1]["latency"] > 0.0 and got[-1]["cloud"] == 0.0


def by_stage(message) -> dict[str, float]:
    return dict(zip(message.layout.dim[0].label.split(","), message.data, strict=True))
