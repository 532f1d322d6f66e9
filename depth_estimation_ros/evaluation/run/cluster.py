"""Workers of other machines, by Dask."""

from __future__ import annotations

import socket
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

from depth_estimation_ros.evaluation.run.work import Options, Survey, WorkerError, evaluate_slice
from depth_estimation_ros.support.installing import how_to_install

_CONNECT_SECONDS = 10


class ClusterPool:
    """
    The workers of a Dask cluster; recordings and models are to be at the same paths for all of them.

    Parameters
    ----------
    address : str
        Of the scheduler, ``tcp://HOST:8786``.
    threads : int
        CPU threads of each engine.

    Raises
    ------
    ValueError
        If Dask is missing, there is no scheduler at the address, or it has no workers.
    """

    def __init__(self, address: str, threads: int):
        try:
            import distributed
        except ImportError:
            raise ValueError(f"--cluster needs Dask: {how_to_install('distributed')}") from None
        self._threads, self.faults = threads, (distributed.KilledWorker, distributed.CancelledError)
        try:
            self._client = distributed.Client(address, timeout=_CONNECT_SECONDS)
        except (OSError, ValueError, TypeError):
            raise ValueError(
                f"no Dask scheduler answers at '{address}'; start one with `dask scheduler`, which prints its address"
            ) from None
        self.size = sum(self._client.nthreads().values())
        if not self.size:
            self._client.close()
            raise ValueError(f"the cluster at '{address}' has no workers; start some with `dask worker {address}`")
        # Not pure: what a task reads from a disk may have changed since the last time.
        self._executor = self._client.get_executor(pure=False)
        self._futures: set[Future] = set()

    def __enter__(self) -> ClusterPool:
        """Return the pool."""
        return self

    def __exit__(self, *_) -> None:
        """Leave the cluster."""
        self.stop()
        self._client.close()

    def submit(self, function: Callable, *args) -> Future:
        """Call a function in a worker."""
        future = self._executor.submit(_named, function, *args)
        self._futures.add(future)
        future.add_done_callback(self._futures.discard)
        return future

    def submit_slice(self, survey: Survey, start: int, stop: int, options: Options, bag: Path | None) -> Future:
        """Call `evaluate_slice` in a worker."""
        return self.submit(evaluate_slice, survey, start, stop, options, self._threads, bag)

    def images_done(self) -> int:
        """Return 0: workers say nothing before their slice is done."""
        return 0

    def stop(self) -> None:
        """Drop what is in work."""
        for future in list(self._futures):
            future.cancel()


def _named(function: Callable, *args):
    """Call a function; what its worker lacks is said with the worker's name."""
    try:
        return function(*args)
    except WorkerError as error:
        raise WorkerError(f"worker {socket.gethostname()}: {error}") from None
