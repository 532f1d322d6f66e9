"""A frame that is stuck is an error that names its stage, for as long as it is."""

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from ros_processes import output
from test_node_start import write_model

from depth_estimation_ros.conversions import rgb_to_image


def test_a_stuck_frame_is_an_error_that_names_its_stage_and_goes_when_frames_are_processed_again(start, tmp_path):
    # The brighter the image, the longer this model takes; a black one takes no time.
    model = write_model(tmp_path / "slow.onnx", slow=True)
    depth = start("/stuck", model=model, backend="cpu", threads=1, output_timeout=0.3)
    depth.subscribe("depth/image")
    black = rgb_to_image(np.zeros((240, 320, 3), np.uint8))
    depth.send_until_published(image=black)
    seen = []

    def seen_stuck(header):
        """Whether the frame got stuck for long enough to be seen, once it is through."""
        if "fault" in depth.figures:
            seen.append(dict(depth.figures))
        return depth.result("depth/image", header)

    for brightness in (2, 4, 8, 16):  # on a fast machine more than the first
        depth.settled()
        header = depth.send(image=rgb_to_image(np.full((240, 320, 3), brightness, np.uint8)))
        depth.wait(lambda header=header: seen_stuck(header), timeout=120.0)
        if seen:
            break
    assert seen[0]["level"] == DiagnosticStatus.ERROR
    assert seen[0]["message"] == seen[0]["fault"]
    assert "no output: a frame has been in the stage inference for " in seen[0]["fault"]
    assert "[ERROR]" in output(depth.process) and seen[0]["fault"].split(" for ")[0] in output(depth.process)

    depth.wait(lambda: depth.send(image=black) and depth.figures.get("level") == DiagnosticStatus.OK)
    assert "fault" not in depth.figures
    assert "frames are processed again" in output(depth.process)
    assert depth.settled()["failed"] == "0"
