"""Server of the live view: Rerun's own, as a child process."""

from __future__ import annotations

import ipaddress
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from depth_estimation_ros.support.children import ending_with_this

MEMORY_LIMIT = "64MB"
"""What the server keeps for browsers that come later: about half a minute."""

_PATIENCE = 20.0  # seconds for the server's start


class Server:
    """
    Child process that serves Rerun's web viewer on a port, and the data for it on the next one.

    Python's API of Rerun serves on all network interfaces; its command takes the address. The process has a
    configuration of its own, which sends no usage data.

    Parameters
    ----------
    address : str
        IP address to listen on: ``"127.0.0.1"`` for this computer alone, ``"0.0.0.0"`` for the network.
    port : int
        Port of the web page. The data has the next port. 0 takes free ports.
    recording : pathlib.Path, optional
        Recording to show.

    Raises
    ------
    ValueError
        If the address is none of this computer, a port is taken, or the server does not start.
    """

    def __init__(self, address: str, port: int, recording: Path | None = None):
        self._address, self._port, self._recording = address, port or _free_ports(address), recording
        self._home = Path(tempfile.mkdtemp(prefix="depth_view_"))
        settings = self._home / "rerun" / "analytics.json"
        settings.parent.mkdir()
        # Rerun replaces a file that lacks one of these by its defaults, which send usage data.
        paths = {"config_file_path": str(settings), "data_dir_path": str(self._home / "rerun" / "analytics")}
        settings.write_text(json.dumps({"analytics_enabled": False, "analytics_id": "", "metadata": {}, **paths}))
        self._process: subprocess.Popen | None = None
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    @property
    def page(self) -> str:
        """Address to open in a browser. On all interfaces it has the name of this computer."""
        host = _host(self._address)
        data = quote(f"rerun+http://{host}:{self._port + 1}/proxy", safe="")
        return f"http://{host}:{self._port}/?url={data}&hide_welcome_screen"

    @property
    def url(self) -> str:
        """Address to send data to."""
        local = ipaddress.ip_address(self._address)
        host = "127.0.0.1" if local.is_unspecified else self._address
        return f"rerun+http://{f'[{host}]' if ':' in host else host}:{self._port + 1}/proxy"

    @property
    def ended(self) -> bool:
        """Whether the process has ended or was killed."""
        return self._process is None or self._process.poll() is not None

    def start(self) -> None:
        """Start the process and wait until it answers; an earlier one is ended."""
        import rerun_cli

        self._end()
        for port in (self._port, self._port + 1):
            _check_free(self._address, port)
        command = [
            str(Path(rerun_cli.__file__).parent / "rerun"),
            "--serve-web",
            *("--bind", self._address),
            *("--web-viewer-port", str(self._port)),
            *("--port", str(self._port + 1)),
            *("--server-memory-limit", "1GB" if self._recording else MEMORY_LIMIT),
            *("--cors-allow-origin", f"http://*:{self._port}"),
            *([str(self._recording)] if self._recording else ()),
        ]
        private = {"XDG_CONFIG_HOME": str(self._home), "XDG_DATA_HOME": str(self._home), "RUST_LOG": "error"}
        with open(self._home / "log", "wb") as log:
            self._process = subprocess.Popen(
                ending_with_this(command),
                env={**os.environ, **private},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + _PATIENCE
        while not all(_answers(self._address, port) for port in (self._port, self._port + 1)):
            if self.ended or time.monotonic() > deadline:
                lines = (self._home / "log").read_text(errors="replace").strip().splitlines()
                raise ValueError(f"the viewer's server did not start: {lines[-1] if lines else 'it printed nothing'}")
            time.sleep(0.05)

    def browsers(self) -> int:
        """Return the number of connections to the data, besides those of this process."""
        data, own = self._port + 1, _own_sockets()
        ours = {local for local, remote, inode in _connections() if remote == data and inode in own}
        return sum(local == data and remote not in ours for local, remote, _ in _connections())

    def close(self) -> None:
        """End the process."""
        self._end()
        shutil.rmtree(self._home, ignore_errors=True)

    def _end(self) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(3.0)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


def _host(address: str) -> str:
    """Return how a browser reaches an address."""
    ip = ipaddress.ip_address(address)
    if ip.is_unspecified:
        return socket.gethostname()
    if ip.is_loopback:
        return "localhost"
    return f"[{address}]" if ip.version == 6 else address


def _free_ports(address: str) -> int:
    """Return the first of two successive ports that are free."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    while True:
        with socket.socket(family) as first, socket.socket(family) as second:
            first.bind((address, 0))
            port = first.getsockname()[1]
            with suppress(OSError, OverflowError):
                second.bind((address, port + 1))
                return port


def _check_free(address: str, port: int) -> None:
    """Raise ValueError if a port cannot be listened on."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((address, port))
        except OSError as error:
            raise ValueError(
                f"the viewer cannot listen on {address} port {port} ({error.strerror}): set the parameters address and "
                "port; it takes that port and the next one"
            ) from None


def _answers(address: str, port: int) -> bool:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)
    try:
        socket.create_connection((host, port), 1.0).close()
    except OSError:
        return False
    return True


def _connections() -> Iterator[tuple[int, int, str]]:
    """Yield local port, remote port and inode of each established TCP connection on this computer."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            words = line.split()
            if words[3] == "01":
                yield int(words[1].rpartition(":")[2], 16), int(words[2].rpartition(":")[2], 16), words[9]


def _own_sockets() -> set[str]:
    """Return the inodes of this process's sockets."""
    found = set()
    for file in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{file}")
        except OSError:
            continue
        if target.startswith("socket:["):
            found.add(target[8:-1])
    return found
