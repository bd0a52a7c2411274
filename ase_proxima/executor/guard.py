"""One call at a time, of one process, until something broke half-way."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ase_proxima.errors import InputError, RunDirectoryError

__all__ = ["Guard"]


class Guard:
    """Refuses calls that would mix up a run: of a forked child, of a second thread, after an interrupted step.

    Parameters
    ----------
    owner : tuple of int, optional
        Identifiers of the process and the thread that opened the run's files, which alone may go on with them; None for
        a run in memory.

    Examples
    --------
    >>> guard = Guard()
    >>> with guard.call():
    ...     with guard.call():
    ...         pass
    Traceback (most recent call last):
    ...
    ase_proxima.errors.RunDirectoryError: a call came while another of the same thread is running, or was ...
    """

    def __init__(self, owner: tuple[int, int] | None = None) -> None:
        self._owner = owner
        self._lock = threading.Lock()
        self._latest_thread: int | None = None
        self._broken = ""

    @property
    def _remedy(self) -> str:
        if self._owner is None:
            return "make a new one, since this one keeps nothing on disk"
        return "close it and resume, which goes on exactly"

    @contextmanager
    def call(self) -> Iterator[None]:
        """Hold the run for one call.

        Raises
        ------
        InputError
            If another call is running, this is another process or thread, or an earlier call broke off half-way: then
            a `RunDirectoryError`, which names the remedy.
        """
        if self._owner is not None and self._owner[0] != os.getpid():
            raise InputError(
                f"this run belongs to process {self._owner[0]}, and process {os.getpid()} was forked from it: "
                "make a calculator with a run directory of its own there"
            )
        if self._owner is not None and self._owner[1] != threading.get_ident():
            raise InputError(
                "this run belongs to another thread, which opened its files: make all calls from that thread, or "
                "make a calculator with a run directory of its own"
            )
        if not self._lock.acquire(blocking=False):
            if self._latest_thread in (None, threading.get_ident()):
                raise RunDirectoryError(
                    "a call came while another of the same thread is running, or was interrupted just as it began or "
                    f"ended: make none from within the target; after an interrupt, {self._remedy}"
                )
            raise InputError(
                "another call is still running: wait for it, or give each thread a calculator of its own"
            )
        try:
            self._latest_thread = threading.get_ident()
            if self._broken:
                raise RunDirectoryError(self._broken)
            yield
        finally:
            self._lock.release()

    @contextmanager
    def unbroken(self, what: str) -> Iterator[None]:
        """Mark the run as broken where `what` is interrupted: what is in memory may be half done."""
        try:
            yield
        except BaseException as error:
            self._broken = f"the run broke off while {what} ({type(error).__name__}): {self._remedy}"
            raise

    def close(self) -> None:
        """Refuse all calls from now on."""
        self._broken = "this run is closed: go on with it by ProximaCalculator.resume(run_dir, target)"

    def __deepcopy__(self, memo: dict[int, Any]) -> Guard:
        """Guard of a copy, which belongs to whoever makes it."""
        copied = Guard(self._owner)
        copied._broken = self._broken
        return copied
