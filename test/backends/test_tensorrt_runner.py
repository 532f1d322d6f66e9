"""The order of calls and the answers to failure, on a stand-in for the GPU (`tensorrt_on_host`)."""

import gc

import numpy as np
import onnxruntime
import pytest
from tensorrt_on_host import MAGIC, OUT_OF_MEMORY, HostCuda, library_on_host, two_outputs

from depth_estimation_ros.backends import BackendError
from depth_estimation_ros.backends.tensorrt.cuda import CudaError
from depth_estimation_ros.backends.tensorrt.runner import PlanError, TensorRTBackend

trt = pytest.importorskip("tensorrt_rtx", reason="needs TensorRT for RTX: pip install -e '.[test]'")

OUTPUTS = ("depth", "log_variance")
IMAGES = np.random.default_rng(0).integers(0, 256, (9, 6, 8, 3), np.uint8)


@pytest.fixture(scope="module")
def model() -> bytes:
    return two_outputs()


@pytest.fixture(scope="module")
def wanted(model) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(model)
    return dict(zip(OUTPUTS, session.run(list(OUTPUTS), {"image": IMAGES}), strict=True))


def runner(model: bytes, cuda: HostCuda, max_batch: int = 4, plan: bytes = MAGIC, log=lambda _: None, outputs=OUTPUTS):
    library = library_on_host(trt, cuda, model, max_batch)
    return TensorRTBackend(library, plan, max_batch, cuda, outputs, "tensorrt/test", log)


@pytest.mark.parametrize("count", [1, 3, 4, 9])
def test_every_batch_comes_back_with_all_outputs_in_order(model, wanted, count):
    outputs = runner(model, HostCuda()).infer(IMAGES[:count])
    assert list(outputs) == list(OUTPUTS)
    for name in OUTPUTS:
        assert outputs[name].dtype == np.float32
        np.testing.assert_array_equal(outputs[name], wanted[name][:count])


def test_a_result_stays_what_it_was_when_the_next_frame_comes(model, wanted):
    backend = runner(model, HostCuda())
    first = backend.infer(IMAGES[:1])["depth"]
    backend.infer(IMAGES[1:2])
    np.testing.assert_array_equal(first, wanted["depth"][:1])


def test_frames_are_one_launch_each_of_a_graph_recorded_once(model):
    cuda = HostCuda()
    backend = runner(model, cuda)
    for i in range(2):  # as it comes, and recorded
        backend.infer(IMAGES[i : i + 1])
    cuda.journal.clear()
    for i in range(3):
        backend.infer(IMAGES[i : i + 1])
    assert cuda.journal == ["launch", "synchronize"] * 3


def test_a_size_of_batch_that_comes_twice_running_is_recorded_and_the_old_recording_destroyed(model, wanted):
    cuda = HostCuda()
    backend = runner(model, cuda)
    for count in (1, 2, 1, 2):
        cuda.journal.clear()
        outputs = backend.infer(IMAGES[:count])
        assert not {"begin_capture", "launch"} & set(cuda.journal) and not cuda.graphs
        np.testing.assert_array_equal(outputs["depth"], wanted["depth"][:count])
    for _ in range(2):
        outputs = backend.infer(IMAGES[:2])
        assert cuda.journal.count("begin_capture") == len(cuda.graphs) == 1
        np.testing.assert_array_equal(outputs["depth"], wanted["depth"][:2])


def test_the_engine_says_its_name_and_the_memory_of_its_gpu_until_that_is_lost(model):
    cuda = HostCuda()
    backend = TensorRTBackend(library_on_host(trt, cuda, model), MAGIC, 4, cuda, OUTPUTS, engine="tiny-fp16-0123")
    assert backend.facts() == {"engine": "tiny-fp16-0123", "gpu_memory_mib": "3072 of 4096 in use"}
    cuda.failing["memory"] = 719
    assert backend.facts() == {"engine": "tiny-fp16-0123"}


@pytest.mark.parametrize("call", ["begin_capture", "end_capture"])
def test_an_engine_that_cannot_be_recorded_runs_without_a_graph_and_says_so_once(model, wanted, call):
    cuda, said = HostCuda(failing={call: 900}), []
    backend = runner(model, cuda, log=said.append)
    for count in (1, 2, 1):
        np.testing.assert_array_equal(backend.infer(IMAGES[:count])["depth"], wanted["depth"][:count])
    assert len(said) == 1 and "without one" in said[0]
    assert cuda.journal.count("abandon_capture") == 1
    assert "launch" not in cuda.journal


@pytest.mark.parametrize("call", ["to_device", "synchronize", "launch"])
def test_a_failing_call_is_one_sentence_and_the_next_frame_may_succeed(model, wanted, call):
    cuda = HostCuda()
    backend = runner(model, cuda)
    backend.infer(IMAGES[:1])
    cuda.failing[call] = 1
    images = IMAGES[:2] if call == "to_device" else IMAGES[:1]
    with pytest.raises(BackendError, match=f"tensorrt/test failed: {call} failed"):
        backend.infer(images)
    cuda.failing.clear()
    cuda.enqueued.clear()
    np.testing.assert_array_equal(backend.infer(images)["depth"], wanted["depth"][: len(images)])


def test_out_of_memory_and_a_lost_gpu_are_named_as_such(model):
    with pytest.raises(BackendError, match="the GPU is out of memory; close other programs"):
        runner(model, HostCuda(failing={"malloc": 2}))
    cuda = HostCuda()
    backend = runner(model, cuda)
    cuda.failing["synchronize"] = 719
    with pytest.raises(CudaError, match="this program has lost the GPU: restart it") as caught:
        backend.infer(IMAGES[:1])
    assert caught.value.device_lost


@pytest.mark.parametrize("call", ["malloc", "host_alloc", "begin_capture", ""])
def test_everything_is_given_back(model, call):
    cuda = HostCuda(failing={call: 2})
    if call in ("malloc", "host_alloc"):
        with pytest.raises(BackendError):
            runner(model, cuda)
    else:
        backend = runner(model, cuda)
        backend.infer(IMAGES[:1])
        assert cuda.memory
        del backend
    gc.collect()
    assert not cuda.memory and not cuda.graphs
    assert cuda.journal.count("stream") == cuda.journal.count("destroy_stream") == 1


def test_a_plan_that_does_not_load_or_is_of_another_model_is_refused(model):
    with pytest.raises(PlanError, match="does not load: header"):
        runner(model, HostCuda(), plan=b"garbage")
    with pytest.raises(BackendError, match="memory does not suffice to load") as caught:
        runner(model, HostCuda(), plan=OUT_OF_MEMORY)
    assert not isinstance(caught.value, PlanError), "for which the engine would be built again"
    with pytest.raises(PlanError, match="not one of this model: its tensors are image UINT8, depth FLOAT"):
        runner(model, HostCuda(), outputs=("depth", "confidence"))


@pytest.mark.parametrize("images", [IMAGES[:, :5], IMAGES.astype(np.float32), IMAGES[:0]])
def test_images_of_another_size_or_type_are_refused(model, images):
    with pytest.raises(BackendError, match=r"takes uint8 \[N, 6, 8, 3\], got"):
        runner(model, HostCuda()).infer(images)
