"""Run directories of the samplers: opened anew or to go on, marked with what they are made with, closed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from ase.calculators.calculator import BaseCalculator

from ase_proxima.calculator import ProximaCalculator
from ase_proxima.errors import InputError, RunDirectoryError
from ase_proxima.runs.store import discard_unstarted, write_json
from ase_proxima.targets import parse_target

__all__ = ["open_run", "refuse_other_settings"]


@contextmanager
def open_run(
    run_dir: Path,
    *,
    target: str,
    arguments: Mapping[str, Any],
    simulation: Mapping[str, Any],
    resume: bool,
    check_same: Callable[[], None],
) -> Iterator[tuple[ProximaCalculator, BaseCalculator, Callable[[], None]]]:
    """Open a run directory, new or to go on with, and close it and its target in the end.

    Parameters
    ----------
    target
        See `parse_target`.
    arguments
        Of `ProximaCalculator`, the target aside.
    simulation
        Contents of simulation.json, which says what the run is made with; "n_steps" among it.
    resume
        Whether to go on with what is there.  What a process left that was killed before the first call is no run:
        it is removed, and a new one begun.
    check_same
        Raises where the run that is there was made with other settings.

    Yields
    ------
    calculator : ProximaCalculator
    target : ase calculator
    begin : callable
        To be called once what is there was checked: it writes simulation.json, which is left as it was where a
        resumed run is refused.

    Raises
    ------
    InputError
        If there are no steps to make, the target is wrong, the folder is in use, or it holds another run.
    """
    if not simulation["n_steps"] >= 1:
        raise InputError(f"the number of steps must be at least 1, got {simulation['n_steps']}")
    going_on = resume and run_dir.exists() and not discard_unstarted(run_dir)
    if going_on:
        check_same()
    exact = parse_target(target)
    try:
        if going_on:
            calculator = ProximaCalculator.resume(run_dir, exact, **arguments)
        else:
            calculator = ProximaCalculator(exact, run_dir=run_dir, **arguments)
        try:
            begin = partial(write_json, run_dir / "simulation.json", simulation)
            if not going_on:
                begin()
            yield calculator, exact, begin
        finally:
            calculator.close()
    finally:
        if hasattr(exact, "close"):
            exact.close()


def refuse_other_settings(saved: Mapping[str, Any], settings: Mapping[str, Any], run_dir: Path) -> None:
    """Raise a `RunDirectoryError` that names the first of the settings that is not as it was saved."""
    for name, value in settings.items():
        if saved[name] != value:
            raise RunDirectoryError(
                f"{run_dir} was made with {name} = {saved[name]!r}, now it is {value!r}: "
                "resume with the same settings, or choose another run directory"
            )
