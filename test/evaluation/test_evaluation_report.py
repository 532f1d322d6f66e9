"""The report of an evaluation: what is written, and that its words follow from its figures."""

import base64
import csv
import json
import re
import sys
from html.parser import HTMLParser
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the report needs matplotlib")

from depth_estimation_ros.evaluation.report import Picture, write_report
from depth_estimation_ros.evaluation.report.words import decision, verdict
from depth_estimation_ros.evaluation.result.frame_result import compare
from depth_estimation_ros.evaluation.result.summary import summarise

HOSTILE = '<script>alert("$x")</script>&'


def frame(index, error=0.2, recording="bag", model="net", depth=None, **options):
    truth = np.repeat(np.linspace(1, 4.99, 90)[:, None], 120, axis=1).astype(np.float32)
    depth = truth * (1 + error) if depth is None else depth(truth)
    sample = SimpleNamespace(index=index, stamp=index * 33_000_000, truth=truth, delay=0, deviation=None)
    before = SimpleNamespace(index=index - 1, stamp=(index - 1) * 33_000_000, truth=truth, delay=0, deviation=None)
    return compare(sample, depth, recording, model, 10.0 + index, previous=(before, truth), **options)


def picture(kind, model="net", recording="bag", sparse=False):
    truth = np.full((60, 80), 2.0, np.float32)
    if sparse:
        truth[np.arange(60 * 80).reshape(60, 80) % 17 > 0] = np.nan
    rgb = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    return Picture(recording, model, 7, kind, rgb, np.full((60, 80), 2.5, np.float32), truth, 0.25)


