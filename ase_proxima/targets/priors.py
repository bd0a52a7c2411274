"""Which calculators may be the prior of a target: any other that computes the same electronic state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from ase.calculators.calculator import BaseCalculator

from ase_proxima.errors import InputError
from ase_proxima.types.identity import calculator_identity

__all__ = ["refuse_equal"]


def refuse_equal(target: BaseCalculator, prior: BaseCalculator) -> None:
    """Refuse a prior that is the target, or another object of its class with the same parameters and settings.

    Of a wrapper, what it `stands_for` is compared. Only what both of them hold is, so that one which has computed
    something already equals a new one; what cannot be compared, such as two functions, counts as different. Of one in
    another process, name and parameters are known alone.

    Raises
    ------
    InputError
        If nothing would be left to learn.

    Examples
    --------
    >>> from ase.calculators.emt import EMT
    >>> refuse_equal(EMT(), EMT(asap_cutoff=True))
    >>> refuse_equal(EMT(), EMT())
    Traceback (most recent call last):
    ...
    ase_proxima.errors.InputError: the prior is the target itself: choose a cheaper one, or leave the prior out
    """
    ours, theirs = _inside(target), _inside(prior)
    if isinstance(ours, Mapping) or isinstance(theirs, Mapping):
        same = _identity(ours) == _identity(theirs)
    else:
        same = ours is theirs or (type(ours) is type(theirs) and _alike(_settings(ours), _settings(theirs)))
    if same:
        raise InputError("the prior is the target itself: choose a cheaper one, or leave the prior out")


def _inside(calculator: Any) -> Any:
    """The calculator in a wrapper, or where it is in another process, its identity."""
    inner = getattr(calculator, "stands_for", None)
    return calculator if inner is None else _inside(inner)


def _identity(inside: Any) -> Any:
    return inside if isinstance(inside, Mapping) else calculator_identity(inside)


def _alike(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    return all(_equal(ours[name], theirs[name]) for name in ours.keys() & theirs.keys())


def _settings(calculator: BaseCalculator) -> dict[str, Any]:
    """Attributes of a calculator, without its latest structure and results, and its own methods."""
    return {
        name: value
        for name, value in vars(calculator).items()
        if name not in ("atoms", "results") and getattr(value, "__self__", None) is not calculator
    }


def _equal(a: Any, b: Any) -> bool:
    try:
        return bool(np.array_equal(a, b)) if isinstance(a, np.ndarray) else bool(a == b)
    except (ValueError, RuntimeError):  # arrays within something else; tensors of torch
        return False
