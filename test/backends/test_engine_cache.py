"""The engine cache, with real plans: never a stale, foreign or half-written engine."""

import json
import multiprocessing
import os
import resource
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError
from pathlib import Path

import pytest
from tensorrt_on_host import CHILDREN

from depth_estimation_ros.backends import BackendError, EngineOptions
from depth_estimation_ros.backends.tensorrt.builder import build
from depth_estimation_ros.backends.tensorrt.cache import EngineCache
from depth_estimation_ros.backends.tensorrt.cuda import Device
from depth_estimation_ros.backends.tensorrt.key import engine_key, l4t_release
from depth_estimation_ros.backends.tensorrt.library import find_library
from depth_estimation_ros.backends.tensorrt.private_files import write_privately
from depth_estimation_ros.model import load_model

pytest.importorskip("tensorrt_rtx", reason="needs TensorRT for RTX: pip install -e '.[test]'")

pytestmark = pytest.mark.filterwarnings("ignore:.*Timing cache operations are no-ops in TensorRT-RTX")

ORIN = Device("Orin", "8.7", "12.6")
NEVER = threading.Event()


@pytest.fixture(scope="module")
def key() -> dict[str, str]:
    return engine_key(load_model("nyu_resnet18_small"), EngineOptions("fp16"), find_library("tensorrt_rtx"), ORIN)


@pytest.fixture(scope="module")
def plan() -> bytes:
    content = load_model("nyu_resnet18_small").path.read_bytes()
    return build(find_library("tensorrt_rtx"), content, EngineOptions("fp16"), free_memory=1 << 30).plan


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def cache(tmp_path, said) -> EngineCache:
    cache = EngineCache(tmp_path / "engines", log=said.append)
    with cache.lock(NEVER):
        pass
    return cache


def test_a_plan_comes_back_as_it_was_stored(cache, key, plan):
    cache.store(key, plan, {"precision": "fp16"})
    assert cache.load(key) == (plan, {"precision": "fp16"})


def test_the_key_holds_everything_that_binds_an_engine(key):
    assert key["model_sha256"] == load_model("nyu_resnet18_small").sha256
    assert (key["gpu"], key["compute_capability"], key["cuda"]) == ("Orin", "8.7", "12.6")
    assert (key["tensorrt"], key["tensorrt_version"]) == ("tensorrt_rtx", find_library("tensorrt_rtx").version)
    assert (key["precision"], key["max_batch"], key["workspace"], key["l4t"]) == ("fp16", "1", "0", "")


def test_an_engine_is_not_used_when_any_field_of_its_key_differs_and_the_log_says_which(cache, key, plan, said):
    cache.store(key, plan, {})
    for field in key:
        said.clear()
        assert cache.load({**key, field: "another"}) is None
        assert field == "model" or said == [f"no engine fits: {field} was {key[field]}, is another"]
    assert cache.load(key)


def test_a_field_that_an_older_version_did_not_know_makes_a_difference_too(cache, key, plan, said):
    cache.store({name: value for name, value in key.items() if name != "l4t"}, plan, {})
    assert cache.load({**key, "l4t": "36.4.3"}) is None
    assert said == ["no engine fits: l4t was unknown, is 36.4.3"]


def test_the_nearest_engine_is_the_one_compared_with(cache, key, plan, said):
    cache.store({**key, "gpu": "Xavier", "compute_capability": "7.2"}, plan, {})
    cache.store({**key, "precision": "fp32"}, plan, {})
    assert cache.load(key) is None
    assert said == ["no engine fits: precision was fp32, is fp16"]


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda path, plan: path.write_bytes(plan[: len(plan) // 2]), id="truncated"),
        pytest.param(lambda path, plan: path.write_bytes(b"x" * len(plan)), id="foreign"),
        pytest.param(lambda path, plan: path.write_bytes(plan[:-1] + bytes([plan[-1] ^ 1])), id="one bit"),
        pytest.param(lambda path, plan: path.write_bytes(b""), id="empty"),
    ],
)
def test_a_damaged_plan_is_not_used(cache, key, plan, said, damage):
    damage(cache.store(key, plan, {}), plan)
    assert cache.load(key) is None
    assert "is damaged" in said[-1]
    cache.store(key, plan, {})
    assert cache.load(key)


