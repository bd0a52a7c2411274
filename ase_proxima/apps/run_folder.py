"""Run directories of the samplers: opened anew or to go on, marked with what they are made with, closed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from ase_proxima.calculator import ProximaCalculator
from ase_proxima.errors import InputError, RunDirectoryError
from ase_proxima.runs.files import write_json
from ase_proxima.runs.folder import discard_unstarted
from ase_proxima.targets import ElectronicState, check_prior, parse_target, target_state
from ase_proxima.targets.contract import drop_assumed
from ase_proxima.types.identity import fingerprint

__all__ = ["open_run", "read_simulation", "read_summary"]

Taken = TypeVar("Taken")


@contextmanager
def open_run(
    run_dir: Path,
    *,
    target: str,
    atoms: Atoms,
    arguments: Mapping[str, Any],
    simulation: Mapping[str, Any],
    resume: bool,
    check_same: Callable[[], None],
    share: str | Path | None = None,
) -> Iterator[tuple[ProximaCalculator, BaseCalculator, ElectronicState, Callable[[], None]]]:
    """Open a run directory, new or to go on with, and close it and its target in the end.

    Parameters
    ----------
    target
        See `parse_target`.
    atoms
        The structure that is to be computed, for which the target is checked.
    arguments
        Of `ProximaCalculator`, the target aside.
    simulation
        Contents of simulation.json, which says what the run is made with; "n_steps" among it.  The electronic state
        and the structure at the start are added.
    resume
        Whether to go on with what is there.  What a process left that was killed before the first call is no run:
        it is removed, and a new one begun.
    check_same
        Raises where the run that is there was made with other settings.
    share
        See `ProximaCalculator`; a run that is gone on with has it already.

    Yields
    ------
    calculator : ProximaCalculator
    target : ase calculator
    state : ElectronicState
        Charge and multiplicity in which the target computes the structure.
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
    exact = parse_target(target, atoms=atoms)
    try:
        state = target_state(exact, atoms)
        if arguments.get("prior") is not None:
            check_prior(arguments["prior"], atoms, state)
        if going_on:
            _refuse_other_state(state, run_dir)
            _refuse_other_start(atoms, run_dir)
            calculator = ProximaCalculator.resume(run_dir, exact, **arguments)
        else:
            drop_assumed(exact, atoms)
            calculator = ProximaCalculator(exact, run_dir=run_dir, share=share, **arguments)
        try:
            begin = partial(
                write_json,
                run_dir / "simulation.json",
                {**simulation, "electronic_state": asdict(state), "start": _describe(atoms)},
            )
            if not going_on:
                begin()
            yield calculator, exact, state, begin
        finally:
            calculator.close()
    finally:
        if hasattr(exact, "close"):
            exact.close()


def read_simulation(run_dir: Path, take: Callable[[dict[str, Any]], Taken]) -> Taken:
    """What `take` finds in simulation.json, which says what a run is made with.

    Raises
    ------
    RunDirectoryError
        If the folder is no Monte Carlo run, or `take` does not find there what it looks for.
    """
    path = run_dir / "simulation.json"
    try:
        return take(json.loads(path.read_text()))
    except FileNotFoundError as error:
        raise RunDirectoryError(f"{run_dir} is no Monte Carlo run: it has no simulation.json") from error
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise RunDirectoryError(f"{path} is damaged: {error}") from error


def _describe(atoms: Atoms) -> dict[str, Any]:
    """A structure to the last bit, as JSON values; lengths in Å."""
    return {
        "fingerprint": fingerprint(atoms),
        "numbers": atoms.numbers.tolist(),
        "positions": atoms.positions.tolist(),
        "cell": atoms.cell.array.tolist(),
        "pbc": atoms.pbc.tolist(),
    }


def _refuse_other_start(atoms: Atoms, run_dir: Path) -> None:
    """Refuse to go on where the name or file of the structure now means another one than at the start."""
    before = read_simulation(
        run_dir, lambda saved: saved["start"]["fingerprint"] if "start" in saved else None
    )
    if before is not None and before != fingerprint(atoms):
        raise RunDirectoryError(
            f"{run_dir} began with another structure than is given now, it is kept in simulation.json under "
            "start: give that one again, or choose another run directory"
        )


def _refuse_other_state(state: ElectronicState, run_dir: Path) -> None:
    """Refuse to go on with a structure or a target that says another charge or multiplicity than at the start."""
    before = read_simulation(
        run_dir,
        lambda saved: ElectronicState(**saved["electronic_state"]) if "electronic_state" in saved else state,
    )
    if before != state:
        raise RunDirectoryError(
            f"{run_dir} was made with {before}, now it is {state}: resume with the same structure and the same "
            "charge and multiplicity, or choose another run directory"
        )


def read_summary(run_dir: Path) -> dict[str, Any] | None:
    """Contents of summary.json; None where there is none, or it is damaged, so that it is to be worked out again."""
    try:
        summary = json.loads((run_dir / "summary.json").read_text())
    except (FileNotFoundError, ValueError):
        return None
    return summary if isinstance(summary, dict) and "n_calls" in summary else None
