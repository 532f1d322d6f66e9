"""The live view in a real browser, beside a running camera and depth node."""

from __future__ import annotations

import os
import re
import signal
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: requirements/ros2-jazzy.txt")
pytest.importorskip("rerun", reason="needs the viewer: pip install '.[view]'")

from browser import PROGRAM, Browser
from ros_processes import free_ports, output, ros_context, running_node, wait_for

if PROGRAM is None:
    pytest.skip("needs a browser: apt install chromium", allow_module_level=True)

MOUNT = {"camera_height": 1.3, "camera_pitch": 0.16}
ANCHOR = {"anchor/points": "ground_truth/points"}
# Parts of the page, from 0 to 1: top, bottom, left, right.
CAMERA, DEPTH = (0.08, 0.48, 0.0, 0.24), (0.08, 0.48, 0.24, 0.47)
LEGEND, CLOUD = (0.1, 0.48, 0.48, 0.54), (0.1, 0.95, 0.56, 1.0)


class Room:
    """Camera, depth node, view and a browser, for all tests."""

    def __init__(self, node, view, browser, page):
        self.node, self.view, self.browser, self.page = node, view, browser, page

    def subscribers(self) -> int:
        return self.node.count_subscribers("/depth/points")


@pytest.fixture(scope="module")
def room():
    with ExitStack() as ending:
        node = ending.enter_context(ros_context())
        package = "depth_estimation_ros.nodes"
        # A browser that renders on a busy CPU keeps up with a low rate only.
        parameters = {**MOUNT, "rate": 2.0, "port": free_ports(2)}
        view = ending.enter_context(running_node(f"{package}.view_depth", parameters=parameters, remappings=ANCHOR))
        depth = {**MOUNT, "anchor": "points", "threads": 1, "max_rate": 5.0}
        ending.enter_context(running_node(f"{package}.depth_estimation", parameters=depth, remappings=ANCHOR))
        ending.enter_context(running_node(f"{package}.synthetic_camera", parameters={**MOUNT, "rate": 5.0}))
        wait_for(node, lambda: "open http" in output(view), process=view, timeout=60)
        page = re.search(r"open (http\S+)", output(view)).group(1)
        wait_for(node, lambda: node.count_publishers("/depth/points") > 0, timeout=60)
        subscribers = node.count_subscribers("/depth/points")
        browser = ending.enter_context(Browser())
        found = Room(node, view, browser, page)
        found.before = subscribers
        found.tab = browser.open(page)
        yield found


def part(picture, place):
    height, width = picture.shape[:2]
    top, bottom, left, right = place
    return picture[int(top * height) : int(bottom * height), int(left * width) : int(right * width)].astype(int)


def has_depth(picture):
    """Whether the depth image is there: most of its colours are saturated, and they differ."""
    pixels = part(picture, DEPTH).reshape(-1, 3)
    coloured = pixels[pixels.max(1) - pixels.min(1) > 100]
    return len(coloured) > 0.3 * len(pixels) and coloured.std(0).max() > 15


def has_camera(picture):
    return part(picture, CAMERA).std() > 20


def has_cloud(picture):
    """Whether there are points on the dark background, and the orange of the scan."""
    pixels = part(picture, CLOUD).reshape(-1, 3)
    bright = pixels.max(1) > 100
    red, green, blue = pixels.T
    scan = (red > 150) & (green > 60) & (green < 170) & (blue < 60)
    return bright.mean() > 0.05 and scan.sum() > 30


def shows_everything(picture):
    return has_camera(picture) and has_depth(picture) and has_cloud(picture)


def test_camera_depth_cloud_and_scan_are_in_the_page(room):
    picture = room.tab.wait_for(shows_everything)
    if folder := os.environ.get("SCREENSHOTS"):
        import cv2

        cv2.imwrite(str(Path(folder) / "view.png"), picture[..., ::-1])
    # Near is warm, as in the previews: the table in front is at the lower edge.
    depth = part(picture, DEPTH)
    lower = depth[-len(depth) // 3 :].reshape(-1, 3)
    lower = lower[lower.max(1) - lower.min(1) > 100]
    assert lower[:, 0].mean() > lower[:, 2].mean() + 50


def test_nothing_was_subscribed_before_somebody_looked(room):
    assert room.before == 0 and room.subscribers() == 1


def test_the_colour_scale_is_labelled(room):
    legend = part(room.tab.screenshot(), LEGEND)
    colours = {tuple(colour // 64) for colour in legend.reshape(-1, 3)}
    assert len(colours) > 8  # from blue over green to red, with white labels


def test_a_second_browser_joins_and_the_first_leaves(room):
    second = room.browser.open(room.page)
    picture = second.wait_for(shows_everything)
    room.tab.close()
    second.wait_for(lambda later: has_cloud(later) and np.abs(part(later, CLOUD) - part(picture, CLOUD)).mean() > 1.0)
    room.tab = second


def test_a_killed_server_comes_back(room):
    tasks = Path(f"/proc/{room.view.pid}/task").iterdir()
    (server,) = {pid for task in tasks for pid in (task / "children").read_text().split()}
    os.kill(int(server), signal.SIGKILL)
    said = "starting it again"
    wait_for(room.node, lambda: said in output(room.view), process=room.view, timeout=30)
    room.tab.close()
    room.tab = room.browser.open(room.page)
    room.tab.wait_for(shows_everything)


def test_when_the_last_browser_leaves_nothing_is_subscribed(room):
    room.tab.close()
    wait_for(room.node, lambda: room.subscribers() == 0, process=room.view, timeout=30)
