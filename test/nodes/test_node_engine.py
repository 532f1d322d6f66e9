"""The node while an engine is built for it, when that fails, and when the GPU goes away (`depth_node_on_host`)."""

import json
import os
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
from depth_client import MODULE, DepthClient
from diagnostic_msgs.msg import DiagnosticStatus
from ros_processes import output, ros_context, running_node, stop

from depth_estimation_ros.model import load_model

pytest.importorskip("tensorrt_rtx", reason="needs TensorRT for RTX: pip install -e '.[test]'")

TESTS = Path(__file__).resolve().parents[1]


@pytest.fixture
def start(tmp_path):
    """Start nodes on the GPU that is not there; each comes with a client in the same namespace."""
    cv2.imwrite(str(tmp_path / "frame.png"), np.full((120, 160, 3), 127, np.uint8))
    with ros_context() as node, ExitStack() as ending:

        def begin(namespace, module="depth_node_on_host", variables=None, **parameters):
            paths = os.pathsep.join(filter(None, [str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH")]))
            parameters = {
                "backend": "tensorrt_rtx",
                "engine_cache": str(tmp_path / "engines"),
                "engine_calibration": str(tmp_path / "frame.png"),
                **parameters,
            }
            process = ending.enter_context(
                running_node(
                    module,
                    parameters=parameters,
                    remappings={"__ns": namespace},
                    env={"PYTHONPATH": paths, **(variables or {})},
                )
            )
            return DepthClient(node, process, namespace)

        yield begin


def test_the_first_launch_builds_and_the_second_runs_at_once(start, tmp_path):
    printed = []
    for launch in ("/first", "/second"):
        depth = start(launch)
        depth.subscribe("depth/image")
        depth.send_until_published()
        assert stop(depth.process) == 0
        printed.append(output(depth.process))
        assert "runs on tensorrt_rtx/fp16" in printed[-1] and "Traceback" not in printed[-1]
    assert "differs from ONNX Runtime's by 0.000%" in printed[0] and " built in " in printed[0]
    assert "ONNX Runtime" not in printed[1] and " built in " not in printed[1]
    assert len(list((tmp_path / "engines").glob("*.plan"))) == 1


def test_while_an_engine_is_built_the_node_is_configuring_and_says_how_far_it_is(start, tmp_path):
    depth = start("/slow", variables={"STEP_SECONDS": "0.05"})
    seen = set()

    def two_phases():
        if depth.figures.get("state") == "configuring":
            assert depth.figures["level"] == DiagnosticStatus.OK
            assert depth.figures["message"] == f"configuring: {depth.figures['progress']}"
            seen.add(depth.figures["progress"].split(",")[0])
        return len(seen - {"loading the model", "computing the model on the CPU"}) >= 2

    depth.wait(two_phases, timeout=60.0)
    assert stop(depth.process, timeout=5.0) == 0, "Ctrl-C ends a build"
    assert "Traceback" not in output(depth.process)
    assert {path.name for path in (tmp_path / "engines").iterdir()} == {"lock"}


def test_while_an_engine_is_built_the_nodes_services_answer(start):
    depth = start("/asked", variables={"STEP_SECONDS": "0.2"})
    depth.wait(lambda: depth.figures.get("state") == "configuring")
    assert depth.set(max_depth=4.0).successful
    assert not depth.change_state("activate")
    depth.figures = {}
    depth.wait(lambda: depth.figures)
    assert depth.figures["state"] == "configuring", "answered before the engine was there"
    assert stop(depth.process, timeout=5.0) == 0
    assert "Traceback" not in output(depth.process)


def test_an_engine_that_does_not_compute_its_model_ends_the_node_with_one_error(start, tmp_path):
    depth = start("/wrong", variables={"DISTORTION": "1.5"})
    assert depth.process.wait(30) == 1
    errors = [line for line in output(depth.process).splitlines() if "[ERROR]" in line]
    assert len(errors) == 1 and "Traceback" not in output(depth.process)
    assert "tensorrt_rtx/fp16 is refused" in errors[0] and "choose the precision fp32" in errors[0]
    assert not list((tmp_path / "engines").glob("*.plan"))


def test_a_failed_configuration_is_an_error_in_the_diagnostics_until_another_succeeds(start):
    depth = start("/managed", variables={"DISTORTION": "1.5"}, autostart=False)
    assert not depth.change_state("configure")
    depth.wait(lambda: "is refused" in depth.figures.get("fault", ""))
    assert depth.figures["state"] == "unconfigured" and depth.figures["level"] == DiagnosticStatus.ERROR
    assert depth.set(backend="cpu").successful
    assert depth.change_state("configure")
    depth.wait(lambda: depth.figures.get("state") == "inactive")
    assert "fault" not in depth.figures and depth.figures["level"] == DiagnosticStatus.OK
    assert stop(depth.process) == 0


def test_a_lost_gpu_takes_the_node_to_unconfigured_and_every_frame_is_accounted_for(start):
    depth = start("/lost", variables={"LOST_AFTER": "15"})
    depth.subscribe("depth/image")
    depth.send_until_published()
    depth.wait(lambda: depth.send() and depth.figures.get("state") == "unconfigured")
    assert depth.figures["level"] == DiagnosticStatus.ERROR
    assert "this program has lost the GPU: restart it" in depth.figures["fault"]
    figures = depth.settled()
    assert figures["failed: engine failed"] != "0"
    assert stop(depth.process) == 0
    assert "Traceback" not in output(depth.process)


def test_two_cameras_share_one_engine_and_lose_it_together(start, tmp_path):
    both = start("/robot", variables={"PROGRAM": "multi_camera", "LOST_AFTER": "60"}, cameras="left right")
    cameras = [DepthClient(both.node, both.process, f"/robot/{name}") for name in ("left", "right")]
    for camera in cameras:
        camera.subscribe("depth/image")
        camera.send_until_published()
        camera.wait(lambda camera=camera: camera.figures.get("engine_cameras") == "2")
        assert camera.figures["engine"].startswith(f"{load_model('default').info.name}-fp16-")
        assert camera.figures["gpu_memory_mib"] == "3072 of 4096 in use"
    (sidecar,) = (tmp_path / "engines").glob("*.json")
    assert json.loads(sidecar.read_text())["key"]["max_batch"] == "2", "of both cameras in one call"
    assert output(both.process).count(" built in ") == 1

    def lost():
        for camera in cameras:
            camera.send()
        return all(camera.figures.get("state") == "unconfigured" for camera in cameras)

    cameras[0].wait(lost)
    for camera in cameras:
        assert "this program has lost the GPU: restart it" in camera.figures["fault"]
        camera.settled()
    assert stop(both.process) == 0
    assert "Traceback" not in output(both.process)


@pytest.mark.skipif(os.path.exists("/proc/driver/nvidia"), reason="this machine has a GPU")
@pytest.mark.parametrize(
    ("backend", "sentence"),
    [("tensorrt_rtx", "no CUDA device can be used"), ("tensorrt", "tensorrt cannot be imported")],
)
def test_a_machine_without_gpu_or_tensorrt_gets_one_clear_error(start, backend, sentence):
    if backend == "tensorrt" and find_spec("tensorrt"):
        pytest.skip("TensorRT is installed here")
    depth = start("/none", module=MODULE, backend=backend)
    assert depth.process.wait(30) == 1
    (line,) = output(depth.process).splitlines()
    assert "[ERROR]" in line and sentence in line
