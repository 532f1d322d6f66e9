"""The comparison of ways to share an engine has every way, and says which the nodes take."""

import pytest

from depth_estimation_ros.bench import cameras


@pytest.mark.parametrize(("backend", "threads", "own"), [("cpu", 2, "side by side"), ("openvino", 1, "one by one")])
def test_every_way_is_measured_and_the_nodes_is_marked(capsys, backend, threads, own):
    arguments = ["--cameras", "2", "--rounds", "1", "--seconds", "0.1", "--backend", backend, "--threads", str(threads)]
    assert cameras.main(arguments) == 0
    printed = capsys.readouterr().out
    for way in ("an engine each", "one by one", "in batches", "side by side"):
        rows = [line for line in printed.splitlines() if way in line]
        assert len(rows) == 2, "frames that come together, and as fast as they go"
        assert all(("*" in row) == (way == own) for row in rows)


@pytest.mark.parametrize(
    ("arguments", "sentence"), [(["--cameras", "1"], "two cameras"), (["--model", "/none"], "model '/none' not found")]
)
def test_a_mistake_is_one_line(capsys, arguments, sentence):
    assert cameras.main(arguments) == 1
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1
