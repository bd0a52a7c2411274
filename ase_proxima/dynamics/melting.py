"""Melting points: a half-melted cell run at several temperatures until it is all solid or all liquid."""

from __future__ import annotations

import json
import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.trajectory import Trajectory

from ase_proxima.calculator import ProximaCalculator
from ase_proxima.dynamics import coexistence
from ase_proxima.dynamics.melting_fit import Outcome, fit_melting, next_temperatures, share_interval
from ase_proxima.dynamics.melting_preparation import (
    MELTS_AT,
    N_STARTS,
    MeltingSettings,
    Preparation,
    Progress,
    calculator_of,
    prepare,
)
from ase_proxima.errors import InputError, RunDirectoryError
from ase_proxima.runs.files import write_json
from ase_proxima.runs.folder import refuse_other_settings

__all__ = [
    "MeltingSettings",
    "Preparation",
    "Progress",
    "melt",
    "outcome_of",
    "prepare",
    "read_runs",
    "summarise",
]

STEP_K = 5.0
"""Temperatures are multiples of it, so that runs share them."""


def _run(
    settings: MeltingSettings, preparation: Preparation, starts: Path, folder: Path, index: int, T: float
) -> dict[str, Any]:
    """Run number `index` of a study, at the temperature `T`: followed to its end and written down."""
    folder.mkdir(parents=True, exist_ok=True)
    begun = time.process_time()
    atoms: Atoms = ase.io.read(starts, index % N_STARTS)
    reference = preparation.solid_at(MELTS_AT * preparation.superheat_K).volume
    atoms.set_cell(atoms.cell * (preparation.solid_at(T).volume / reference) ** (1 / 3), scale_atoms=True)
    rng = np.random.default_rng([settings.seed, 2, index])
    calls = folder / "calls"
    with (
        calculator_of(settings, calls, settings.seed + index) as calculator,
        Trajectory(folder / "snapshots.traj", "w") as trajectory,
    ):
        atoms.calc = calculator
        checks = []
        for check in coexistence.follow(atoms, T, preparation.balance_K, settings.most_steps, rng):
            checks.append(check)
            snapshot = atoms.copy()
            results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
            snapshot.calc = SinglePointCalculator(snapshot, **results)
            trajectory.write(snapshot)
        row = {
            "run": index,
            "temperature_K": T,
            "start": index % N_STARTS,
            **asdict(checks[-1]),
            "cpu_s": time.process_time() - begun,
            "liquid_fractions": [check.liquid_fraction for check in checks],
        }
        if isinstance(calculator, ProximaCalculator):
            stats = calculator.stats
            row |= {
                "n_calls": stats.n_calls,
                "n_target_runs": stats.n_target_runs,
                "share_trusted": stats.share_trusted,
                "error_estimate": stats.error_estimate,
            }
    write_json(folder / "run.json", row)
    return row


def outcome_of(run: Mapping[str, Any]) -> Outcome:
    """How a run ended, for the fit."""
    share = {"solid": 0.0, "liquid": 1.0}.get(run["state"], run["liquid_fraction"])
    return Outcome(run["temperature_K"], share)


def read_runs(folder: Path) -> list[dict[str, Any]]:
    """Runs of a study that have ended, in order."""
    return [json.loads(path.read_text()) for path in sorted((folder / "runs").glob("*/run.json"))]