class Page(HTMLParser):
    """Collects what a page consists of, and holds that its tags are balanced."""

    VOID = ("meta", "img", "br", "link")

    def __init__(self, path):
        super().__init__()
        self.open, self.tags, self.attributes, self.text = [], [], [], ""
        self.feed(path.read_text())
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Write a report of two models and two recordings, one of them of a hostile name."""
    output = tmp_path_factory.mktemp("report") / "new"
    results = [
        frame(i, error + 0.01 * (i % 5), recording, model)
        for i in range(12)
        for recording in ("bag", HOSTILE)
        for model, error in (("net", 0.1), ("other $net", 0.3))
    ]
    recordings = [
        {
            "name": "bag",
            "images": 15,
            "images_done": 14,
            "topics": {"image": "/camera/<b>image"},
            "problems": {"no depth in time": 3},
        },
        {"name": HOSTILE, "images": 12, "notes": ["clock <i>offset</i>"], "clock_offset": 0.004, "error": "cut & off"},
    ]
    summary = summarise(results, {"net": {}, "other $net": {}}, recordings, {"processor": "<CPU>"}, interrupted=True)
    pictures = [picture("worst"), picture("worst", "other $net", HOSTILE), picture("best", sparse=True)]
    write_report(summary, results, pictures, output)
    return SimpleNamespace(output=output, summary=summary, results=results, page=Page(output / "report.html"))


def test_the_page_needs_nothing_but_itself(written):
    page = written.page
    assert not {"script", "link", "iframe", "object", "video"} & set(page.tags)
    sources = [value for name, value in page.attributes if name in ("src", "href", "srcset")]
    assert sources and all(source.startswith("data:image/png;base64,") for source in sources)
    text = (written.output / "report.html").read_text()
    assert "url(" not in text and "@import" not in text and "http" not in text
    assert 'name="viewport" content="width=device-width' in text


def test_names_from_outside_are_text_and_nothing_else(written):
    assert HOSTILE in written.page.text
    assert "/camera/<b>image" in written.page.text and "<CPU>" in written.page.text
    assert not {"b>image", "i"} & set(written.page.tags)
    assert "script" not in written.page.tags


def test_every_figure_is_in_the_page_and_beside_it(written):
    embedded = {
        base64.b64decode(value.split(",", 1)[1])
        for name, value in written.page.attributes
        if name == "src" and value.startswith("data:")
    }
    files = {path.name: path.read_bytes() for path in (written.output / "figures").iterdir()}
    assert set(files.values()) == embedded
    kinds = ["best", "distance", "region", "region", "time", "time", "worst", "worst"]
    assert sorted(re.split(r"[_.]", name)[0] for name in files) == kinds
    for content in files.values():
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
        assert image.shape[1] > 500 and image.std() > 10


def test_the_page_has_every_section(written):
    headings = re.findall(r"<h2>(.*?)</h2>", (written.output / "report.html").read_text())
    assert headings == [
        "Accuracy",
        "Model against model",
        "After affine alignment",
        "Error against distance",
        "Error over the image",
        "Error over time",
        "Worst and best frames",
        "Flicker",
        "Speed",
        "Models, recordings, machine",
        "What is missing",
        "How to read the figures",
    ]
    for said in (
        "3 images: no depth in time",
        "cut & off",
        "15, of which 14 were processed",
        "The run was interrupted",
        "+4.0 ms (ground truth minus image)",
    ):
        assert said in written.page.text


def test_a_difference_is_read_by_what_is_better(written):
    # The second model errs more: its errors are larger, its shares of good pixels smaller, and both are worse.
    text = (written.output / "report.html").read_text()
    pair = text[text.index("other $net minus net") : text.index("Error against distance")]
    rows = dict(re.findall(r'<th scope="row">(.*?)</th><td>.*?</td><td class="\w+">(.*?)</td>', pair))
    assert rows["AbsRel"] == rows["δ &lt; 1.25 ↑"] == "worse"
    less = {"decided": True, "mean": -0.1}
    assert decision(less) == "better" and decision(less, higher_is_better=True) == "worse"
    assert decision({"decided": False, "mean": 0.1}) == "not decided"


def test_json_is_strict_and_is_the_summary(written):
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    found = json.loads((written.output / "metrics.json").read_text(), parse_constant=refuse)
    assert found == written.summary
    figures = found["models"]["net"]
    assert figures["frames"] == 24
    for metric in ("abs_rel", "rmse", "log10", "delta1", "delta2", "delta3"):
        assert isinstance(figures[metric], float)


def test_the_table_has_a_line_for_each_frame_and_model(written):
    with open(written.output / "frames.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(written.results) == 48
    assert [row["model"] for row in rows[:2]] == ["net", "other $net"]
    found = {(row["recording"], row["model"], int(row["index"])): row for row in rows}
    for r in written.results:
        row = found[r.recording, r.model, r.index]
        assert float(row["abs_rel"]) == r.raw["abs_rel"] and float(row["scaled_rmse"]) == r.scaled["rmse"]
        assert float(row["flicker_change"]) == r.flicker["change"]
        assert int(row["stamp"]) == r.stamp and row["latency_ms"] == ""


def test_an_earlier_report_is_replaced(tmp_path):
    results = [frame(i) for i in range(3)]
    write_report(summarise(results), results, [picture("worst"), picture("best")], tmp_path)
    write_report(summarise(results), results, [], tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["figures", "frames.csv", "metrics.json", "report.html"]
    names = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert names == ["distance.png", "region_01.png", "time_01.png"]


def test_the_same_results_give_the_same_report(tmp_path):
    results = [frame(i, 0.1 * (1 + i % 3)) for i in range(20)]
    for name, order in (("a", results), ("b", results[::-1])):
        write_report(summarise(order), order, [picture("worst")], tmp_path / name)
    for name in ("report.html", "metrics.json", "frames.csv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_without_any_frame_the_report_says_why(tmp_path):
    recordings = [{"name": "bag", "images": 9, "problems": {"no pixel has a known true depth": 9}}]
    write_report(summarise([], {"net": {}}, recordings), [], [], tmp_path)
    page = Page(tmp_path / "report.html")
    assert "No frame could be compared" in page.text
    assert "9 images: no pixel has a known true depth" in page.text
    assert (tmp_path / "frames.csv").read_text().count("\n") == 1


def test_a_model_without_any_estimate_is_named(tmp_path):
    results = [frame(0), frame(0, model="blind", depth=lambda truth: truth * np.float32(np.nan))]
    summary = summarise(results)
    write_report(summary, results, [], tmp_path)
    assert "blind gave no valid depth in any of 1 frames" in Page(tmp_path / "report.html").text


def test_pixels_without_an_estimate_are_reported(tmp_path):
    def half(truth):
        return np.where(np.arange(120) < 60, truth, np.float32(np.nan))

    results = [frame(0, depth=half)]
    write_report(summarise(results), results, [], tmp_path)
    assert "net has no estimate for 50 % of the pixels with ground truth" in Page(tmp_path / "report.html").text


def test_a_live_run_tells_latency_and_what_became_of_the_frames(tmp_path):
    results = [frame(i, latency_ms=40.0 + i) for i in range(11)]
    counts = {"received": 30, "published": 11, "superseded": 18, "failed": 1, "rate_hz": 9.5}
    summary = summarise(results, {"net": {"live": counts, "inference_ms": {"p50": 33.0, "p95": 35.0}}})
    assert summary["models"]["net"]["latency_ms"] == {"p50": 45.0, "p95": 49.5}
    assert summary["models"]["net"]["inference_ms"]["p50"] == 33.0
    write_report(summary, results, [], tmp_path)
    text = Page(tmp_path / "report.html").text
    assert "18 of 30 images were superseded by newer ones" in text and "superseded" in text


def said(depth, **options):
    return verdict(summarise([frame(i, depth=depth, **options) for i in range(3)]))


def test_the_verdict_names_the_distance_and_the_part_of_the_image_where_it_fails():
    def wrong(rows, columns, factor):
        def depth(truth):
            changed = truth.copy()
            changed[rows, columns] *= factor
            return changed

        return depth

    right = said(wrong(slice(60, 90), slice(80, 120), 1.4))
    assert "in the lower right of the image" in right and "at 4 to 5 m" in right and "too far" in right
    left = said(wrong(slice(0, 20), slice(0, 40), 0.6))
    assert "in the upper left of the image" in left and "at 1 to 1.5 m" in left and "too near" in left
    assert "No distance and no part of the image stands out" in said(lambda truth: truth * np.float32(1.1))


def test_the_verdict_gives_the_figures():
    text = said(lambda truth: truth * np.float32(0.75))
    assert "On 3 frames of bag, the depth of model net has a mean relative error (AbsRel) of 25 %" in text
    assert "typically 25 % too near" in text and "the AbsRel would be 0.0 %" in text


def test_the_verdict_says_which_model_is_better_and_when_that_is_open():
    rng = np.random.default_rng(0)
    errors = rng.uniform(0.1, 0.4, 30)
    first = [frame(i, e) for i, e in enumerate(errors)]
    worse = [frame(i, e + 0.05, model="other") for i, e in enumerate(errors)]
    assert "Frame by frame, it is more accurate than other, by 5.0 percentage points" in verdict(
        summarise(first + worse)
    )
    like = [frame(i, e, model="other") for i, e in enumerate(errors + rng.normal(0, 0.02, 30))]
    assert "These frames do not show whether it is more accurate than other" in verdict(summarise(first + like))


def test_a_missing_matplotlib_is_one_sentence_and_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ValueError, match="the report needs matplotlib: pip install matplotlib"):
        write_report(summarise([frame(0)]), [frame(0)], [], tmp_path / "report")
    assert not (tmp_path / "report").exists()