def test_a_plan_that_somebody_put_into_the_folder_is_not_used(cache, key, plan):
    path = cache.store(key, plan, {})
    path.with_suffix(".json").unlink()
    assert cache.load(key) is None
    assert cache.entries() == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 99}', '{"format": 1, "key": {}}'])
def test_a_sidecar_that_cannot_be_read_is_no_engine(cache, key, plan, text):
    cache.store(key, plan, {}).with_suffix(".json").write_text(text)
    assert cache.load(key) is None


def test_the_sidecar_can_be_read_by_a_person(cache, key, plan):
    sidecar = json.loads(cache.store(key, plan, {"parity": {"mean": 0.001}}).with_suffix(".json").read_text())
    assert sidecar["key"] == key
    assert sidecar["facts"] == {"parity": {"mean": 0.001}}
    assert sidecar["plan"]["bytes"] == len(plan)
    assert sidecar["built"].endswith("Z")


def test_folder_and_files_are_private(cache, key, plan):
    cache.store(key, plan, {})
    assert stat.S_IMODE(cache.folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in cache.folder.iterdir()} == {0o600}


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_folder_that_others_can_write_is_refused(tmp_path, mode):
    (tmp_path / "engines").mkdir()
    (tmp_path / "engines").chmod(mode)
    with pytest.raises(BackendError, match="can be written by other users, and engines are code"):
        EngineCache(tmp_path / "engines")


def test_the_default_folder_is_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert EngineCache().folder == tmp_path / "depth_estimation_ros" / "engines"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert EngineCache().folder == Path.home() / ".cache" / "depth_estimation_ros" / "engines"


@pytest.mark.parametrize("folder", ["~nosuchuser/engines", "x" * 300])
def test_a_folder_that_cannot_be_is_one_sentence(folder):
    with pytest.raises(BackendError, match=r"the engine cache '.*' cannot be a folder: .*; choose another folder with"):
        EngineCache(folder)


def test_any_models_name_makes_a_file_name(tmp_path):
    for name in ("深" * 100, "x" * 100, "../../etc", "."):
        cache = EngineCache(tmp_path)
        path = cache.store({"model": name, "precision": "fp16"}, b"plan", {})
        assert path.parent == tmp_path and cache.load({"model": name, "precision": "fp16"}) == (b"plan", {})


