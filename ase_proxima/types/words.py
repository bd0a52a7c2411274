"""Grammar of the names of properties, for messages."""

from __future__ import annotations

__all__ = ["is_plural"]


def is_plural(name: str) -> bool:
    """Whether the name of a property stands for several numbers, as a word.

    Examples
    --------
    >>> [is_plural(name) for name in ("energy", "forces", "stress", "stresses")]
    [False, True, False, True]
    """
    return name.endswith("s") and not name.endswith("ss")
