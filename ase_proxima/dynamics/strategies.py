"""How a run of dynamics uses a surrogate: the calculator of a strategy."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ase.calculators.calculator import BaseCalculator

from ase_proxima.calculator import ProximaCalculator
from ase_proxima.errors import InputError, NotWorthwhileWarning
from ase_proxima.executor.options import check_surrogate_name

__all__ = ["STRATEGIES", "bounded", "check_strategy", "closing", "strategy_parts"]

STRATEGIES = ("proxima", "fixed", "committee", "baseline")


def check_strategy(
    strategy: str, threshold: float | None, models: str | None, *, surrogate: str = "auto"
) -> None:
    """Raise an `InputError` where a strategy is unknown, or lacks what it needs.

    Examples
    --------
    >>> check_strategy("fixed", threshold=0.1, models=None)
    """
    if strategy not in STRATEGIES:
        raise InputError(f"unknown strategy {strategy!r}: use one of {', '.join(STRATEGIES)}")
    if (strategy == "fixed") != (threshold is not None):
        raise InputError("a threshold goes with the strategy fixed, and the strategy fixed needs one")
    if strategy == "committee" and models is None:
        raise InputError("the strategy committee needs the folder of its models: give --models")
    if models is not None and strategy not in ("committee", "fixed"):
        raise InputError(f"models go with the strategies committee and fixed, got {strategy!r}")
    check_surrogate_name(surrogate)
    if surrogate != "auto" and (strategy == "baseline" or models is not None):
        raise InputError(
            f"a surrogate by name goes with the strategies proxima and fixed without models, got {surrogate!r} with "
            f"{strategy!r}: leave one of them out"
        )


def strategy_parts(
    strategy: str,
    *,
    threshold: float | None = None,
    models: str | None = None,
    prior: str | None = None,
    surrogate: str = "auto",
) -> dict[str, Any]:
    """Arguments of `ProximaCalculator` that make up a strategy.

    Parameters
    ----------
    strategy
        "proxima" learns while it runs; "fixed" trusts below `threshold`; "committee" answers with trained models;
        "baseline" asks the target alone.
    threshold
        In the unit of the uncertainty.
    models
        Folder of trained models.
    prior, surrogate
        See `ProximaCalculator`.

    Examples
    --------
    >>> strategy_parts("fixed", threshold=0.1)
    {'controller': 'fixed:0.1'}
    """
    parts: dict[str, Any] = {} if prior is None else {"prior": prior}
    if surrogate != "auto":
        parts["surrogate"] = surrogate
    if models is not None:
        from ase_proxima.surrogates.deepmd import load_committee

        parts.update(surrogate=load_committee(Path(models)), training="never")
    if strategy == "fixed":
        parts["controller"] = f"fixed:{threshold}"
    elif strategy == "baseline":
        parts["controller"] = "baseline"
    return parts


@contextmanager
def closing(target: BaseCalculator) -> Iterator[BaseCalculator]:
    """Close a target in the end, where it can be."""
    try:
        yield target
    finally:
        if hasattr(target, "close"):
            target.close()


@contextmanager
def bounded(
    target: BaseCalculator, run_dir: Path | None, *, resume: bool = False, **arguments: Any
) -> Iterator[ProximaCalculator]:
    """Wrap a target, and close both in the end; that it is not worthwhile is said by the notes, not by a warning.

    Parameters
    ----------
    target
    run_dir
        None keeps nothing on disk.
    resume
        Whether to go on with what is in the run directory.
    **arguments
        Of `ProximaCalculator`.
    """
    with closing(target):
        if resume:
            assert run_dir is not None  # noqa: S101  there is nothing to resume in memory
            calculator = ProximaCalculator.resume(run_dir, target, **arguments)
        else:
            calculator = ProximaCalculator(target, run_dir=run_dir, **arguments)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NotWorthwhileWarning)
                yield calculator
        finally:
            calculator.close()
