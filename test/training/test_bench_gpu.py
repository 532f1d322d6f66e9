"""The GPU's benchmark where there is no GPU: floor, engines that need none, files, rows in time, and its words."""

import ast
import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from machine_without_ros import ALLOWED, REPOSITORY, packages, python

torch = pytest.importorskip("torch", reason="the training package needs PyTorch")

from depth_estimation_ros.backends import BackendError  # noqa: E402
from depth_estimation_ros.backends.tensorrt import parity  # noqa: E402
from depth_estimation_ros.model import ModelInfo, load_model  # noqa: E402
from training.bench_gpu import __main__ as command  # noqa: E402
from training.bench_gpu import worker  # noqa: E402
from training.bench_gpu.engines import candidates  # noqa: E402
from training.bench_gpu.floor import Ceilings, Work, work_of  # noqa: E402
from training.bench_gpu.measure import difference  # noqa: E402
from training.bench_gpu.peaks import DTYPES, Sizes, measure_ceilings  # noqa: E402
from training.bench_gpu.prepare import prepare  # noqa: E402
from training.bench_gpu.prepared import DECODERS, Prepared, read  # noqa: E402
from training.bench_gpu.run import Report  # noqa: E402
from training.bench_gpu.task import MODES, Task  # noqa: E402
from training.checkpoint import Checkpoint  # noqa: E402
from training.models import build_network  # noqa: E402

CPU = torch.device("cpu")
TINY = {
    "name": "resnet_up_projection",
    "encoder": "resnet18",
    "encoder_blocks": [1, 1, 1, 1],
    "decoder_channels": [32, 24, 16, 8, 8],
}
INFO = ModelInfo("tiny", 96, 64, 80.0, 0.5, 10.0, "nothing", "Apache-2.0", "0" * 64)


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    torch.manual_seed(0)
    network = build_network(**TINY)
    with torch.inference_mode():  # what so few random channels compute would fade from layer to layer
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = None
        network(torch.from_numpy(parity.calibration_frames(INFO, count=2)))
    return Checkpoint(network.eval(), {}, "0" * 64, {"network": TINY})


@pytest.fixture(scope="module")
def folder(checkpoint, tmp_path_factory) -> Path:
    """Return a prepared folder of a trained network with its ONNX files, and the packaged model."""
    folder = tmp_path_factory.mktemp("bench") / "prepared"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.bench_gpu.prepare.load_checkpoint", lambda _: checkpoint)
        patch.setattr("training.bench_gpu.prepare.model_info", lambda *_: INFO)
        prepare(folder, ["tiny.ckpt", "default"], onnx=True, say=lambda _: None)
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    return packages(tmp_path_factory.mktemp("site"))


def task(folder: Path, temporary: Path, **options) -> Task:
    return Task(folder, temporary, "cpu", **{"batches": [1, 2], "modes": list(MODES[:2]), **options})


def test_the_floor_is_the_larger_of_computing_and_moving():
    ceilings = Ceilings(1e9, {"fp32": {"matmul": 1e12, "convolution": 2e12}, "fp16": {"matmul": 4e12}})
    heavy, large = Work(2 * 10**10, 10**6, 10**6), Work(10**6, 10**8, 10**6)
    assert ceilings.floor(heavy, "fp32", 1) == pytest.approx(10.0)
    assert ceilings.floor(heavy, "fp32", 8) == pytest.approx(80.0)
    assert ceilings.floor(large, "fp32", 1) == pytest.approx(401.0)
    assert ceilings.floor(large, "fp16", 2) == pytest.approx(202.0)
    assert ceilings.floor(heavy, "int8", 1) is None


def test_the_ceilings_are_those_of_this_machine():
    ceilings, missing = measure_ceilings(CPU, Sizes(128, 1, 16, 16, 1 << 20, 2))
    assert missing == [] and "tf32" not in ceilings.peaks
    assert 1e8 < ceilings.bandwidth < 1e13
    for precision in ("fp32", "bf16"):
        assert all(1e7 < peak < 1e14 for peak in ceilings.peaks[precision].values())


def test_the_work_of_a_network_is_that_of_its_onnx_file(folder):
    tiny = read(folder)[0]
    written = work_of(tiny.onnx(DECODERS[0]))
    assert (written.operations, written.image_bytes) == (tiny.work.operations, tiny.work.image_bytes)
    assert tiny.work.image_bytes == 64 * 96 * 3 + 4 * 32 * 48


def test_every_engine_gives_the_depth_of_the_model_and_has_every_figure(folder, tmp_path):
    report = Report(read(folder))
    assert worker.work(task(folder, tmp_path), lambda message: report.add(message, 1.0)) == 0
    found = report.facts()
    ways = {("onnxruntime/cpu", p) for p in ("fp32", "fp16")} | {("pytorch eager", p) for p in ("fp32", "bf16")}
    wanted = {("tiny", *way, decoder, batch) for way in ways for decoder in DECODERS for batch in (1, 2)}
    names = ("network", "engine", "precision", "decoder", "batch")
    assert {tuple(row[name] for name in names) for row in found["rows"]} >= wanted
    assert found["ceilings"]["peaks"].keys() >= {"fp32", "bf16"}
    for row in found["rows"]:
        assert row["ended"] == "", row
        # Random weights in half precision are off by more than trained ones.
        assert row["mean_difference"] < (1e-4 if row["precision"] == "fp32" else 0.05), row
        assert row["ms_over_floor"] == pytest.approx(row["ms"] / row["floor_ms"])
        assert row["images_per_second"] == pytest.approx(1e3 * row["batch"] / row["ms"])
        assert row["p95_ms"] >= row["ms"]
    assert report.plan == report.begun


