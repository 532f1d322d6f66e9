"""The CUDA runtime, with and without NVIDIA's package, on a machine without a GPU: every failure is one sentence."""

import ctypes
import importlib.util
from pathlib import Path

import pytest

from depth_estimation_ros.backends import BackendError
from depth_estimation_ros.backends.tensorrt import cuda as rooms
from depth_estimation_ros.backends.tensorrt import cuda_calls
from depth_estimation_ros.backends.tensorrt.cuda import Cuda, CudaError, open_cuda
from depth_estimation_ros.backends.tensorrt.cuda_calls import _SIGNATURES, Bindings, Libcudart, libcudart_candidates


def libcudart() -> Libcudart:
    """Open a libcudart: the machine's, or that of NVIDIA's wheel."""
    spec = importlib.util.find_spec("nvidia")
    wheels = (
        [path for place in spec.submodule_search_locations for path in Path(place).glob("*/lib/libcudart.so*")]
        if spec
        else []
    )
    for path in [*libcudart_candidates(), *map(str, wheels)]:
        try:
            return Libcudart(path)
        except OSError:
            continue
    pytest.skip("no libcudart on this machine")


def bindings() -> Bindings:
    pytest.importorskip("cuda.bindings.runtime", reason="needs cuda-bindings: pip install -e '.[test]'")
    return Bindings()


@pytest.fixture(params=[bindings, libcudart])
def cuda(request) -> Cuda:
    """Return the runtime either way; what follows holds where there is no GPU."""
    calls = request.param()
    if not calls.call("cudaGetDeviceCount")[0]:
        pytest.skip("this machine has a GPU")
    return Cuda(calls)


CALLS = {
    "cudaMemGetInfo": lambda cuda: cuda.memory_info(),
    "cudaMalloc": lambda cuda: cuda.malloc(64),
    "cudaHostAlloc": lambda cuda: cuda.host_alloc(64),
    "cudaStreamCreateWithFlags": lambda cuda: cuda.stream(),
    "cudaStreamBeginCapture": lambda cuda: cuda.begin_capture(0),
    "cudaStreamEndCapture": lambda cuda: cuda.end_capture(0),
    "cudaGraphLaunch": lambda cuda: cuda.launch(0, 0),
    "cudaGraphExecDestroy": lambda cuda: cuda.destroy_graph(0),
    "cudaFree": lambda cuda: cuda.free(4096),
    "cudaFreeHost": lambda cuda: cuda.free_host(4096),
    "cudaStreamDestroy": lambda cuda: cuda.destroy_stream(4096),
    "cudaMemcpyAsync": lambda cuda: cuda.to_device(0, 0, 64, 0),
    "cudaStreamSynchronize": lambda cuda: cuda.synchronize(0),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_that_fails_names_itself_and_the_reason(cuda, name):
    with pytest.raises(CudaError, match=rf"^{name} failed: cudaError\w+, [\w ]+$") as caught:
        CALLS[name](cuda)
    assert caught.value.code and not caught.value.out_of_memory and not caught.value.device_lost


def test_without_a_gpu_no_device_is_made_up(cuda):
    with pytest.raises(BackendError, match="no CUDA device can be used: cudaGetDeviceCount failed"):
        cuda.device()


def test_leaving_a_recording_never_fails(cuda):
    cuda.abandon_capture(0)


def test_both_ways_have_every_function_and_name_errors_alike():
    ours, theirs = bindings(), libcudart()
    assert not [name for name in _SIGNATURES if not hasattr(ours._runtime, name)]
    for code in (1, 2, 35, 100, 700, 719):
        assert ours.describe(code) == theirs.describe(code)


KINDS = {
    "size_t": ctypes.c_size_t,
    "int": ctypes.c_int,
    "unsigned int": ctypes.c_uint,
    "unsigned long long": ctypes.c_ulonglong,
}


@pytest.mark.parametrize("name", _SIGNATURES)
def test_the_arguments_are_those_of_cuda_bindings(name):
    text = getattr(bindings()._runtime, name).__doc__.splitlines()[0]
    arguments = [part for part in text.partition("(")[2].rstrip(")").split(", ") if part]
    # "size_t count", "kind: cudaMemcpyKind", or the name of a handle or an address.
    theirs = [
        KINDS.get(part.rpartition(" ")[0], ctypes.c_int if ":" in part else ctypes.c_void_p) for part in arguments
    ]
    pointers = (ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_void_p), ctypes.POINTER(ctypes.c_size_t))
    assert [kind for kind in _SIGNATURES[name] if kind not in pointers] == theirs, text
    assert text.startswith(f"{name}(")


def test_the_errors_that_end_a_gpu_are_named_as_cuda_names_them():
    theirs = libcudart()
    for code, name in rooms._STICKY.items():
        assert theirs.describe(code).startswith(f"{name},")
    assert CudaError(719, "").device_lost and CudaError(2, "").out_of_memory


def test_values_are_those_of_cudas_headers():
    runtime = bindings()._runtime
    assert runtime.cudaMemcpyKind.cudaMemcpyHostToDevice == cuda_calls.cudaMemcpyKind.TO_DEVICE
    assert runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost == cuda_calls.cudaMemcpyKind.TO_HOST
    assert (
        runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal == cuda_calls.cudaStreamCaptureMode.THREAD_LOCAL
    )
    attributes = runtime.cudaDeviceAttr
    assert attributes.cudaDevAttrComputeCapabilityMajor == cuda_calls.cudaDeviceAttr.COMPUTE_CAPABILITY_MAJOR
    assert attributes.cudaDevAttrComputeCapabilityMinor == cuda_calls.cudaDeviceAttr.COMPUTE_CAPABILITY_MINOR
    assert runtime.cudaStreamNonBlocking == rooms._STREAM_NON_BLOCKING


def test_without_any_runtime_the_remedy_is_named(monkeypatch):
    def missing():
        raise ImportError

    monkeypatch.setattr(rooms, "Bindings", missing)
    monkeypatch.setattr(rooms, "libcudart_candidates", lambda: ["libcudart-of-nobody.so"])
    with pytest.raises(BackendError, match=r"CUDA runtime was not found.*pip install cuda-bindings"):
        open_cuda()


def test_the_runtime_is_looked_for_where_cuda_lies(monkeypatch, tmp_path):
    (tmp_path / "lib64").mkdir()
    (tmp_path / "lib64" / "libcudart.so.12").write_bytes(b"")
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    assert str(tmp_path / "lib64" / "libcudart.so.12") in libcudart_candidates()
