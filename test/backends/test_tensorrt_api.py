r"""
Every name that is called of TensorRT exists in every version, and takes what it is called with, in that order.

The wheels with Python bindings of TensorRT are small and import without TensorRT itself, once empty libraries stand in
for it. They are not downloaded here; where ``TENSORRT_WHEELS`` names a folder with some, each is looked at::

    for wheel in tensorrt-bindings==8.6.1 tensorrt-cu12-bindings=={10.0.1,10.3.0,10.13.0.35,11.4.0.106} \
                 tensorrt-cu13-bindings==11.4.0.106; do pip download --no-deps --dest wheels $wheel; done
    TENSORRT_WHEELS=wheels python -m pytest test/backends/test_tensorrt_api.py
"""

import ast
import ctypes
import importlib
import inspect
import os
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from tensorrt_on_host import CHILDREN, HostCuda, two_outputs
from tensorrt_signatures import OUTPUTS, Checked, checked, signatures

from depth_estimation_ros.backends import BackendError, EngineOptions
from depth_estimation_ros.backends.tensorrt import builder, library, runner
from depth_estimation_ros.backends.tensorrt.library import NEEDED, Library, find_library

WHEELS = sorted(Path(os.environ.get("TENSORRT_WHEELS", "")).glob("*tensorrt*bindings*.whl"))
TAG = f"-cp{sys.version_info.major}{sys.version_info.minor}-"

# Asked for with hasattr, or by name of an enumeration that may lack it (`Library.member`).
OPTIONAL = {"IProgressMonitor", "progress_monitor", "node_operator", "node_name"}

# The order of a build. What comes before what is in the documentation of these functions.
ORDER = (
    "Builder",
    "Builder.create_network",
    "OnnxParser",
    "OnnxParser.parse",
    "Builder.create_builder_config",
    "IBuilderConfig.set_memory_pool_limit",
    "Builder.create_optimization_profile",
    "INetworkDefinition.get_input",
    "IOptimizationProfile.set_shape",
    "IBuilderConfig.add_optimization_profile",
    "IBuilderConfig.set_timing_cache",
    "IBuilderConfig.progress_monitor=",
    "Builder.build_serialized_network",
    "IBuilderConfig.get_timing_cache",
    "ITimingCache.serialize",
)

MEMORY = object()
"""Stands for the workspace's pool of memory, since the bindings may not be installed here."""

# What the bindings take from TensorRT's libraries when they are imported or, before 10, when a class is looked at.
STAND_IN = "".join(
    f"void *{name}(void) {{ return 0; }}\n"
    for name in (
        "createInferBuilder_INTERNAL",
        "createInferRefitter_INTERNAL",
        "createInferRuntime_INTERNAL",
        "createNvOnnxParser_INTERNAL",
        "createNvOnnxParserRefitter_INTERNAL",
        "getBuilderPluginRegistry",
        "getNvOnnxParserVersion",
        "getPluginRegistry",
        "initLibNvInferPlugins",
        "_ZN11nvuffparser15createUffParserEv",
        "_ZN11nvuffparser8FieldMapC1EPKcPKvNS_9FieldTypeEi",
        "_ZN14nvcaffeparser117createCaffeParserEv",
        "_ZN14nvcaffeparser123shutdownProtobufLibraryEv",
    )
)


def used_names() -> set[str]:
    """Return every attribute that is asked of anything where TensorRT is called."""
    texts = [Path(module.__file__).read_text() for module in (builder, library, runner)]
    return {node.attr for text in texts for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Attribute)}


def members(module: ModuleType) -> set[str]:
    """Return every name of TensorRT's that cannot be taken for anything else: classes, and methods of two words."""
    classes = {name: value for name, value in vars(module).items() if isinstance(value, type)}
    methods = {name for value in classes.values() for name in vars(value) if "_" in name and not name.startswith("_")}
    return {name for name in classes if name[0].isupper()} | methods


def test_nothing_is_called_of_tensorrt_that_is_not_known_to_be_needed():
    trt = pytest.importorskip("tensorrt_rtx", reason="needs TensorRT for RTX: pip install -e '.[test]'")
    known = set(NEEDED) | {name for names in NEEDED.values() for name in names} | OPTIONAL
    assert used_names() & members(trt) <= known
    # And nothing is asked for that is not called.
    needed = {name for names in NEEDED.values() for name in names}
    assert needed - used_names() == {"log"}, "which TensorRT calls"