def test_on_a_gpu_the_most_telling_engines_come_first(folder, tmp_path):
    tiny = read(folder)[0]
    networks = [replace(tiny, info=replace(INFO, name=name)) for name in ("first", "second")]
    found = candidates(networks, torch.device("cuda"), list(MODES), [1, 16], tmp_path, lambda _: None)
    names = [(c.prepared.name, c.engine, c.precision, c.decoder, c.batches) for c in found]
    assert names[:4] == [
        ("first", "pytorch graph, untuned", "fp16", "conv_transpose", [1]),
        ("first", "pytorch graph", "fp16", "conv_transpose", [1, 16]),
        ("first", "pytorch graph", "fp16", "depth_to_space", [1, 16]),
        ("second", "pytorch graph", "fp16", "conv_transpose", [1, 16]),
    ]
    engines = [(engine, precision) for _, engine, precision, *_ in names]
    assert engines.index(("pytorch compiled graph", "fp16")) < engines.index(("pytorch graph", "bf16"))
    assert {engine for engine, _ in engines} >= {f"pytorch {mode}" for mode in MODES}


def test_an_engine_that_fails_ends_its_row_and_no_other(folder, tmp_path, monkeypatch):
    infer = worker.timing

    def timing(backend, images, device):
        if len(images) > 1 and backend.name == "pytorch":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.\nmore")
        return infer(backend, images, device)

    monkeypatch.setattr(worker, "timing", timing)
    rows = []
    worker.work(task(folder, tmp_path, modes=["eager"]), lambda message: rows.append(message.get("row", {})))
    ended = [row for row in rows if row.get("ended")]
    assert ended and all(row["ended"] == "out of memory" and row["batch"] == 2 for row in ended)
    assert {row["engine"] for row in rows if "ms" in row and row["batch"] == 2} == {"onnxruntime/cpu"}


def test_a_depth_that_is_wrong_shows_in_the_comparison(folder):
    frames, wanted = read(folder)[0].reference()

    class Off:
        name = "off"

        def __init__(self, factor):
            self.factor, self.given = factor, iter(wanted)

        def infer(self, images):
            return {"depth": self.factor * next(self.given)[None]}

    figures = difference(Off(1.25), frames, wanted)
    assert figures["mean_difference"] == pytest.approx(0.25, abs=0.02)
    with pytest.raises(BackendError, match="not finite"):
        difference(Off(math.nan), frames, wanted)


