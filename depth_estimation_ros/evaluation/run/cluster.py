"""Workers on other machines, with Dask."""

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
    Workers of a Dask cluster. Recordings and models must have the same paths on all workers.

    Parameters
    ----------
    address : str
        Address of the scheduler, ``tcp://HOST:8786``.
    threads : int
        CPU threads of each engine.

    Raises
    ------
    ValueError
        If Dask is not installed, no scheduler answers at the address, or it has no workers.
    """

    def __init__(self, address: str, threads: int):
        try:
            import distributed
        except ImportError:
            raise ValueError(f"--cluster needs Dask: {how_to_install('distributed')}") from None
        self._threads = threads
        self.faults: tuple[type[BaseException], ...] = (distributed.KilledWorker, distributed.CancelledError)
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
        # Not pure: files that a task reads may have changed since its last call.
        self._executor = self._client.get_executor(pure=False)
        self._futures: set[Future] = set()

    def __enter__(self) -> ClusterPool:
        """Return the pool."""
        return self

    def __exit__(self, *_) -> None:
        """Disconnect from the cluster."""
        self.stop()
        self._client.close()

    def submit(self, function: Callable, *args) -> Future:
        """Submit a function call to a worker."""
        future = self._executor.submit(_named, function, *args)
        self._futures.add(future)
        future.add_done_callback(self._futures.discard)
        return future

    def submit_slice(self, survey: Survey, start: int, stop: int, options: Options, bag: Path | None) -> Future:
        """Submit a call of `evaluate_slice` to a worker."""
        return self.submit(evaluate_slice, survey, start, stop, options, self._threads, bag)

    def images_done(self) -> int:
        """Return 0, because workers report nothing before their slice is done."""
        return 0

    def stop(self) -> None:
        """Cancel all pending calls."""
        for future in list(self._futures):
            future.cancel()


def _named(function: Callable, *args):
    """Call a function and add the name of the worker to a WorkerError."""
    try:
        return function(*args)
    except WorkerError as error:
        raise WorkerError(f"worker {socket.gethostname()}: {error}") from None
