"""Work that joblib fans out, on any `concurrent.futures.Executor`: Dask's, Parsl's, Ray's, or one of Python's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from typing import Any

from joblib import parallel_config
from joblib._parallel_backends import ParallelBackendBase

from gpu_xarch.errors import InputError

__all__ = ["work_on"]


class _OnExecutor(ParallelBackendBase):  # type: ignore[misc]  # joblib has no types
    """What joblib asks of a place where work can be done."""

    supports_retrieve_callback = True

    def __init__(self, executor: Executor, n_workers: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.executor, self.n_workers = executor, n_workers
        self.futures: set[Future[Any]] = set()

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """Return how much is done at once; an executor does not say how many workers it has."""
        if n_jobs is None or n_jobs < 0:
            return self.n_workers
        return min(n_jobs, self.n_workers)

    def submit(self, func: Callable[[], Any], callback: Callable[[Any], None] | None = None) -> Future[Any]:
        """Hand a batch of calls to the executor."""
        future = self.executor.submit(func)
        self.futures.add(future)
        future.add_done_callback(self.futures.discard)
        if callback is not None:
            future.add_done_callback(callback)
        return future

    apply_async = submit  # its name before joblib 1.5

    def retrieve_result_callback(self, out: Future[Any]) -> Any:
        """Result of a batch."""
        return out.result()

    def abort_everything(self, ensure_ready: bool = True) -> None:  # noqa: ARG002
        """Take back what has not begun."""
        for future in tuple(self.futures):
            future.cancel()


@contextmanager
def work_on(executor: Executor, n_workers: int) -> Iterator[None]:
    """Let an executor do what forests and searches of this library do in parallel within a block.

    What needs the memory of this process (the variance of a forest's trees) is done here as before, by threads.

    Parameters
    ----------
    executor
        Must be able to run functions and data that can be pickled.
    n_workers
        How much it does at once. `n_jobs=1` asks for one, wherever it is given: give `n_jobs=n_workers` as well.

    Raises
    ------
    InputError
        If there is no worker.

    Examples
    --------
    >>> from concurrent.futures import ThreadPoolExecutor
    >>> from joblib import Parallel, delayed
    >>> with ThreadPoolExecutor(2) as executor, work_on(executor, 2):
    ...     Parallel(n_jobs=2)(delayed(abs)(x) for x in (-1, -2, -3))
    [1, 2, 3]
    """
    if not n_workers >= 1:
        raise InputError(f"an executor needs one worker at least, got {n_workers}")
    with parallel_config(backend=_OnExecutor(executor, n_workers), n_jobs=n_workers):
        yield
