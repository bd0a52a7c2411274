"""Linear algebra on one thread: on matrices of these sizes more threads cost more than they bring, and other digits."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from typing import ParamSpec, TypeVar

from threadpoolctl import ThreadpoolController

__all__ = ["one_thread"]

P = ParamSpec("P")
R = TypeVar("R")


@cache
def _libraries() -> ThreadpoolController:
    """The libraries that are loaded by the time of the first call."""
    return ThreadpoolController()


def one_thread(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function use one thread of the linear algebra, whatever the environment says.

    On two busy cores the first hundred calls with 32 atoms of copper took 34 s of the processor with the default of a
    thread a core, and 5 s so.

    Examples
    --------
    >>> import numpy as np
    >>> float(one_thread(np.trace)(np.eye(3)))
    3.0
    """

    @wraps(function)
    def limited(*args: P.args, **kwargs: P.kwargs) -> R:
        with _libraries().limit(limits=1, user_api="blas"):
            return function(*args, **kwargs)

    return limited