def test_the_engines_not_used_for_longest_make_room(tmp_path, key, plan, said):
    cache = EngineCache(tmp_path / "engines", limit=3 * len(plan) // (1 << 20), log=said.append)
    with cache.lock(NEVER):
        pass
    for age, precision in enumerate(("a", "b", "c")):
        path = cache.store({**key, "precision": precision}, plan, {})
        os.utime(path, times=(time.time() - 1000 + age,) * 2)
        if precision == "b":
            assert cache.load({**key, "precision": "a"})
    assert [entry.key["precision"] for entry in cache.entries()] == ["a", "c"]
    assert len(said) == 1 and "dropped: the cache may take" in said[0]
    assert len(list(cache.folder.glob("*.plan"))) == 2


def test_the_newest_engine_stays_even_if_it_alone_is_too_large(tmp_path, key, plan):
    cache = EngineCache(tmp_path / "engines", limit=1)
    with cache.lock(NEVER):
        cache.store(key, plan, {})
    assert cache.load(key)


def test_what_broken_off_writes_left_is_dropped_once_it_is_old(cache, key, plan):
    path = cache.store(key, plan, {})
    old, new = cache.folder / f".{path.name}.1-1", cache.folder / f".{path.name}.2-2"
    for draft in (old, new):
        draft.write_bytes(b"half")
    os.utime(old, times=(0, 0))
    cache.prune()
    assert not old.exists() and new.exists() and cache.load(key)


def test_pruning_takes_timings_that_no_engine_needs_and_leaves_what_the_user_put_there(cache, key, plan):
    cache.store(key, plan, {})
    needed, unused = cache.timing_cache(key), cache.timing_cache({**key, "tensorrt_version": "10.3"})
    own = [cache.folder / name for name in ("robot.plan", "notes.json", ".robot.plan.swp")]
    for path in (needed, unused, *own):
        path.write_bytes(b"timings")
        os.utime(path, times=(0, 0))
    cache.prune()
    assert needed.exists() and not unused.exists()
    assert all(path.exists() for path in own)
    EngineCache(cache.folder, limit=0).prune()
    assert not needed.exists() and cache.entries() == []


def test_a_negative_limit_is_refused(tmp_path):
    with pytest.raises(BackendError, match="limited to -1 MiB"):
        EngineCache(tmp_path, limit=-1)


def _write_large(path: str, size: int, limit: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        write_privately(Path(path), b"x" * size)
    except BackendError as error:
        print(error)


def test_a_disk_that_fills_up_while_writing_leaves_nothing_and_keeps_what_was_there(cache, key, plan, said):
    path = cache.folder / "engine.plan"
    path.write_bytes(b"before")
    code = f"from test_engine_cache import _write_large; _write_large({str(path)!r}, 2_000_000, 1_000_000)"
    run = subprocess.run([sys.executable, "-c", code], env=CHILDREN, capture_output=True, text=True)
    assert "engine.plan (2.0 MB) cannot be written: File too large" in run.stdout
    assert path.read_bytes() == b"before"
    assert {p.name for p in cache.folder.iterdir()} == {"engine.plan", "lock"}


def test_a_disk_too_full_for_the_engine_is_found_out_before_the_build(cache):
    with pytest.raises(BackendError, match="MB left, and the engine may take"), cache.lock(NEVER, room=1 << 60):
        pytest.fail("the build would have begun")


def _as_nobody(work) -> str:
    """Run a function in a process that may not do what root may; returns its answer."""
    ours, theirs = multiprocessing.Pipe()

    def child():
        if os.getuid() == 0:
            os.setgid(65534)
            os.setuid(65534)
        try:
            theirs.send(str(work()))
        except BaseException as error:
            theirs.send(f"{type(error).__name__}: {error}")

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    assert ours.poll(30), "no answer"
    process.join(30)
    return ours.recv()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_read_only_folder_gives_engines_and_says_that_it_takes_none(tmp_path, key, plan):
    folder = tmp_path / "engines"
    cache = EngineCache(folder)
    with cache.lock(NEVER):
        cache.store(key, plan, {})
    # As in an image: made by root, read by the robot's user.
    for parent in [p for p in folder.parents if p.owner() == folder.owner() and p != Path("/") and "pytest" in str(p)]:
        parent.chmod(parent.stat().st_mode | 0o055)
    for path in (*folder.iterdir(), folder):
        path.chmod(0o555 if path.is_dir() else 0o444)
    assert _as_nobody(lambda: EngineCache(folder).load(key)[0] == plan) == "True"

    def build_another():
        with EngineCache(folder).lock(NEVER):
            pass

    for lock in (0o444, 0o666):  # the lock alone says nothing of the folder
        (folder / "lock").chmod(lock)
        answer = _as_nobody(build_another)
        assert answer.startswith("BackendError: the engine cache") and "cannot be written" in answer
    folder.chmod(0o700)
    if os.getuid() == 0:  # its owner can read it in any case
        answer = _as_nobody(lambda: EngineCache(folder))
        assert answer.startswith("BackendError: the engine cache") and "cannot be read by this user" in answer
    folder.chmod(0o755)


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(BackendError, match=r"cannot be written .*choose another folder"),
        EngineCache(tmp_path / "file" / "engines").lock(NEVER),
    ):
        pytest.fail("locked")


def test_a_lock_ends_with_its_process_and_a_waiting_one_can_be_cancelled(cache, said):
    code = (
        "import threading, time, sys; from depth_estimation_ros.backends.tensorrt.cache import EngineCache\n"
        f"with EngineCache({str(cache.folder)!r}).lock(threading.Event()): print('locked', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], env=CHILDREN, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "locked\n"
    cancelled = threading.Event()
    threading.Timer(0.3, cancelled.set).start()
    with pytest.raises(CancelledError), cache.lock(cancelled):
        pytest.fail("locked twice")
    assert said == [f"another process builds in {cache.folder}; waiting for it"]
    holder.kill()
    holder.wait(10)
    with cache.lock(NEVER):
        pass


@pytest.mark.parametrize(
    ("text", "release"),
    [
        ("# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64\n# KERNEL\n", "36.4.3"),
        ("# R35 (release), REVISION: 4.1, GCID: 33958178, BOARD: t186ref\n", "35.4.1"),
        ("something new\n", "something new"),
    ],
)
def test_the_release_of_jetson_linux_is_read(tmp_path, text, release):
    (tmp_path / "release").write_text(text)
    assert l4t_release(tmp_path / "release") == release
    assert l4t_release(tmp_path / "none") == ""
