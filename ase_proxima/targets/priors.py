"""Which calculators may be the prior of a target: any other that computes the same electronic state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from ase_proxima.errors import InputError
from ase_proxima.targets.electrons import ElectronicState, target_state
from ase_proxima.targets.parse import parse_target
from ase_proxima.targets.spelling import split_options
from ase_proxima.types.identity import calculator_identity

__all__ = ["check_prior", "refuse_equal", "refuse_same"]


def refuse_equal(target: BaseCalculator, prior: BaseCalculator) -> None:
    """Refuse a prior that is the target, or another object of its class with the same parameters and settings.

    Of a wrapper, what it `stands_for` is compared. Only what both of them hold is, so that one which has computed
    something already equals a new one; what cannot be compared, such as two functions, counts as different. An
    old-style calculator may keep its settings where Python does not see them: only the object itself is the same. Of
    one in another process, name and parameters are known alone.

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
    elif hasattr(ours, "implemented_properties") and type(ours) is type(theirs):
        same = _alike(_settings(ours), _settings(theirs))
    else:
        same = ours is theirs
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


def refuse_same(target: str, prior: str) -> None:
    """Refuse a prior that is the target itself, which would leave nothing to learn and cost as much.

    Spelling, time limits, charge and multiplicity make no difference.

    Raises
    ------
    InputError
        If the two names stand for the same calculator.

    Examples
    --------
    >>> refuse_same("xtb:GFN2", "xtb:GFN1")
    >>> refuse_same("xtb:GFN2", "xtb:gfn2-xtb")
    Traceback (most recent call last):
        ...
    ase_proxima.errors.InputError: the prior 'xtb:gfn2-xtb' is the target 'xtb:GFN2': choose a cheaper one, or ...
    """
    if _essence(target) == _essence(prior):
        raise InputError(
            f"the prior {prior!r} is the target {target!r}: choose a cheaper one, or leave the prior out"
        )


def _essence(spec: str) -> tuple[str, str, dict[str, Any]]:
    """What tells one calculator from another in its name."""
    head, _, tail = spec.strip().partition(":")
    first, options = split_options(spec, tail)
    name, first = head.lower(), first.lower()
    if name == "xtb":
        first = first.removesuffix("-xtb") or "gfn2"
    how = ("local", "timeout", "timeout_s", "charge", "multiplicity", "mult")
    return name, first, {option: value for option, value in options.items() if option not in how}


def check_prior(prior: str, atoms: Atoms, state: ElectronicState) -> None:
    """Raise an `InputError` where a prior cannot be used, or computes another charge or multiplicity than `state`.

    Parameters
    ----------
    prior
        See `parse_target`.
    atoms
        The structure that is to be computed.
    state
        That in which the target computes it.
    """
    calculator = parse_target(prior, atoms=atoms)
    try:
        own = target_state(calculator, atoms)
    finally:
        if hasattr(calculator, "close"):
            calculator.close()
    if own != state:
        raise InputError(
            f"the prior {prior!r} would compute {atoms.get_chemical_formula()} with {own}, the target with {state}: "
            "give charge and multiplicity with the structure or on the command line, which both of them read"
        )
