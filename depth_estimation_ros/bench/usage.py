"""Resource usage of a process, from Linux's ``/proc``."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """
    Resource usage of a process (proc(5)).

    Parameters
    ----------
    cpu_s : float
        CPU time since its start, in all threads, seconds.
    resident_mb : float
        Resident memory, including shared memory, MB.
    private_mb : float
        Private part of it (heap and stacks), MB.
    peak_mb : float
        Peak of `resident_mb`, MB.
    handles : int
        Number of open files, sockets and pipes.
    threads : int
        Number of threads.
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
        Return the usage of a running process.

        Raises
        ------
        ProcessLookupError
            If there is no process with this ID.
        """
        process = Path(f"/proc/{pid}")
        try:
            fields = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
            handles = len(os.listdir(process / "fd"))
            cpu = _seconds(process / "stat")
        except (FileNotFoundError, ProcessLookupError):
            raise ProcessLookupError(f"process {pid} has ended") from None
        if "VmRSS" not in fields:
            raise ProcessLookupError(f"process {pid} has ended")  # a zombie
        resident, private, peak = (int(fields[name].split()[0]) / 1024 for name in ("VmRSS", "RssAnon", "VmHWM"))
        return cls(
            cpu_s=cpu,
            resident_mb=resident,
            private_mb=private,
            peak_mb=peak,
            handles=handles,
            threads=int(fields["Threads"]),
        )


def _seconds(stat: Path) -> float:
    # The second field, the name, may contain spaces and brackets: count from the last bracket.
    fields = stat.read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICK
