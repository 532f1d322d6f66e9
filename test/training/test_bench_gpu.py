"""The GPU's benchmark where there is no GPU: floor, engines that need none, comparison, file, table, and its words."""

import json
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training package needs PyTorch")

from depth_estimation_ros.backends import BackendError  # noqa: E402
from depth_estimation_ros.backends.tensorrt import parity  # noqa: E402
from depth_estimation_ros.model import ModelInfo, load_model  # noqa: E402
from training.bench_gpu import __main__ as command  # noqa: E402
from training.bench_gpu.engines import MODES  # noqa: E402
from training.bench_gpu.floor import DTYPES, Ceilings, Sizes, Work, measure_ceilings, work_of  # noqa: E402
from training.bench_gpu.measure import Bench, difference  # noqa: E402
from training.bench_gpu.networks import export_forms  # noqa: E402
from training.export import DECODERS  # noqa: E402
from training.models import build_network  # noqa: E402

CPU = torch.device("cpu")
TINY = {"encoder": "resnet18", "encoder_blocks": (1, 1, 1, 1), "decoder_channels": (32, 24, 16, 8, 8)}
INFO = ModelInfo("tiny", 96, 64, 80.0, 0.5, 10.0, "nothing", "Apache-2.0", "0" * 64)


@pytest.fixture(scope="module")
def forms(tmp_path_factory):
    torch.manual_seed(0)
    network = build_network("resnet_up_projection", **TINY)
    with torch.inference_mode():  # what so few random channels compute would fade from layer to layer
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = None
        network(torch.from_numpy(parity.calibration_frames(INFO, count=2)))
    return export_forms(network.eval(), INFO, tmp_path_factory.mktemp("forms"), print)


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


def test_the_work_of_an_onnx_file_is_that_of_its_network(forms):
    from torch.utils.flop_counter import FlopCounterMode

    image = torch.zeros(1, 64, 96, 3, dtype=torch.uint8)
    for form in forms:
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            depth = form.network(image)["depth"]
        work = work_of(form.model.path)
        assert work.operations == counter.get_total_flops()
        assert work.image_bytes == image.numel() + 4 * depth.numel()


def test_every_engine_gives_the_depth_of_the_model_and_has_every_figure(forms, tmp_path):
    bench = Bench(CPU, [2], ["eager", "graph"])
    facts, rows = bench.measure(forms, tmp_path)
    assert facts["name"] == "tiny" and facts["giga_operations"] > 0.1
    found = {(row.engine, row.precision, row.decoder) for row in rows}
    ways = {("onnxruntime/cpu", p) for p in ("fp32", "fp16")} | {("pytorch eager", p) for p in ("fp32", "fp16", "bf16")}
    assert found == {(*way, decoder) for way in ways for decoder in DECODERS}
    for row in rows:
        assert row.ended == "", row.name
        # Random weights in half precision are off by more than trained ones.
        assert row.figures["mean_difference"] < (1e-4 if row.precision == "fp32" else 0.05), row.name
        for batch, figures in row.batches.items():
            assert figures["ms_over_floor"] == pytest.approx(figures["ms"] / figures["floor_ms"])
            assert figures["images_per_second"] == pytest.approx(1e3 * batch / figures["ms"])
        assert row.batches.keys() == {1, 2} and row.batches[1]["p95_ms"] >= row.batches[1]["ms"]
    for library in ("tensorrt", "tensorrt_rtx"):
        assert any(sentence.startswith(f"{library}: ") for sentence in bench.skipped)


def test_an_engine_that_fails_ends_its_row_and_no_other(forms, tmp_path):
    bench = Bench(CPU, [2], ["eager"])
    rows = list(bench._rows(forms[:1], tmp_path))
    failing, working = rows[0], rows[1]

    def infer(images, original=failing.backend.infer):
        if len(images) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.\nmore")
        return original(images)

    failing.backend.infer = infer
    for batch in (1, 2):
        bench._measure_batch(rows, np.zeros((batch, 64, 96, 3), np.uint8))
    assert failing.ended == "batch of 2: out of memory (beside the other engines of this run)"
    assert failing.batches.keys() == {1} and working.batches.keys() == {1, 2}


def test_after_the_given_minutes_nothing_is_begun(forms, tmp_path):
    bench = Bench(CPU, [1], ["eager"], minutes=0.0)
    assert list(bench._rows(forms, tmp_path)) == [] and any(
        "--minutes was up" in sentence for sentence in bench.skipped
    )


def test_a_depth_that_is_wrong_shows_in_the_comparison(forms):
    model = forms[0].model
    frames = parity.calibration_frames(model.info, count=2)
    wanted = parity.reference(model, frames)

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


def test_the_command_writes_a_file_and_prints_what_is_in_it(rgbd_data, tmp_path, capsys):
    output = tmp_path / "new_folder" / "cpu.json"
    data = rgbd_data / "nyu_v2_labelled"
    arguments = ["--device", "cpu", "--batches", "1", "2", "--frames", "2", "--data", str(data)]
    assert command.main([*arguments, "--output", str(output)]) == 0
    report = json.loads(output.read_text())
    (network,) = report["networks"]
    assert network["name"] == load_model("default").info.name and len(network["rows"]) == 2
    for row in network["rows"]:
        assert row["batches"].keys() == {"1", "2"} and row["delta1"] > 0.5 and row["mean_difference"] < 1e-3
    assert report["pipeline"]["stages_ms"].keys() >= {"decode", "preprocess", "inference", "postprocess", "cloud"}
    assert any(sentence.startswith("PyTorch, default: ") for sentence in report["without"])
    printed = capsys.readouterr().out
    for words in ("GB/s", "onnxruntime/cpu", "batch 2", "the node's pipeline", "without tensorrt: "):
        assert words in printed
    assert [path.name for path in output.parent.iterdir()] == ["cpu.json"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU")
def test_on_a_gpu_every_way_of_pytorch_gives_the_depth_of_the_model(forms, tmp_path):
    bench = Bench(torch.device("cuda"), [2, 3], list(MODES))
    _, rows = bench.measure(forms[:1], tmp_path)
    rows = [row for row in rows if row.engine.startswith("pytorch")]
    assert len(rows) == len(MODES) * len(DTYPES)
    for row in rows:
        assert row.ended == "", row.name
        assert row.figures["mean_difference"] < (1e-4 if row.precision == "fp32" else 0.05), row.name
        assert row.batches.keys() == {1, 2, 3}
        for figures in row.batches.values():
            assert figures["device_ms"] > 0.0 and figures["memory_mib"] > 1.0


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_it_says_so(tmp_path, capsys):
    assert command.main(["--output", str(tmp_path / "x.json")]) == 1
    error = capsys.readouterr().err
    assert "this machine has no GPU" in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--models", "nowhere.onnx"], "'nowhere.onnx' not found"),
        (["--models", "nowhere.ckpt"], "nowhere.ckpt"),
        (["--batches", "0"], "--batches must be at least 1"),
        (["--models"], "nothing to measure"),
        (["--models", "--resnet50", "--data", "nowhere"], "give --models"),
        (["--data", "nowhere"], "nowhere"),
    ],
)
def test_a_mistake_is_one_line_and_no_file(arguments, sentence, tmp_path, capsys):
    output = tmp_path / "x.json"
    assert command.main(["--device", "cpu", "--output", str(output), *arguments]) == 1
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())
