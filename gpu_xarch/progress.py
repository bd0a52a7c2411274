"""How far a long computation is, told to whoever asks: a callback gets the steps done and their number."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["OnStep", "part_of", "silent"]

#: called with the steps done, of which a part may be a fraction, and how many there are
OnStep = Callable[[float, float], None]


def silent(done: float, total: float) -> None:
    """Tell nobody."""


def part_of(on_step: OnStep, start: float, size: float, total: float) -> OnStep:
    """Return a callback for a part of the work: all of its steps together are `size` steps of the whole.

    Parameters
    ----------
    on_step : callable
        Of the whole.
    start, size, total : float
        Where the part begins, how much of the whole it is, and the steps of the whole.

    Examples
    --------
    >>> half = part_of(lambda done, total: print(f"{done:g} of {total:g}"), start=5, size=5, total=10)
    >>> half(1, 2)
    7.5 of 10
    """

    def told(done: float, of: float) -> None:
        on_step(start + size * done / of if of else start + size, total)

    return told
