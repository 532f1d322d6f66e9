"""The server of the live view: where it listens, who is connected, and what it does not send."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest

pytest.importorskip("rerun", reason="needs the viewer: pip install '.[view]'")

from depth_estimation_ros.viewer.server import Server


@pytest.fixture(scope="module")
def server():
    with closing(Server("127.0.0.1", 0)) as started:
        yield started


def ports(server):
    return server._port, server._port + 1


def eventually(condition):
    deadline = time.monotonic() + 10.0
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_it_listens_on_this_computer_only(server):
    listening = []
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        address, port = line.split()[1].split(":")
        if line.split()[3] == "0A" and int(port, 16) in ports(server):
            listening.append(address)
    assert listening == ["0100007F", "0100007F"]


def test_connections_of_others_are_browsers(server):
    eventually(lambda: server.browsers() == 0)
    code = f"import socket, sys; s = socket.create_connection(('127.0.0.1', {ports(server)[1]})); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as browser:
        eventually(lambda: server.browsers() == 1)
        browser.stdin.close()
    eventually(lambda: server.browsers() == 0)


def test_the_own_connection_is_none(server):
    with socket.create_connection(("127.0.0.1", ports(server)[1])):
        time.sleep(0.2)
        assert server.browsers() == 0


@pytest.mark.parametrize("host", ["localhost", "robot.local", "192.168.1.5"])
def test_a_page_from_any_name_of_the_robot_may_read_the_data(server, host):
    page, data = ports(server)
    headers = {"Origin": f"http://{host}:{page}", "Access-Control-Request-Method": "POST"}
    request = urllib.request.Request(f"http://127.0.0.1:{data}/x", headers=headers, method="OPTIONS")
    assert urllib.request.urlopen(request, timeout=10).headers["Access-Control-Allow-Origin"] == headers["Origin"]


def test_the_process_sends_no_usage_data(server):
    settings = json.loads((server._home / "rerun" / "analytics.json").read_text())
    assert settings["analytics_enabled"] is False
    assert not list(server._home.glob("rerun/analytics/*"))


def test_a_taken_port_is_named(server):
    port = ports(server)[0]
    with pytest.raises(ValueError, match=rf"cannot listen on 127.0.0.1 port {port} \(Address already in use\)"):
        Server("127.0.0.1", port)
