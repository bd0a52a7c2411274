"""Where a command's work is done: the one door of `--executor` for all of them."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

__all__ = ["Place", "executor_option", "fan_out", "open_place", "worker_died"]

CONNECT_S = 10
"""Seconds to wait for a scheduler that is named."""


class _Address(click.ParamType):
    """`processes`, `threads`, or `dask://HOST:PORT`.

    Examples
    --------
    >>> _Address().convert("dask://node1:8786", None, None)
    'dask://node1:8786'
    """

    name = "processes, threads or dask://HOST:PORT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check the address."""
        host, _, port = str(value).removeprefix("dask://").rpartition(":")
        if value in ("processes", "threads") or (value.startswith("dask://") and host and port.isdigit()):
            return str(value)
        return self.fail(f"{value!r} is none of processes, threads and dask://HOST:PORT", param, ctx)


def executor_option(default: str | None) -> Callable[..., Any]:
    """`--executor`, with the default that it has at a command; None for what each step does by itself."""
    return click.option(
        "--executor",
        "where",
        type=_Address(),
        metavar="WHERE",
        default=default,
        show_default=default is not None,
        help="Who does what --jobs fans out: processes, threads, or dask://HOST:PORT.",
    )


@dataclass(frozen=True)
class Place:
    """An executor, and how much it does at once.

    Attributes
    ----------
    executor
    n_workers
    shared
        Whether its workers may be on other hosts, where a relative path is another one.
    """

    executor: Executor
    n_workers: int
    shared: bool = False

    def check_files(self, files: Mapping[str, str | Path | None]) -> None:
        """Raise a `UsageError` for a file, by its option, that workers elsewhere would look for in their own folder."""
        for option, file in files.items():
            if self.shared and file is not None and Path(file).exists() and not Path(file).is_absolute():
                raise click.UsageError(
                    f"{option} {file}: workers elsewhere need the whole path, {Path(file).absolute()}"
                )


@contextmanager
def open_place(where: str, jobs: int) -> Iterator[Place]:
    """Open an executor, and close it in the end.

    Parameters
    ----------
    where
        As `--executor` has it.
    jobs
        Workers of processes or threads; a cluster has as many as it has.

    Raises
    ------
    click.UsageError
        If Dask is not installed, its scheduler does not answer, or it has no worker.
    """
    if where.startswith("dask://"):
        with _dask(where) as place:
            yield place
        return
    pool: Executor
    if where == "threads":
        pool = ThreadPoolExecutor(jobs)
    else:
        pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"))
    try:
        yield Place(pool, jobs)
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def fan_out(where: str | None, jobs: int) -> Iterator[int]:
    """Let joblib's work within a block go to an executor, and yield the `n_jobs` to ask for.

    Parameters
    ----------
    where
        As `--executor` has it; None leaves the choice to each step: threads for forests, processes for networks.
    jobs
        As joblib counts them.
    """
    if where is None:
        yield jobs
        return
    from joblib import effective_n_jobs

    from gpu_xarch.parallel import work_on

    with open_place(where, effective_n_jobs(jobs)) as place, work_on(place.executor, place.n_workers):
        yield place.n_workers


@contextmanager
def _dask(where: str) -> Iterator[Place]:
    try:
        from distributed import Client
    except ImportError as error:
        raise click.UsageError("--executor dask:// needs Dask: pip install 'ase-proxima[dask]'") from error
    try:
        client = Client(where.replace("dask://", "tcp://"), timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise click.UsageError(
            f"no Dask scheduler answers at {where}: start one there with `dask scheduler`, or correct the address"
        ) from error
    with client:
        n_workers = sum(client.nthreads().values())
        if not n_workers:
            raise click.UsageError(
                f"the Dask scheduler at {where} has no workers: start some with `dask worker`"
            )
        yield Place(client.get_executor(pure=False), n_workers, shared=True)


def worker_died(error: BaseException) -> bool:
    """Whether an executor says that the worker of a task was lost, and gave it up."""
    dask = sys.modules.get("distributed")
    return isinstance(error, BrokenProcessPool) or (
        dask is not None and isinstance(error, (dask.KilledWorker, dask.CancelledError))
    )
