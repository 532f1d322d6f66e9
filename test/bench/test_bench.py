"""The benchmark reports every stage, in a table and in a file that is whole or absent."""

import json
import os
import subprocess
import sys

from depth_estimation_ros.bench import pipeline as bench

STAGES = {"decode", "preprocess", "inference", "postprocess", "cloud", "message_fill"}


def test_report_has_every_stage_at_both_sizes_and_for_both_clouds(tmp_path):
    output = tmp_path / "new_folder" / "bench.json"
    # Without rclpy's field checks, which look at each byte of the messages filled in the usual way.
    environment = {k: v for k, v in os.environ.items() if k != "ROS_PYTHON_CHECK_FIELDS"}
    command = [sys.executable, "-m", "depth_estimation_ros.bench.pipeline", "--quick", "--output", str(output)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    report = json.loads(output.read_text())
    assert report["sizes"].keys() == {"640x480", "1920x1080"}
    for result in report["sizes"].values():
        for cloud_size in ("camera", "network"):
            figures = result[cloud_size]
            assert figures["stages_ms"].keys() == STAGES
            assert all(value > 0.0 for value in figures["stages_ms"].values())
            assert figures["total_ms"] / figures["copy_ms"] == figures["times_copy"]
        assert all(value > 0.0 for value in result["usual_ms"].values())
    assert all(stage in run.stdout for stage in STAGES) and output.name in run.stdout
    assert [path.name for path in output.parent.iterdir()] == ["bench.json"]


def test_a_missing_model_is_one_line_and_no_file(tmp_path, capsys):
    output = tmp_path / "bench.json"
    assert bench.main(["--model", str(tmp_path / "none.onnx"), "--output", str(output)]) == 1
    error = capsys.readouterr().err
    assert "none.onnx" in error and error.count("\n") == 1
    assert not output.exists()
