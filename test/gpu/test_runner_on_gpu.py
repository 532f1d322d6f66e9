"""
The runner of TensorRT with real CUDA: copies, graphs, threads, errors and memory, with a kernel in place of an engine.

Every test runs on a GPU, through both ways to the CUDA runtime, and without one on the host, where it proves itself.
"""

from __future__ import annotations

import gc
import os
import resource
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from machines import LARGE, OUTPUTS, Gpu, Host, compiled, expected, launch, open_engine
from tensorrt_on_host import HERE

from depth_estimation_ros.backends import BackendError
from depth_estimation_ros.backends.shared import SharedEngine
from depth_estimation_ros.backends.tensorrt.cuda import CudaError
from depth_estimation_ros.model import ModelInfo

IMAGES = np.random.default_rng(0).integers(0, 256, (9, 48, 64, 3), np.uint8)
WANTED = expected(IMAGES)
MACHINES = {"host": Host, "bindings": lambda: Gpu("bindings"), "libcudart": lambda: Gpu("libcudart")}


@pytest.fixture(
    scope="module",
    params=["host", *(pytest.param(way, marks=pytest.mark.gpu) for way in ("bindings", "libcudart"))],
)
def machine(request) -> Host | Gpu:
    return MACHINES[request.param]()


def is_right(outputs: dict[str, np.ndarray], chosen: slice | list[int]) -> None:
    for name in OUTPUTS:
        np.testing.assert_allclose(outputs[name], WANTED[name][chosen], rtol=1e-6)


@pytest.mark.parametrize("count", [1, 3, 4, 9])
def test_images_are_copied_in_computed_and_copied_out(machine, count):
    backend, _ = open_engine(machine)
    is_right(backend.infer(IMAGES[:count]), slice(count))


def test_a_replayed_graph_computes_the_image_of_its_time(machine):
    said: list[str] = []
    backend, executions = open_engine(machine, log=said.append)
    for i in (0, 1):  # enqueued, then captured
        is_right(backend.infer(IMAGES[i : i + 1]), [i])
    before = len(executions)
    for i in range(9):
        is_right(backend.infer(IMAGES[i : i + 1]), [i])
    assert len(executions) == before, "a replay enqueues nothing"
    assert not said, "the engine is captured"


def test_every_change_of_the_batch_is_right(machine):
    backend, _ = open_engine(machine)
    for count in (1, 2, 2, 2, 1, 1, 4, 3, 3, 4, 4, 4, 1):
        is_right(backend.infer(IMAGES[:count]), slice(count))


def test_a_result_stays_what_it_was_when_the_next_frame_comes(machine):
    backend, _ = open_engine(machine)
    first = backend.infer(IMAGES[:1])
    backend.infer(IMAGES[1:2])
    is_right(first, [0])


def test_two_engines_in_two_threads_do_not_disturb_each_other(machine):
    together = threading.Barrier(2, timeout=30)

    def work(offset: int) -> None:
        backend, _ = open_engine(machine, max_batch=2)
        together.wait()
        for i in range(300):
            count = 1 + (i // 7 + offset) % 2  # captures while the other engine runs
            first = (i + offset) % 7
            is_right(backend.infer(IMAGES[first : first + count]), slice(first, first + count))

    with ThreadPoolExecutor(2) as threads:
        for answer in [threads.submit(work, offset) for offset in (0, 1)]:
            answer.result(60)


def with_four_cameras(machine: Host | Gpu) -> weakref.ref:
    """Let four cameras use the engine of the node at the same time, and return a reference to that engine."""
    made: list[weakref.ref] = []

    def make():
        backend, _ = open_engine(machine)
        made.append(weakref.ref(backend))
        return backend

    info = ModelInfo("kernel", 64, 48, 60.0, 0.5, 10.0, "nothing", "Apache-2.0", "0" * 64)
    engine = SharedEngine(make, info, cameras=4)

    def camera(number: int) -> None:
        for i in range(100):
            chosen = (2 * i + number) % 9
            is_right(engine.infer(IMAGES[chosen : chosen + 1]), [chosen])

    with ThreadPoolExecutor(4) as cameras:
        for answer in [cameras.submit(camera, number) for number in range(4)]:
            answer.result(60)
    return made[0]


def test_four_cameras_share_an_engine_which_its_own_thread_releases(machine):
    engine = with_four_cameras(machine)
    gc.collect()
    end = time.monotonic() + 30
    while engine() is not None and time.monotonic() < end:
        time.sleep(0.05)
    assert engine() is None


def test_an_engine_without_memory_says_so_and_leaves_none_in_use(machine):
    open_engine(machine)
    with pytest.raises(BackendError, match="the GPU is out of memory; close other programs") as caught:
        open_engine(machine, max_batch=LARGE)
    assert caught.value.out_of_memory and not caught.value.device_lost
    del caught
    gc.collect()
    backend, _ = open_engine(machine)
    is_right(backend.infer(IMAGES[:2]), slice(2))


def lose(name: str) -> None:
    """Lose the GPU, in a process of its own: nothing after it works there."""
    machine = MACHINES[name]()
    with pytest.raises(CudaError, match="this program has lost the GPU: restart it") as caught:
        open_engine(machine, faulty=True)
    assert caught.value.device_lost
    del caught
    gc.collect()
    print("lost and released")


def test_a_kernel_that_faults_loses_the_gpu_to_its_process_only(machine):
    folders = (HERE, Path(__file__).parent, HERE.parent)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders))}
    code = f"import test_runner_on_gpu; test_runner_on_gpu.lose({machine.name!r})"
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0 and "lost and released" in run.stdout, run.stderr
    backend, _ = open_engine(machine)
    is_right(backend.infer(IMAGES[:1]), [0])


def resident() -> int:
    """Return the bytes of memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_no_memory_is_kept_over_10_000_frames_and_50_engines(machine):
    def frames(backend, count: int) -> None:
        for i in range(count):
            backend.infer(IMAGES[i % 9 : i % 9 + 1] if i % 50 else IMAGES[:3])

    cuda = machine.cuda()
    frames(open_engine(machine)[0], 200)
    gc.collect()
    on_device, on_host = machine.in_use(cuda), resident()
    frames(open_engine(machine)[0], 9000)
    for _ in range(50):
        frames(open_engine(machine)[0], 20)
    gc.collect()
    assert machine.in_use(cuda) - on_device < 4 << 20
    assert resident() - on_host < 16 << 20


@pytest.mark.parametrize("capability", [(7, 5), (8, 0), (9, 0), (12, 0)])
def test_the_kernel_compiles_for_a_gpu(capability):
    pytest.importorskip("cuda.bindings.nvrtc", reason="needs cuda-bindings: pip install -e '.[test]'")
    try:
        ptx = compiled(*capability)
    except RuntimeError as error:
        if "libnvrtc" in str(error):
            pytest.skip(f"needs NVRTC, which the wheels of PyTorch bring along: {error}")
        raise
    assert b"mean_of_colours" in ptx and b"write_nowhere" in ptx


def test_the_launch_has_the_types_that_the_driver_takes():
    driver = pytest.importorskip("cuda.bindings.driver", reason="needs cuda-bindings: pip install -e '.[test]'")
    with pytest.raises(RuntimeError):  # there is no driver, or no such function
        launch(driver.CUfunction(0), 0, {"image": 4096, "depth": 8192, "log_variance": 12288}, 1)
    for stream, address in (("1", 4096), (0, "4096")):
        with pytest.raises(TypeError):
            launch(driver.CUfunction(0), stream, {"image": address, "depth": 8192, "log_variance": 12288}, 1)