def test_tensorrt_for_rtx_has_what_is_needed():
    pytest.importorskip("tensorrt_rtx", reason="needs TensorRT for RTX: pip install -e '.[test]'")
    library = find_library("tensorrt_rtx")
    assert library.name == "tensorrt_rtx" and library.strongly_typed
    assert library.creation_flags() == 1 << int(library.module.NetworkDefinitionCreationFlag.STRONGLY_TYPED)


def test_a_version_that_lacks_something_is_refused_by_name():
    trt = pytest.importorskip("tensorrt_rtx", reason="needs TensorRT for RTX: pip install -e '.[test]'")
    old = ModuleType("tensorrt")
    old.__dict__.update({name: value for name, value in vars(trt).items() if name not in ("OnnxParser", "__name__")})
    old.__version__ = "8.4.1.5"
    with pytest.raises(BackendError, match=r"tensorrt 8.4.1.5 lacks OnnxParser.parse; versions from 8.5 on"):
        Library(old)


def test_a_library_that_is_not_there_is_one_sentence_with_a_remedy():
    if importlib.util.find_spec("tensorrt"):
        pytest.skip("TensorRT is installed here")
    with pytest.raises(BackendError, match="python3-libnvinfer"):
        find_library("tensorrt")
    with pytest.raises(BackendError, match="choose one of: tensorrt, tensorrt_rtx"):
        find_library("torch")


def call_everything(trt: ModuleType) -> None:
    """Build and run a model on classes that hold every call against the signatures of these bindings."""
    stand_in = checked(trt)
    found, content = Library(stand_in), two_outputs()
    for precision in ("fp16", "fp32"):
        options = EngineOptions(precision, cameras=2)
        assert builder.build(found, content, options, free_memory=1 << 30).plan == b"a plan"
    names = [name for name in stand_in.calls if name in ORDER]
    assert names == [name for name in ORDER if name in names] * 2
    stand_in.answers.update(parse=False, num_errors=1)
    with pytest.raises(BackendError, match="does not accept the model: "):
        builder.build(found, content, EngineOptions("fp32"), free_memory=1 << 30)
    stand_in.answers.clear()
    backend = runner.TensorRTBackend(found, b"a plan", 4, HostCuda(), OUTPUTS)
    for count in (1, 4, 9):
        assert backend.infer(np.zeros((count, 6, 8, 3), np.uint8))["depth"].shape == (count, 1, 6, 8)
    called = {name.rpartition(".")[2].rstrip("=") for name in stand_in.calls}
    properties = {"num_inputs", "num_errors", "num_io_tensors"}
    constants = {"log", "WORKSPACE", "INPUT", "FLOAT", "UINT8"}
    flags = {"set_flag"} if found.strongly_typed else set()
    needed = {name for names in NEEDED.values() for name in names}
    assert needed - called == properties | constants | flags, "is needed but not called"
    logger = signatures(trt.ILogger.log.__doc__, "log")[0]
    assert len(inspect.signature(type(found.logger()).log).parameters) == 1 + len(logger.names)
    if hasattr(trt, "IProgressMonitor"):
        monitor = builder._monitor(trt, lambda *_: None, threading.Event())
        for name in ("phase_start", "step_complete", "phase_finish"):
            [theirs] = signatures(getattr(trt.IProgressMonitor, name).__doc__, name)
            assert tuple(inspect.signature(getattr(monitor, name)).parameters) == theirs.names


def test_every_call_has_the_types_and_the_order_of_tensorrt_for_rtx():
    call_everything(pytest.importorskip("tensorrt_rtx", reason="needs TensorRT for RTX: pip install -e '.[test]'"))


WRONG = [
    ("IExecutionContext", "set_input_shape", ("image", (1.0, 6, 8, 3))),
    ("IExecutionContext", "set_input_shape", ("image", 6)),
    ("IExecutionContext", "set_tensor_address", ("image", "0x7f")),
    ("IExecutionContext", "execute_async_v3", (None,)),
    ("IExecutionContext", "execute_async_v3", ()),
    ("ICudaEngine", "get_tensor_name", ("image",)),
    ("Runtime", "deserialize_cuda_engine", ("model.plan",)),
    ("Builder", "create_network", (1.0,)),
    ("IBuilderConfig", "set_memory_pool_limit", ("WORKSPACE", 1 << 30)),
    ("IBuilderConfig", "set_memory_pool_limit", (MEMORY, 1e9)),
    ("IBuilderConfig", "set_timing_cache", (b"timings", False)),
    ("IBuilderConfig", "create_timing_cache", ("",)),
    ("IOptimizationProfile", "set_shape", ("image", (1, 4), (1, 4), (1, 4.5))),
    ("OnnxParser", "parse", ("model.onnx",)),
]


