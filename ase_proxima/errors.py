"""Errors that the library raises on purpose, and its warnings.

A command turns an `InputError` into one line and exit code 2, any other `ProximaError` into one line
and exit code 1.
"""

from __future__ import annotations

__all__ = [
    "InputError",
    "NotWorthwhileWarning",
    "ProximaError",
    "ProximaWarning",
    "RunDirectoryError",
    "TargetError",
]


class ProximaError(Exception):
    """Base class of every error that the library raises on purpose."""


class InputError(ProximaError, ValueError):
    """The user asked for something that cannot be done: what was wrong, what arrived, what to do."""


class RunDirectoryError(InputError):
    """A run directory is missing, already in use, damaged, or was made with other settings."""


class TargetError(ProximaError, RuntimeError):
    """The target failed on a structure, after retries; the message names the saved structure."""


class ProximaWarning(UserWarning):
    """Something that a user should know: no error bound covers what was asked for, a target that sees no positions."""


class NotWorthwhileWarning(ProximaWarning):
    """The target takes less time than the surrogate, or nothing is trusted: wrapping does not pay."""
