"""How an evaluation is divided, kept and joined: whatever the workers, the results are those of one process."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: requirements/ros2-jazzy.txt")
pytest.importorskip("matplotlib", reason="the report draws with matplotlib")

import bags
from bag_writer import BagWriter
from ros_processes import REPOSITORY
from small_bags import depth, picture
from test_evaluate_bag import command, evaluate, figures, small_bag

from depth_estimation_ros.evaluation.recording.recording import Topics
from depth_estimation_ros.evaluation.report.gallery import KEPT, Gallery
from depth_estimation_ros.evaluation.result.frame_table import ROW, FrameTable
from depth_estimation_ros.evaluation.run.checkpoint import Checkpoint
from depth_estimation_ros.evaluation.run.outcome import RecordingResult
from depth_estimation_ros.evaluation.run.runner import slices
from depth_estimation_ros.evaluation.run.work import ModelChoice, Options, evaluate_slice, survey
from depth_estimation_ros.model import load_model


@pytest.fixture(scope="module")
def options():
    model = ModelChoice("net", "default", load_model("default").sha256)
    return Options((model,), "auto", Topics(), 0.02, None, 1, False)


@pytest.fixture(scope="module")
def kitchen(rendered_data, tmp_path_factory):
    return bags.red_kitchen(tmp_path_factory.mktemp("kitchen") / "kitchen", rendered_data, count=12)


@pytest.mark.parametrize(("images", "every"), [(0, 1), (1, 1), (49, 1), (51, 7), (1000, 3), (100_000, 1)])
def test_slices_cover_every_image_once_and_begin_with_one_that_is_taken(images, every):
    pieces = slices(images, every)
    assert [i for start, stop in pieces for i in range(start, stop)] == list(range(images))
    assert all(start % every == 0 for start, _ in pieces)
    assert all(stop - start <= 256 for start, stop in pieces)


def test_results_do_not_depend_on_where_a_recording_is_cut(kitchen, options):
    seen = survey(str(kitchen), "kitchen", options)
    whole = evaluate_slice(seen, 0, seen.images, options, 1)
    parts = [evaluate_slice(seen, start, stop, options, 1) for start, stop in ((0, 5), (5, 6), (6, seen.images))]

    joined = FrameTable()
    for part in parts:
        joined.extend(part.frames["net"])
    assert len(joined) == 12 and np.isfinite(joined.column("flicker_change")).any()
    for name in set(ROW.names) - {"inference_ms"}:
        np.testing.assert_array_equal(joined.column(name), whole.frames["net"].column(name))
    assert_same_sums(joined, whole.frames["net"], rtol=1e-12)
    gallery = Gallery()
    for part in reversed(parts):
        gallery.merge(part.gallery)
    assert places(gallery) == places(whole.gallery)


def test_damage_that_slices_come_upon_reaches_the_report_once(tmp_path, options):
    with BagWriter(tmp_path / "run", "mcap") as bag:
        for k in range(150):
            bag.image("/image", 100 + k / 10, picture(k), "rgb8")
            bag.image("/depth", 100 + k / 10, depth(2.0), "32FC1")
            if k > 50 and k % 9 == 0:  # one too many, cut off, in some of the slices
                bag.writer.write(bag.connections["/depth"], round((100.05 + k / 10) * 1e9), bytes(40))
    seen = survey(str(tmp_path / "run"), "run", replace(options, clock_offset=0.0))
    recording = RecordingResult(seen.path, "run")
    recording.open(seen)
    assert not recording.errors
    for start, stop in slices(seen.images, 1):
        recording.add(evaluate_slice(seen, start, stop, options, 1), stop - start)
    assert len(slices(seen.images, 1)) == 3
    assert recording.facts()["error"] == "messages of /depth cannot be decoded"
    assert len(recording.frames["net"]) == 150


def assert_same_sums(a, b, rtol=0.0):
    assert a.estimated == b.estimated > 0
    for kind in ("by_distance", "by_region"):
        assert a.sums[kind].keys() == b.sums[kind].keys()
        for name, values in a.sums[kind].items():
            np.testing.assert_allclose(values, b.sums[kind][name], rtol=rtol)


def test_a_slice_is_read_back_as_it_was_kept(kitchen, options, tmp_path):
    seen = survey(str(kitchen), "kitchen", options)
    result = evaluate_slice(seen, 3, 6, options, 1)
    result.problems.update({"no ground truth within 20 ms": 2})
    checkpoint = Checkpoint(tmp_path, options)
    key = checkpoint.key(seen, 3, 6)
    checkpoint.save(key, result)
    again = checkpoint.load(key)
    assert len(result.frames["net"]) == 3
    for name in ROW.names:
        np.testing.assert_array_equal(again.frames["net"].column(name), result.frames["net"].column(name))
    assert_same_sums(again.frames["net"], result.frames["net"])
    assert again.problems == result.problems and again.models == result.models and again.complete
    for before, after in zip(result.gallery.pictures, again.gallery.pictures, strict=True):
        np.testing.assert_array_equal(before.rgb, after.rgb)
        np.testing.assert_array_equal(before.depth, after.depth)
        np.testing.assert_array_equal(before.truth, after.truth)
    assert places(again.gallery) == places(result.gallery)


def test_results_of_another_bag_model_or_option_are_never_taken(kitchen, options, tmp_path):
    seen = survey(str(kitchen), "kitchen", options)

    def key(options=options, seen=seen, start=0):
        return Checkpoint(tmp_path, options).key(seen, start, 5)

    (model,) = options.models
    keys = [
        key(),
        key(replace(options, tolerance=0.01)),
        key(replace(options, every=2)),
        key(replace(options, backend="cpu")),
        key(replace(options, bag=True)),
        key(replace(options, models=(replace(model, sha256="0" * 64),))),
        key(seen=replace(seen, clock_offset=0.5)),
        key(seen=replace(seen, topics=replace(seen.topics, depth="/other"))),
        key(start=1),
    ]
    file = next(Path(kitchen).glob("*.mcap"))
    os.utime(file, ns=(0, file.stat().st_mtime_ns + 1))
    keys.append(key())
    assert len(set(keys)) == len(keys)
    # The same model at another place is the same.
    assert key(replace(options, models=(replace(model, path="/elsewhere.onnx"),))) == keys[-1]


def test_a_result_that_was_cut_off_is_none(options, tmp_path, kitchen):
    seen = survey(str(kitchen), "kitchen", options)
    checkpoint = Checkpoint(tmp_path, options)
    key = checkpoint.key(seen, 0, 2)
    checkpoint.save(key, evaluate_slice(seen, 0, 2, options, 1))
    file = tmp_path / f"{key}.npz"
    file.write_bytes(file.read_bytes()[:-100])
    assert checkpoint.load(key) is None


def places(gallery):
    return Counter((p.kind, p.model, p.recording, p.index, p.abs_rel) for p in gallery.pictures)


def test_the_gallery_holds_the_extremes_in_any_order_and_only_one_of_neighbours():
    random = np.random.default_rng(0)
    errors = random.uniform(0.1, 0.5, 400)
    sample = SimpleNamespace(rgb=np.zeros((6, 8, 3), np.uint8), truth=np.ones((6, 8), np.float32))

    def gallery(indices):
        made = Gallery()
        for i in indices:
            frame = SimpleNamespace(recording="bag", model="net", index=int(i), raw={"abs_rel": float(errors[i])})
            made.offer(sample, sample.truth, frame)
        return made

    order = random.permutation(400)
    whole, parts = gallery(order), [gallery(order[:150]), gallery(order[150:])]
    parts[1].merge(parts[0])
    assert places(whole) == places(parts[1])
    worst = [p.index for p in whole.pictures if p.kind == "worst"]
    of_each_thirty = sorted((errors[i : i + 30].max() for i in range(0, 400, 30)), reverse=True)
    assert errors[worst].tolist() == of_each_thirty[:KEPT]


def test_a_worker_that_is_killed_is_named_and_what_was_done_is_kept(rendered_data, tmp_path):
    frames = [
        (rgb[::4, ::4].copy(), depth[::4, ::4].copy()) for rgb, depth, _ in bags.kitchen_frames(rendered_data, 40)
    ]
    bag = bags.registered(tmp_path / "bag", frames * 4, bags.KITCHEN_COLOUR_CAMERA.resized(160, 120))
    output = tmp_path / "out"
    process = subprocess.Popen(
        command(output, bag, "--jobs", 1, "--threads", 1, "--no-bag-output"), stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not list(output.glob(".work/*.npz")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    (worker,) = (pid for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes())
    os.kill(int(worker), signal.SIGKILL)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 1 and "Traceback" not in said
    assert "a worker process was lost" in said and "run the same command again to resume" in said
    evaluate(output, bag, "--jobs", 1, "--no-bag-output")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Start a scheduler and two workers as a person would; gives the scheduler's address."""
    pytest.importorskip("distributed", reason="needs Dask: pip install distributed")
    folder = tmp_path_factory.mktemp("cluster")
    file = folder / "scheduler.json"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    dask = [sys.executable, "-m", "dask"]
    common = ["--scheduler-file", str(file), "--no-dashboard"]
    started = []
    with open(folder / "log", "wb") as log:
        for arguments in (
            ["scheduler", "--host", "127.0.0.1", "--port", "0", *common],
            ["worker", "--nworkers", "2", "--nthreads", "1", *common, "--local-directory", str(folder)],
        ):
            started.append(subprocess.Popen(dask + arguments, stdout=log, stderr=log, env=environment, cwd=folder))
            deadline = time.monotonic() + 60
            while not file.exists():
                assert started[-1].poll() is None and time.monotonic() < deadline, (folder / "log").read_text()
                time.sleep(0.05)
    import distributed

    with distributed.Client(scheduler_file=str(file)) as client:
        client.wait_for_workers(2, timeout=60)
        yield client.scheduler.address
    for process in reversed(started):
        process.terminate()
        process.wait(30)


