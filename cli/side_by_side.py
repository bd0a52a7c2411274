"""Several runs one after the other or side by side: one that fails, or whose process dies, costs no other one."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import tempfile
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.managers import SyncManager
from pathlib import Path
from typing import Any, TypeVar

from ase_proxima.errors import ProximaError
from proxima_cli.endings import exit_code
from proxima_cli.executors import worker_died

__all__ = ["Failures", "ProcessDiedError", "RunOne", "Summaries", "run_all", "run_all_on"]

Summaries = dict[Path, dict[str, Any]]
Failures = dict[Path, Exception]

RunOne = Callable[[Path, Any, Callable[[Any], None]], dict[str, Any]]
"""Makes a run of its directory and its settings, tells how far it is, and returns its summary."""

T = TypeVar("T")

POLL_S = 0.2
"""How long to wait for news of a run before looking whether all have ended."""


class ProcessDiedError(ProximaError):
    """The process of a run ended without a word."""


class _NotWantedError(ProximaError):
    """Nobody waits for a run any more."""


def run_all(
    tasks: Mapping[Path, Any], run_one: RunOne, *, jobs: int, report: Callable[[Any], None]
) -> tuple[Summaries, Failures]:
    """Make runs, and return the summaries of those that ended and the errors of those that failed.

    Parameters
    ----------
    tasks
        Settings of each run, by its run directory.
    run_one
        Must be picklable where several jobs are asked for.
    jobs
        Runs side by side, a process each.
    report
        Is told what a run reports, in this process.
    """
    if jobs == 1 or len(tasks) == 1:
        return _collect(tasks, lambda run_dir: run_one(run_dir, tasks[run_dir], report))
    context = multiprocessing.get_context("spawn")
    manager = SyncManager(ctx=context)
    # The end of this process, or of this block, closes the one end of the pipe, which ends whoever waits at the other.
    watched, held = context.Pipe(duplex=False)
    manager.start(_end_with, (watched,))
    with ThreadPoolExecutor(jobs) as threads, manager:
        messages: Any = manager.Queue()

        def in_its_own_process(run_dir: Path) -> dict[str, Any]:
            with ProcessPoolExecutor(1, context, initializer=_start, initargs=(watched,)) as process:
                return process.submit(run_one, run_dir, tasks[run_dir], messages.put).result()

        try:
            futures = {run_dir: threads.submit(in_its_own_process, run_dir) for run_dir in tasks}
            while not all(future.done() for future in futures.values()):
                with suppress(queue.Empty):
                    report(messages.get(timeout=POLL_S))
            return _collect(futures, lambda run_dir: _result_of(futures[run_dir]))
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
            held.close()


def run_all_on(
    executor: Executor, tasks: Mapping[Path, Any], run_one: RunOne, *, report: Callable[[Any], None]
) -> tuple[Summaries, Failures]:
    """Do what `run_all` does, on an executor, whose workers share the run directories with this process.

    A run ends early once this process no longer waits for it; what it reports is told when it has ended.

    Parameters
    ----------
    executor, tasks, report
        See `run_all`.
    run_one
        Must be picklable, and go on with what it finds: an executor may hand the run of a worker that died to the next.
    """
    folder = next(iter(tasks)).parent
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".wanted-") as sign:
        futures = {
            run_dir: executor.submit(_while_wanted, run_one, run_dir, settings, Path(sign.name))
            for run_dir, settings in tasks.items()
        }
        try:
            for future in as_completed(futures.values()):
                if not future.cancelled() and future.exception() is None:
                    for progress in future.result()[1]:
                        report(progress)
        finally:
            for future in futures.values():
                future.cancel()
    return _collect(futures, lambda run_dir: _result_of(futures[run_dir])[0])


def _while_wanted(
    run_one: RunOne, run_dir: Path, settings: Any, sign: Path
) -> tuple[dict[str, Any], list[Any]]:
    """Make a run, as long as a file is there, and return its summary and the latest that it reported."""
    latest: list[Any] = []

    def report(progress: Any) -> None:
        if not sign.exists():
            raise _NotWantedError("the command that asked for it has ended: go on with --resume")
        latest[:] = [progress]

    return run_one(run_dir, settings, report), latest


def _collect(
    names: Mapping[Path, Any], result_of: Callable[[Path], dict[str, Any]]
) -> tuple[Summaries, Failures]:
    summaries: Summaries = {}
    failures: Failures = {}
    for run_dir in names:
        try:
            summaries[run_dir] = result_of(run_dir)
        except Exception as error:
            if exit_code(error) is None:  # a bug
                raise
            failures[run_dir] = error
    return summaries, failures


def _result_of(future: Future[T]) -> T:
    try:
        return future.result()
    except Exception as error:
        if not worker_died(error):
            raise
        raise ProcessDiedError(
            "its process ended without a word, killed perhaps, or out of memory: go on with --resume"
        ) from error


def _start(watched: Connection) -> None:
    """Begin a process that makes a run: Ctrl-C is for the one that started it, which then ends this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _end_with(watched)


def _end_with(watched: Connection) -> None:
    """End this process once the other end of a pipe is closed. A run directory can be gone on with from any moment."""

    def wait() -> None:
        watched.poll(None)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