def imports_of(module: str, seen: dict[str, set[str]]) -> None:
    """Collect what a module and its siblings import when they are imported, by the name of the module."""
    path = REPOSITORY.joinpath(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    if module in seen or not path.is_file():
        return
    seen[module] = found = set()
    waiting = list(ast.parse(path.read_text()).body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.If | ast.Try | ast.With | ast.ClassDef):
            waiting += ast.iter_child_nodes(node)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    for name in found:
        if name.partition(".")[0] in ("training", "depth_estimation_ros"):
            parts = name.split(".")
            for end in range(1, len(parts) + 1):
                imports_of(".".join(parts[:end]), seen)


def test_what_measures_imports_nothing_that_such_a_machine_lacks():
    seen: dict[str, set[str]] = {}
    for module in ("__main__", "run", "worker"):
        imports_of(f"training.bench_gpu.{module}", seen)
    assert {"training.bench_gpu.engines", "training.models.encoders"} <= seen.keys()
    own = {"training", "depth_estimation_ros"} | set(sys.stdlib_module_names)
    foreign = {name.partition(".")[0]: module for module, names in seen.items() for name in names}
    assert foreign.keys() - own <= ALLOWED, foreign


def test_rows_come_at_once_where_nothing_else_is_installed_and_the_time_is_kept(folder, site, tmp_path):
    output, minutes = tmp_path / "new_folder" / "cpu.json", 0.5
    arguments = ("run", str(folder), "--device", "cpu", "--minutes", str(minutes), "--output", str(output))
    started = time.monotonic()
    done = python(site, "-m", "training.bench_gpu", *arguments, cwd=tmp_path, capture_output=True)
    assert done.returncode == 0, done.stderr
    report = json.loads(output.read_text())
    assert [path.name for path in output.parent.iterdir()] == ["cpu.json"]
    tiny = [row for row in report["rows"] if row["network"] == "tiny"]
    assert tiny[0]["engine"] == "pytorch eager" and tiny[0]["mean_difference"] < 1e-4
    assert time.monotonic() - started < 60 * minutes + 15, "a safety net, for a busy machine"
    for words in ("GB/s", "pytorch eager", f"written to {output}"):
        assert words in done.stdout
    shown = python(site, "-m", "training.bench_gpu", "show", str(output), cwd=tmp_path, capture_output=True)
    assert shown.returncode == 0 and "pytorch eager" in shown.stdout


@pytest.mark.parametrize("signalled", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_cut_off_leaves_its_rows_and_no_process(folder, tmp_path, signalled):
    output = tmp_path / "cut.json"
    arguments = ["run", str(folder), "--device", "cpu", "--batches", "1", "--output", str(output)]
    process = subprocess.Popen(
        [sys.executable, "-m", "training.bench_gpu", *arguments],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "TMPDIR": str(tmp_path)},
    )
    assert "pytorch eager" in process.stdout.readline()
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.send_signal(signalled)
    assert process.wait(30) in (143, -9)
    report = json.loads(output.read_text())
    assert report["rows"][0]["ms"] > 0 and report["device"].startswith("CPU")
    end = time.monotonic() + 60
    while any(_runs(child) for child in children):
        assert time.monotonic() < end, "the process that measures still runs"
        time.sleep(0.1)


def _runs(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_after_the_minutes_what_is_missing_is_named(folder, tmp_path, capsys):
    output = tmp_path / "x.json"
    arguments = ["run", str(folder), "--device", "cpu", "--minutes", "0.001", "--output", str(output)]
    assert command.main(arguments) == 1
    error = capsys.readouterr().err
    assert "the time was up" in error and error.count("\n") == 1


def test_the_folder_of_the_defaults_can_be_carried(tmp_path, capsys):
    folder = tmp_path / "prepared"
    assert command.main(["prepare", str(folder)]) == 0
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 60 * 2**20
    resnet50, packaged = read(folder)
    assert resnet50.work.operations > 30e9 and resnet50.reference()[1].std() == pytest.approx(0.5, abs=0.1)
    assert packaged.info == load_model("default").info and packaged.onnx("as exported").is_file()
    # Prepared again, it is replaced; a folder with the user's files is not touched.
    assert command.main(["prepare", str(folder), "--models", "default"]) == 0
    assert [network.name for network in read(folder)] == [packaged.name] and not resnet50.folder.exists()
    (folder / "thesis.txt").write_text("mine")
    assert command.main(["prepare", str(folder), "--models", "default"]) == 1
    assert "holds other files" in capsys.readouterr().err and (folder / "thesis.txt").read_text() == "mine"


def on_gpu(folder: Path, tmp_path: Path) -> list[dict]:
    rows = []
    options = Task(folder, tmp_path, "cuda", [1, 2, 3], list(MODES))
    worker.work(options, lambda message: rows.append(message["row"]) if "row" in message else None)
    return [row for row in rows if row["network"] == "tiny" and row["engine"].startswith("pytorch")]


@pytest.mark.gpu
def test_on_a_gpu_every_way_of_pytorch_gives_the_depth_of_the_model(folder, tmp_path):
    rows = on_gpu(folder, tmp_path)
    assert len(rows) == 2 * 3 * len(MODES) * len(DTYPES) + 1
    for row in rows:
        assert row["ended"] == "", row
        assert row["mean_difference"] < (1e-4 if row["precision"] == "fp32" else 0.05), row
        assert row["device_ms"] > 0.0 and row["memory_mib"] > 1.0


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_it_says_so(folder, tmp_path, capsys):
    assert command.main(["run", str(folder), "--output", str(tmp_path / "x.json")]) == 1
    error = capsys.readouterr().err
    assert "this machine has no GPU" in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["prepare", "new", "--models", "nowhere.onnx"], "'nowhere.onnx' not found"),
        (["prepare", "new", "--models", "nowhere.ckpt"], "nowhere.ckpt does not exist"),
        (["prepare", "new", "--models", "default", "nyu_efficientnet_lite2"], "two of the models are called"),
        (["run", "nowhere"], "nowhere is not a prepared folder (networks.json: No such file"),
        (["run", "damaged"], "damaged/networks.json is damaged"),
        (["run", "old"], "from another version"),
        (["run", "nowhere", "--batches", "0"], "--batches must be at least 1"),
        (["run", "nowhere", "--minutes", "0"], "--minutes positive"),
        (["show", "old/networks.json"], "is not a report"),
        (["show", "nowhere.json"], "No such file"),
    ],
)
def test_a_mistake_is_one_line_and_no_folder_to_measure(arguments, sentence, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, content in (("damaged", '{"version": 1, "networks": [{}]}'), ("old", '{"version": 0}')):
        Path(name).mkdir()
        Path(name, "networks.json").write_text(content)
    assert command.main(arguments) == 1
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1
    assert not Path("new", "networks.json").exists()


def test_a_folder_name_in_the_metadata_stays_in_the_folder(tmp_path):
    network = Prepared(tmp_path, replace(INFO, name="../../etc"), Work(1, 1, 1), ("depth",), DECODERS, None, None)
    from training.bench_gpu.prepared import place_of

    assert place_of(tmp_path, network.info).parent == tmp_path
    assert place_of(tmp_path, replace(INFO, name="..")) == tmp_path / "model"
