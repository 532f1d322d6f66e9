"""Ten seconds at a real camera's rate and size, then two thousand frames: nothing lost or out of order, no leak."""

import time
from pathlib import Path

from depth_client import MODULE, DepthClient, picture
from ros_processes import output, ros_context, running_node, stop

from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.conversions import camera_to_info, rgb_to_image

CAMERA = PinholeCamera(640, 480, 520.0, 520.0, 319.5, 239.5)
RATE, SECONDS = 30, 10
MORE_FRAMES = 2000


def resident_megabytes(process) -> float:
    """Return the memory of a process that lies in RAM."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def stamps(messages) -> list[int]:
    return [m.header.stamp.sec * 1_000_000_000 + m.header.stamp.nanosec for m in messages]


def test_ten_seconds_at_30_hz_and_two_thousand_frames_more():
    with (
        ros_context() as node,
        running_node(MODULE, parameters={"image_reliability": "reliable"}) as process,
    ):
        depth = DepthClient(node, process)
        depth.subscribe("depth/image", "depth/points")
        depth.send_until_published(camera=CAMERA)
        depth.settled()
        for messages in depth.got.values():
            messages.clear()

        # A camera: 640x480 at 30 Hz, whatever the node does.
        received, published, failed = map(depth.figure, ("received", "published", "failed"))
        images = [rgb_to_image(picture(CAMERA, seed)) for seed in range(3)]
        start, sent = time.monotonic(), []

        def ten_seconds_sent():
            while len(sent) < RATE * SECONDS and time.monotonic() >= start + len(sent) / RATE:
                sent.append(depth.send(images[len(sent) % 3], camera_to_info(CAMERA)))
            return len(sent) == RATE * SECONDS

        depth.wait(ten_seconds_sent, timeout=120.0)
        depth.settled()
        assert depth.figure("received") - received == len(sent)  # reliable: none is lost on the way
        assert depth.figure("failed") == failed
        depth.wait(lambda: len(depth.got["depth/image"]) == depth.figure("published") - published)
        for messages in depth.got.values():
            assert stamps(messages) == sorted(set(stamps(messages)))

        # Two thousand more, each sent once the one before is back.
        before, published = resident_megabytes(process), depth.figure("published")
        small = PinholeCamera(320, 240, 260.0, 260.0, 159.5, 119.5)
        image, info = rgb_to_image(picture(small)), camera_to_info(small)
        done = 0
        last = depth.send(image, info)

        def all_done():
            nonlocal done, last
            if depth.got["depth/image"] and depth.got["depth/image"][-1].header.stamp == last.stamp:
                done += 1
                for messages in depth.got.values():
                    messages.clear()
                last = depth.send(image, info)
            return done == MORE_FRAMES

        depth.wait(all_done, timeout=90.0)
        depth.wait(lambda: depth.got["depth/image"])
        depth.settled()
        assert depth.figure("failed") == failed
        assert depth.figure("published") - published == MORE_FRAMES + 1
        growth = resident_megabytes(process) - before
        assert growth < 20.0, f"memory grew by {growth:.1f} MB"
        assert stop(process, timeout=2.0) == 0
        print(f"memory grew by {growth:.1f} MB; {output(process)}")
