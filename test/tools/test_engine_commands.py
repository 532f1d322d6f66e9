"""The commands `build_engine` and `engines`, as a user calls them."""

import json
import os
import signal
import subprocess
import sys
from importlib.util import find_spec

import pytest
from tensorrt_on_host import CHILDREN

from depth_estimation_ros.backends import EngineOptions
from depth_estimation_ros.backends.tensorrt.cache import EngineCache
from depth_estimation_ros.backends.tensorrt.cuda import Device
from depth_estimation_ros.backends.tensorrt.key import engine_key
from depth_estimation_ros.backends.tensorrt.library import find_library
from depth_estimation_ros.model import load_model
from depth_estimation_ros.tools import build_engine, engines

pytest.importorskip("tensorrt_rtx", reason="needs TensorRT for RTX: pip install -e '.[test]'")
pytestmark = pytest.mark.filterwarnings("ignore:.*Timing cache operations are no-ops in TensorRT-RTX")

RTX = ("nyu_resnet18_small", "--library", "tensorrt_rtx")


@pytest.fixture
def cache(tmp_path) -> EngineCache:
    """Return a cache with two engines of 2 MB."""
    cache = EngineCache(tmp_path / "engines")
    library = find_library("tensorrt_rtx")
    for age, precision in enumerate(("fp32", "best")):
        key = engine_key(
            load_model("nyu_resnet18_small"), EngineOptions(precision), library, Device("Orin", "8.7", "12.6")
        )
        cache.folder.mkdir(mode=0o700, exist_ok=True)
        facts = {"precision": precision.replace("best", "fp16"), "parity": {"mean": 0.00123}}
        path = cache.store(key, bytes(2 << 20), facts)
        os.utime(path, (1e9 + age, 1e9 + age))
    return cache


@pytest.fixture(autouse=True)
def users_cache(tmp_path, monkeypatch):
    """Return the user's cache folder: one of the test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_dry_run_says_whether_tensorrt_takes_the_model(capsys, users_cache):
    assert build_engine.main([*RTX, "--dry-run", "--precision", "fp16"]) == 0
    assert "builds nyu_resnet18_small: 17.3 MB; nothing was kept" in capsys.readouterr().out
    assert not users_cache.exists()


@pytest.mark.parametrize("option", ["--output", "--cache", "--calibration"])
def test_an_option_that_would_do_nothing_in_a_dry_run_is_refused(capsys, tmp_path, option):
    with pytest.raises(SystemExit):
        build_engine.main([*RTX, "--dry-run", option, str(tmp_path / "x")])
    assert option in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("none.onnx",), "model 'none.onnx' not found"),
        (("nyu_resnet18_small", "--library", "tensorrt"), "tensorrt cannot be imported"),
        ((*RTX, "--dry-run", "--precision", "int8"), "int8 needs a quantised model"),
        ((*RTX, "--cameras", "0"), "the number of cameras must be at least 1"),
        ((*RTX, "--output", "/nowhere/robot.plan"), "/nowhere/robot.plan cannot be written"),
        ((*RTX, "--cache-limit", "-1"), "limited to -1 MiB"),
        ((*RTX,), "no CUDA device can be used"),
    ],
)
def test_what_is_wrong_is_one_line_on_stderr(capsys, tmp_path, arguments, words):
    if words.startswith("tensorrt") and find_spec("tensorrt"):
        pytest.skip("TensorRT is installed here")
    if words.startswith("no CUDA") and os.path.exists("/proc/driver/nvidia"):
        pytest.skip("this machine has a GPU")
    assert build_engine.main(list(arguments)) == 1
    *progress, line = capsys.readouterr().err.splitlines()
    assert line.startswith("build_engine: ") and words in line
    assert progress in ([], ["0 s: preparing the model"])
    assert not list(tmp_path.rglob("*.plan"))


def test_ctrl_c_ends_a_build_and_leaves_nothing(tmp_path):
    # Slowed down, so that the signal surely comes while TensorRT builds; the build itself is the real one.
    code = (
        "import sys, time\n"
        "from dataclasses import replace\n"
        "from depth_estimation_ros.tools import build_engine\n"
        "from depth_estimation_ros.backends.tensorrt import engine\n"
        "build = engine.build\n"
        "def slowly(library, content, options, **kwargs):\n"
        "    def report(*step):\n"
        "        print('step', flush=True); time.sleep(0.02); options.progress(*step)\n"
        "    return build(library, content, replace(options, progress=report), **kwargs)\n"
        "engine.build = slowly\n"
        f"sys.exit(build_engine.main([*{RTX!r}, '--dry-run']))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=CHILDREN, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    )
    for _ in range(10):
        assert process.stdout.readline() == "step\n"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "build_engine: cancelled, nothing was written" in said
    assert not list(tmp_path.rglob("*"))


def test_the_list_shows_what_an_engine_is_for(cache, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "140")
    assert engines.main(["--cache", str(cache.folder), "list"]) == 0
    table = capsys.readouterr().out
    for words in (
        "nyu_resnet18_small",
        "best: fp16",
        "fp32",
        "Orin",
        "8.7, CUDA 12.6",
        "tensorrt_rtx",
        "0.123%",
        "2.1",
    ):
        assert words in table
    assert table.index("best: fp16") < table.index("fp32"), "the latest used comes first"


def test_the_list_has_the_engines_of_an_older_version_too(cache, capsys):
    for sidecar in cache.folder.glob("*.json"):
        text = json.loads(sidecar.read_text())
        del text["key"]["l4t"], text["key"]["cuda"]
        sidecar.write_text(json.dumps(text))
    assert engines.main(["--cache", str(cache.folder), "list"]) == 0
    assert capsys.readouterr().out.count("Orin") == 2


def test_prune_drops_the_engines_not_used_for_longest(cache, capsys):
    assert engines.main(["--cache", str(cache.folder), "prune", "--limit", "3"]) == 0
    assert "1 of 2 engines deleted, 2.1 MB" in capsys.readouterr().out
    assert [entry.key["precision"] for entry in cache.entries()] == ["best"]
    assert engines.main(["--cache", str(cache.folder), "prune", "--limit", "0"]) == 0
    assert cache.entries() == []
    assert engines.main(["--cache", str(cache.folder), "prune", "--limit", "-1"]) == 1
    assert capsys.readouterr().err == "engines: the engine cache cannot be limited to -1 MiB: give 0 or more\n"


def test_an_empty_or_shared_cache_is_said_to_be_so(tmp_path, capsys):
    assert engines.main(["--cache", str(tmp_path / "none"), "list"]) == 0
    assert "no engines in" in capsys.readouterr().out
    tmp_path.chmod(0o777)
    assert engines.main(["--cache", str(tmp_path), "list"]) == 1
    assert "can be written by other users" in capsys.readouterr().err
    tmp_path.chmod(0o700)