def melt(
    settings: MeltingSettings,
    n_runs: int,
    folder: Path,
    *,
    starts: Path | None = None,
    resume: bool = False,
    jobs: int = 1,
    executor: Executor | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> dict[str, Any]:
    """Find a melting point, and write everything into `folder`.

    Parameters
    ----------
    n_runs
        Number of runs in all; at each temperature where the temperatures are given.
    starts
        Folder of another study of the same cell, whose preparation is taken.
    resume
        Whether to go on with what is in the folder; a run that was cut begins again.
    jobs
        Runs side by side.
    executor
        Makes them, on hosts that share the folder; by default a process each of this host.

    Returns
    -------
    dict
        See `summarise`.

    Raises
    ------
    InputError
        If a setting is wrong, or the folder holds another study.
    """
    settings.check()
    if not n_runs >= 1 or not jobs >= 1:
        raise InputError(f"runs and jobs must be at least 1, got {n_runs} and {jobs}")
    _open(settings, folder, resume=resume)
    source = folder if starts is None else starts
    if starts is not None or (folder / "preparation.json").exists():
        preparation = Preparation.read(source)
    else:
        preparation = prepare(settings, folder, on_progress)
    n_here = len(settings.crystal(cells=2))
    if preparation.n_atoms != n_here:
        raise InputError(
            f"{source} was prepared with {preparation.n_atoms} atoms, this study has {n_here}: give the same --size"
        )
    done = read_runs(folder)
    total = n_runs * len(settings.temperatures_K or (0,))
    with _runner(executor, jobs) as run_all:
        while len(done) < total:
            batch = _next(settings, preparation, done, min(jobs, total - len(done)), n_runs)
            if on_progress:
                names = ", ".join(f"{T:.0f} K" for _, T in batch)
                on_progress(Progress(f"running at {names}", len(done), total))
            folders = [folder / "runs" / f"{index:03d}-{T:.0f}K" for index, T in batch]
            one = partial(_run, settings, preparation, source / "starts.traj")
            done += run_all(one, folders, *zip(*batch, strict=True))
            write_json(folder / "summary.json", summarise(settings, preparation, done))
    if on_progress:
        on_progress(Progress("done", len(done), total))
    return summarise(settings, preparation, done)


@contextmanager
def _runner(executor: Executor | None, jobs: int) -> Iterator[Callable[..., Iterator[dict[str, Any]]]]:
    """What does the work of `map`: an executor, processes of its own, or `map` itself."""
    if executor is not None:
        yield executor.map
    elif jobs == 1:
        yield map
    else:
        with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
            yield pool.map


def _next(
    settings: MeltingSettings,
    preparation: Preparation,
    done: Sequence[Mapping[str, Any]],
    n: int,
    n_each: int,
) -> list[tuple[int, float]]:
    """Numbers and temperatures of the next `n` runs."""
    first = len(done)
    if settings.temperatures_K is not None:
        listed = [T for T in settings.temperatures_K for _ in range(n_each)]
        return list(enumerate(listed))[first : first + n]
    outcomes = [outcome_of(run) for run in done]
    chosen = next_temperatures(outcomes, *preparation.range_K, preparation.heat, step_K=STEP_K, n=n)
    return list(enumerate(chosen, first))


def _open(settings: MeltingSettings, folder: Path, *, resume: bool) -> None:
    """Make the folder of a study, or check that the one that is there is of the same."""
    path = folder / "study.json"
    now = json.loads(json.dumps(asdict(settings)))
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        if not resume:
            raise InputError(f"{folder} exists already: add --resume, or choose another --out")
        try:
            saved = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise RunDirectoryError(f"{folder} is no melting study: {error}") from error
        refuse_other_settings(saved, now, folder)
        return
    if resume:
        raise InputError(f"--resume finds no study in {folder}: name its folder, or leave --resume out")
    folder.mkdir(parents=True, exist_ok=True)
    write_json(path, now)


def summarise(
    settings: MeltingSettings, preparation: Preparation, runs: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Numbers of a study.

    Returns
    -------
    dict
        JSON values: `melting_temperature_K`, its standard deviation `std_K` and `interval_K` (95 %) with the heat of
        fusion as prior of the slope, `flat` the same without it, `slope` (eV) and `width_K` (10 to 90 % liquid) as
        fitted, `temperatures` a row each, and where the calls went.
    """
    outcomes = [outcome_of(run) for run in runs]
    fit = fit_melting(outcomes, *preparation.range_K, preparation.heat)
    flat = fit_melting(outcomes, *preparation.range_K)
    rows = []
    for T in sorted({outcome.temperature_K for outcome in outcomes}):
        here = [outcome.liquid for outcome in outcomes if outcome.temperature_K == T]
        low, high = share_interval(len(here), sum(here))
        rows.append(
            {
                "temperature_K": T,
                "n_runs": len(here),
                "n_liquid": sum(here),
                "liquid_share": sum(here) / len(here),
                "interval": (low, high),
                "steps": float(np.mean([run["step"] for run in runs if run["temperature_K"] == T])),
            }
        )
    bounded = [run for run in runs if "n_calls" in run]
    n_calls = sum(run["n_calls"] for run in bounded)
    return {
        "structure": settings.structure,
        "element": settings.element,
        "n_atoms": preparation.n_atoms,
        "target": settings.target,
        "strategy": settings.strategy,
        "melting_temperature_K": fit.temperature_K,
        "std_K": fit.std_K,
        "interval_K": fit.interval_K,
        "heat_of_fusion": preparation.heat,
        "slope": fit.heat,
        "width_K": fit.width_K,
        "flat": asdict(flat),
        "temperatures": rows,
        "n_runs": len(runs),
        "n_undecided": sum(run["state"] == "undecided" for run in runs),
        "n_calls": n_calls or None,
        "n_target_runs": sum(run["n_target_runs"] for run in bounded) if bounded else None,
        "share_trusted": (
            sum(run["share_trusted"] * run["n_calls"] for run in bounded) / n_calls if n_calls else None
        ),
        "superheat_K": preparation.superheat_K,
        "cpu_s": sum(run["cpu_s"] for run in runs),
        "preparation_cpu_s": preparation.cpu_s,
    }
