import pytest
from diagnostic_msgs.msg import DiagnosticStatus

from depth_estimation_ros.pipeline.stopwatch import Stopwatch
from depth_estimation_ros.runtime.diagnostics import HARDWARE_ID, diagnose
from depth_estimation_ros.runtime.statistics import Statistics


def test_the_counts_add_up_at_every_moment():
    statistics = Statistics()
    events = [
        statistics.received,
        statistics.idle,
        lambda: statistics.published({"inference": 5.0}),
        statistics.received,
        statistics.received,
        statistics.superseded,
        lambda: statistics.failed("image not readable"),
    ]
    for event in events:
        event()
        s = statistics.snapshot()
        assert s.received == s.published + s.superseded + s.failed + s.pending
    assert (s.received, s.published, s.superseded, s.failed, s.pending, s.idle) == (3, 1, 1, 1, 0, 1)


def test_percentiles_are_those_of_the_samples():
    statistics = Statistics()
    for value in range(1, 101):
        statistics.received()
        statistics.published({"inference": float(value)})
    assert statistics.snapshot().milliseconds["inference"] == pytest.approx((50.5, 95.05))


def test_the_summary_is_a_sentence_that_adds_up():
    statistics = Statistics()
    for _ in range(3):
        statistics.received()
    statistics.published({"inference": 7.0, "latency": 11.0})
    statistics.superseded()
    statistics.failed("engine failed")
    assert str(statistics.snapshot()) == (
        "3 frames received = 1 published + 1 superseded + 1 failed; "
        "inference p50 7.0 ms, p95 7.0 ms; latency p50 11.0 ms, p95 11.0 ms"
    )


def test_a_stopwatch_adds_up_the_parts_of_a_stage_even_if_one_fails():
    stage = Stopwatch()
    with stage("cloud"):
        pass
    first = stage.elapsed["cloud"]
    with pytest.raises(ValueError), stage("cloud"):
        raise ValueError
    assert stage.elapsed["cloud"] > first >= 0.0


@pytest.mark.parametrize(
    ("published", "failed", "complaints", "level", "text"),
    [
        (2, 0, [], DiagnosticStatus.OK, "active, 0.0 frames a second"),
        (1, 1, [], DiagnosticStatus.WARN, "1 of 2 frames failed: engine failed"),
        (0, 3, [], DiagnosticStatus.ERROR, "3 of 3 frames failed: engine failed"),
        (0, 0, ["nothing received on /image"], DiagnosticStatus.WARN, "nothing received on /image"),
    ],
)
def test_diagnostics_judge_what_happened_since_the_last_report(published, failed, complaints, level, text):
    statistics = Statistics()
    before = statistics.snapshot()
    for _ in range(published + failed):
        statistics.received()
    for _ in range(published):
        statistics.published({})
    for _ in range(failed):
        statistics.failed("engine failed")
    now = statistics.snapshot()
    status = diagnose("depth", {"state": "active", "model": "tiny"}, now, before, complaints)
    assert status.level == level
    assert status.hardware_id == HARDWARE_ID
    if published < 2:  # two publications make a rate
        assert status.message == text
    values = {entry.key: entry.value for entry in status.values}
    assert values["failed"] == str(failed)
    assert ("failed: engine failed" in values) == (failed > 0)


def test_a_frame_published_in_part_is_published_and_a_warning():
    statistics = Statistics()
    before = statistics.snapshot()
    for _ in range(3):
        statistics.received()
        statistics.published({})
    for _ in range(2):
        statistics.lacking("no transform")
    now = statistics.snapshot()
    assert (now.published, now.failed, now.pending) == (3, 0, 0)
    status = diagnose("depth", {"state": "active"}, now, before, [])
    assert status.level == DiagnosticStatus.WARN
    assert status.message == "2 of 3 frames published in part: no transform"
    assert {entry.key: entry.value for entry in status.values}["published in part: no transform"] == "2"
    assert diagnose("depth", {"state": "active"}, now, now, []).level == DiagnosticStatus.OK
