"""What a process takes of the machine, from Linux's ``/proc``."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """
    What a process holds and has used (proc(5)).

    Parameters
    ----------
    cpu_s : float
        Seconds of processor time since its start, in all threads.
    resident_mb : float
        Memory that lies in RAM, shared memory included.
    private_mb : float
        The part of it that is the process's own: heap and stacks.
    peak_mb : float
        The most that `resident_mb` has been.
    handles : int
        Open files, sockets and pipes.
    threads : int
        Threads.
    """

    cpu_s: float
    resident_mb: float
    private_mb: float
    peak_mb: float
    handles: int
    threads: int

    @classmethod
    def of(cls, pid: int) -> Usage:
        """
        Look at a running process.

        Raises
        ------
        ProcessLookupError
            If there is none of this number (any more).
        """
        process = Path(f"/proc/{pid}")
        try:
            fields = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
            handles = len(os.listdir(process / "fd"))
            cpu = _seconds(process / "stat")
        except (FileNotFoundError, ProcessLookupError):
            raise ProcessLookupError(f"process {pid} has ended") from None
        if "VmRSS" not in fields:
            raise ProcessLookupError(f"process {pid} has ended")  # a zombie, which nobody waited for
        resident, private, peak = (int(fields[name].split()[0]) / 1024 for name in ("VmRSS", "RssAnon", "VmHWM"))
        return cls(cpu, resident, private, peak, handles, int(fields["Threads"]))


def _seconds(stat: Path) -> float:
    # The second field, the name, may hold spaces and brackets: count from the last bracket.
    fields = stat.read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICK
