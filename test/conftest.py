"""What several tests share: real and rendered frames, a rendered room with a camera in it, what `--fast` leaves out."""

import fcntl
import os
import subprocess
from contextlib import ExitStack
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest

from depth_estimation_ros.synthetic import Room

REPOSITORY = Path(__file__).resolve().parents[1]
# Real RGB-D frames, which may not be distributed with the package.
DATA = Path(os.environ.get("RGBD_DATA") or REPOSITORY.parent / "shared" / "data")

# PyTorch's threads: for networks as small as those of the tests, they wait for one another, and on a busy machine long.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_addoption(parser):
    parser.addoption("--fast", action="store_true", help="skip a test as soon as it starts a process or a ROS context")


def pytest_report_header(config):
    return "fast: whatever starts a process or a ROS context is skipped" if config.getoption("fast") else None


def pytest_collection_modifyitems(config, items):
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked and (reason := without_gpu()):
        for item in marked:
            item.add_marker(pytest.mark.skip(reason=reason))


def without_gpu() -> str:
    """Return why this machine has no GPU for CUDA, or an empty string."""
    from depth_estimation_ros.backends import BackendError
    from depth_estimation_ros.backends.tensorrt.cuda import open_cuda

    try:
        open_cuda().device()
    except BackendError as error:
        return f"needs a CUDA device: {error}"
    return ""


@pytest.fixture(scope="session", autouse=True)
def fast(request):
    """Skip a test for what it does, so that no test has to be marked."""
    if not request.config.getoption("fast"):
        yield
        return
    import rclpy

    with pytest.MonkeyPatch.context() as patch:
        for owner, name in ((subprocess.Popen, "__init__"), (BaseProcess, "start"), (rclpy.Context, "init")):
            patch.setattr(owner, name, lambda *_, **__: pytest.skip("starts a process or a ROS context"))
        yield


@pytest.fixture
def rgbd_data(request) -> Path:
    """Folder of real RGB-D frames, for checks that rendered ones cannot replace."""
    if not DATA.is_dir():
        promise = request.node.name.removeprefix("test_").replace("_", " ")
        pytest.skip(f"needs real RGB-D frames ({DATA}, or RGBD_DATA=FOLDER); not checked: {promise}")
    return DATA


@pytest.fixture(scope="session")
def rendered_data(tmp_path_factory) -> Path:
    """Folder with rendered rooms in the files of the real frames; written once for all workers."""
    from rendered_data import write_rendered_data

    shared = tmp_path_factory.getbasetemp()
    shared = shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared
    folder = shared / "rendered"
    with open(shared / "rendered.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            draft = tmp_path_factory.mktemp("draft")
            write_rendered_data(draft)
            draft.rename(folder)
    return folder


@pytest.fixture(scope="session")
def room() -> Room:
    return Room(seed=0)


@pytest.fixture(scope="session")
def pose(room) -> np.ndarray:
    """Pose of a camera in the room, camera-to-world [4, 4]."""
    return room.trajectory(23.0)


@pytest.fixture
def start():
    """Start depth nodes that end with the test; each comes with a client in the same namespace."""
    from depth_client import MODULE, DepthClient
    from ros_processes import ros_context, running_node

    with ros_context() as node, ExitStack() as ending:

        def begin(namespace, remappings=None, qos=None, **parameters):
            names = {"__ns": namespace, **(remappings or {})}
            process = ending.enter_context(running_node(MODULE, parameters=parameters, remappings=names))
            return DepthClient(node, process, namespace, **({"qos": qos} if qos else {}))

        yield begin