@pytest.mark.parametrize(("kind", "name", "args"), WRONG)
def test_a_call_with_a_wrong_type_fails(kind, name, args):
    trt = pytest.importorskip("tensorrt_rtx", reason="needs TensorRT for RTX: pip install -e '.[test]'")
    args = tuple(trt.MemoryPoolType.WORKSPACE if value is MEMORY else value for value in args)
    with pytest.raises(AssertionError, match=f"{kind}.{name} takes"):
        getattr(Checked(trt, checked(trt), kind), name)(*args)
    # The real ones refuse the same, where there is one without a GPU.
    if kind in ("Builder", "IBuilderConfig", "IOptimizationProfile", "OnnxParser"):
        logger = trt.Logger(trt.Logger.ERROR)
        maker = trt.Builder(logger)
        real = {
            "Builder": lambda: maker,
            "IBuilderConfig": maker.create_builder_config,
            "IOptimizationProfile": maker.create_optimization_profile,
            "OnnxParser": lambda: trt.OnnxParser(maker.create_network(0), logger),
        }[kind]()
        with pytest.raises(TypeError):
            getattr(real, name)(*args)


def test_a_run_before_shape_and_addresses_fails():
    trt = pytest.importorskip("tensorrt_rtx", reason="needs TensorRT for RTX: pip install -e '.[test]'")
    context = Checked(trt, checked(trt), "IExecutionContext")
    with pytest.raises(AssertionError, match="the shape of the input comes before a run"):
        context.execute_async_v3(1)
    context.set_input_shape("image", (1, 6, 8, 3))
    context.set_tensor_address("image", 4096)
    with pytest.raises(AssertionError, match="have an address"):
        context.execute_async_v3(1)


def look_at(folder: str) -> None:
    """Import the bindings in a folder with empty libraries, and hold them against what is needed; in a new process."""
    [extension] = Path(folder).glob("tensorrt_bindings/tensorrt.so")
    source = Path(folder) / "stand_in.c"
    source.write_text(STAND_IN)
    for name in sorted({name.decode() for name in re.findall(rb"libnv[a-z_]+\.so\.\d+", extension.read_bytes())}):
        library = Path(folder) / name
        subprocess.run(["cc", "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", library, source], check=True)
        ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    sys.path.insert(0, folder)
    sys.setdlopenflags(os.RTLD_LAZY)
    trt = importlib.import_module("tensorrt_bindings")
    found = Library(trt)
    flags, kinds = trt.BuilderFlag, trt.NetworkDefinitionCreationFlag
    major = int(found.version.split(".")[0])
    # What the facts of each generation are taken to be, and what follows from them here.
    assert found.name == "tensorrt"
    assert found.strongly_typed == (major >= 10)
    assert hasattr(kinds, "EXPLICIT_BATCH") == (major <= 10)
    assert found.creation_flags() & 1 == int(major <= 10 or int(kinds.STRONGLY_TYPED) == 0)
    for precision, names in {"fp32": (), "fp16": ("FP16",), "int8": ("INT8", "FP16")}.items():
        given = []
        builder._set_precision(found, SimpleNamespace(set_flag=given.append, clear_flag=lambda flag: None), precision)
        assert given == ([] if found.strongly_typed else [getattr(flags, name) for name in names])
    assert hasattr(trt, "IProgressMonitor") == hasattr(trt.IBuilderConfig, "progress_monitor") == (major >= 10)
    assert found.logger().errors.maxlen
    call_everything(trt)
    for name in ("Builder", "Runtime"):  # the empty libraries give none
        with pytest.raises(BackendError, match=f"{found.version} does not start: is there a GPU"):
            found.start(name, found.logger())
    print(f"{found.version} has what is needed")


@pytest.mark.skipif(not WHEELS, reason="TENSORRT_WHEELS names no folder with wheels; this file says how to get them")
@pytest.mark.parametrize("wheel", WHEELS, ids=lambda wheel: wheel.name.split("-cp")[0])
def test_the_bindings_of_a_version_have_what_is_needed(wheel, tmp_path):
    if TAG not in wheel.name:
        pytest.skip(f"is for another Python than {sys.version_info.major}.{sys.version_info.minor}")
    if not shutil.which("cc"):
        pytest.skip("needs a C compiler for the empty libraries")
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = f"from test_tensorrt_api import look_at; look_at({str(tmp_path)!r})"
    run = subprocess.run([sys.executable, "-c", code], env=CHILDREN, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert wheel.name.split("-")[1] in run.stdout
