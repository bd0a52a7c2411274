"""Errors that the library raises on purpose.

A command turns an `InputError` into one line and exit code 2, any other `XarchError` into one line and exit
code 1.
"""

from __future__ import annotations

__all__ = ["CollectError", "InputError", "XarchError"]


class XarchError(Exception):
    """Base class of every error that the library raises on purpose."""


class InputError(XarchError, ValueError):
    """The user asked for something that cannot be done: what was wrong, what arrived, what to do."""


class CollectError(XarchError, RuntimeError):
    """A profiler was started and failed; the message holds its last words."""