def test_a_cluster_gives_the_figures_of_one_process(cluster, kitchen, rendered_data, tmp_path):
    poses = bags.red_kitchen(tmp_path / "poses", rendered_data, truth="pose")
    evaluate(tmp_path / "one", kitchen, poses, "--jobs", 1, "--threads", 1, "--no-bag-output")
    evaluate(tmp_path / "cluster", kitchen, poses, "--cluster", cluster, "--threads", 1)
    assert figures(tmp_path / "cluster") == figures(tmp_path / "one")
    assert not (tmp_path / "cluster" / "bags").exists()
    # What is triangulated is said to be, and how well it is known.
    (by_poses,) = (r["triangulated"] for r in figures(tmp_path / "one")["recordings"] if r["triangulated"])
    assert by_poses["points"] > 100 and 0 < by_poses["deviation"] < 0.15
    page = (tmp_path / "cluster" / "report.html").read_text()
    assert "truth of 1 of the recordings is not measured but triangulated" in page


def test_a_bag_that_workers_do_not_see_is_one_sentence(cluster, tmp_path, monkeypatch):
    small_bag(tmp_path / "bag")
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.chdir(tmp_path)
    # A path that means another folder in every process, as on machines without a common disk.
    result = evaluate(tmp_path / "out", "/proc/self/cwd/bag", "--cluster", cluster, code=1)
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("evaluate_bag: worker ") and "'/proc/self/cwd/bag' does not exist" in line
    assert not (tmp_path / "out").exists()


def test_a_cluster_that_does_not_answer_is_one_sentence(tmp_path):
    pytest.importorskip("distributed", reason="needs Dask: pip install distributed")
    bag = small_bag(tmp_path / "bag")
    result = evaluate(tmp_path / "out", bag, "--cluster", "127.0.0.1:9", code=1)
    (line,) = result.stderr.strip().splitlines()
    assert "no Dask scheduler answers at '127.0.0.1:9'" in line


def test_without_dask_it_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "distributed.py").write_text("raise ImportError('not installed')")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{REPOSITORY}")
    result = evaluate(tmp_path / "out", small_bag(tmp_path / "bag"), "--cluster", "127.0.0.1:9", code=1)
    (line,) = result.stderr.strip().splitlines()
    assert "pip install" in line and "distributed" in line
