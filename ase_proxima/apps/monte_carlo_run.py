"""Monte Carlo runs in run directories: made, resumed, replayed on the structures of another, summarised."""

from __future__ import annotations

import json
import math
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import ase.collections
import ase.io
import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from ase_proxima.apps import monte_carlo
from ase_proxima.apps.monte_carlo import ChainLog, ChainRow, Move
from ase_proxima.apps.run_folder import open_run, read_summary, refuse_other_settings
from ase_proxima.apps.statistics import mean_of_chain, sampled_means
from ase_proxima.apps.structures import fixed_atoms, load_structure
from ase_proxima.calculator import ProximaCalculator
from ase_proxima.errors import InputError, NotWorthwhileWarning, RunDirectoryError
from ase_proxima.runs.store import read_steps, write_json
from ase_proxima.targets import ElectronicState, resolve_state, with_state
from ase_proxima.types import Stats

__all__ = [
    "STRATEGIES",
    "Progress",
    "RunSettings",
    "asked_structures",
    "check_length",
    "check_same",
    "make_arguments",
    "run",
    "save_structure_under_way",
    "summarise",
]

STRATEGIES = ("proxima", "published", "fixed", "baseline")
BASELINE_ENERGIES = 3
PROGRESS_INTERVAL_S = 0.2


@dataclass(frozen=True)
class RunSettings:
    """What a run is made with; a run is resumed with the same.

    Attributes
    ----------
    molecule
        Name in ASE's g2 collection, or a file that ASE reads.
    temperature_K, perturb
        See `Move`.
    seed
        Of the chain and of the audits, which have a stream each.
    target
        See `parse_target`.
    strategy
        One of `STRATEGIES`.
    error_bound
        Mean error of the energy, in eV.
    threshold, retrain_interval
        Of the fixed strategy: in the unit of the Coulomb-matrix distance, and in frames.
    reference
        Run whose structures are gone through in place of a chain of its own; None for none.
    charge, multiplicity
        Of the molecule, beside what its structure and the target say, which must not contradict them; None for
        nothing.
    """

    molecule: str
    temperature_K: float  # noqa: N815  K is the unit
    perturb: float
    seed: int
    target: str
    strategy: str
    error_bound: float
    threshold: float = 0.3
    retrain_interval: int = 50
    reference: str | None = None
    charge: int | None = None
    multiplicity: int | None = None

    def check(self) -> None:
        """Raise an `InputError` for what can be known to be wrong before the run."""
        _ = self.move
        if self.strategy not in STRATEGIES:
            raise InputError(f"unknown strategy {self.strategy!r}: use one of {', '.join(STRATEGIES)}")
        if not 0 < self.error_bound < math.inf:
            raise InputError(f"error_bound must be a positive number, got {self.error_bound}")
        if not self.threshold >= 0:
            raise InputError(f"fixed_threshold must not be negative, got {self.threshold}")
        if not self.retrain_interval >= 1:
            raise InputError(f"a retrain interval must be at least 1, got {self.retrain_interval}")
        if not self.seed >= 0:
            raise InputError(f"the seed must not be negative, got {self.seed}")
        structure = self.structure()
        if self.reference is not None:
            other = read_settings(Path(self.reference)).structure()
            if _species_and_state(other) != _species_and_state(structure):
                raise InputError(
                    f"{self.reference} was made with {other.get_chemical_formula()}, {resolve_state(other)}, not with "
                    f"{structure.get_chemical_formula()}, {resolve_state(structure)}: ask for the same --molecule, "
                    "--charge and --multiplicity"
                )

    def structure(self) -> Atoms:
        """Return the structure at the start, with the charge and the multiplicity asked for in its `info`.

        Raises
        ------
        InputError
            If there is none, or it cannot have them.
        """
        atoms = load_structure(self.molecule)
        if self.charge and self.molecule in ase.collections.g2.names:
            atoms.set_initial_magnetic_moments(None)  # the collection's are those of the neutral molecule
        return with_state(atoms, self.charge, self.multiplicity, said_by="the command line")

    @property
    def move(self) -> Move:
        """How the chain moves."""
        return Move(self.temperature_K, self.perturb, fixed_atoms(self.structure()))

    def chain_rng(self) -> np.random.Generator:
        """Generator of the chain, at its start."""
        return np.random.default_rng([self.seed, 1])


@dataclass(frozen=True)
class Progress:
    """How far a run is."""

    label: str
    step: int
    n_steps: int
    acceptance: float
    stats: Stats


def make_arguments(settings: RunSettings) -> dict[str, Any]:
    """Arguments of `ProximaCalculator` for a strategy."""
    common = {"error_bound": settings.error_bound, "error_metric": "energy", "seed": settings.seed}
    published = {"surrogate": "soap_ridge", "uncertainty": "coulomb", "properties": ("energy",)}
    if settings.strategy == "published":
        return {**common, **published, "controller": "linear", "training": "lazy"}
    if settings.strategy == "fixed":
        controller = f"fixed:{settings.threshold!r}"
        return {**common, **published, "controller": controller, "training": settings.retrain_interval}
    if settings.strategy == "baseline":
        return {**common, "controller": "baseline", "properties": ("energy",)}
    return common


def run(
    settings: RunSettings,
    n_steps: int,
    run_dir: Path,
    *,
    resume: bool = False,
    reject_failures: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> dict[str, Any]:
    """Make or resume a run, and return its summary.

    Parameters
    ----------
    reject_failures
        See `sample`; a run may be resumed with another choice.

    Raises
    ------
    InputError
        If the settings are wrong, the run directory is in use, or the run was made with other settings or has
        more steps already.
    TargetError
        If the target fails on a structure, which is saved, and is not to be rejected; the run can be resumed.
    """
    settings.check()
    with open_run(
        run_dir,
        target=settings.target,
        atoms=settings.structure(),
        arguments=make_arguments(settings),
        simulation={"monte_carlo": asdict(settings), "n_steps": n_steps},
        resume=resume,
        check_same=lambda: check_same(settings, run_dir),
    ) as (calculator, target, state, begin):
        done = ChainLog.read(run_dir) if (run_dir / "chain.csv").exists() else []
        n_calls = calculator.stats.n_calls
        n_answered = len(done) - _n_failed(done)
        if not n_calls - 1 <= n_answered <= n_calls:
            raise RunDirectoryError(
                f"{run_dir / 'chain.csv'} has {n_answered} steps with an energy, but the run has made "
                f"{n_calls} calls: it was cut"
            )
        check_length(done[-1].step if done else 0, n_steps)
        begin()
        finished = _finished_summary(run_dir, done, n_steps)
        if finished is not None:
            return finished
        earlier_s = _logged_time(run_dir) if done else 0.0
        start = time.perf_counter()
        with ChainLog(run_dir) as log, warnings.catch_warnings():
            warnings.simplefilter("ignore", NotWorthwhileWarning)  # the summary's notes say it
            reported = 0.0
            for row in _rows(settings, n_steps, calculator, done, reject_failures):
                log.append(row)
                done.append(row)
                if on_progress and time.perf_counter() - reported > PROGRESS_INTERVAL_S:
                    on_progress(_progress(run_dir.name, done, n_steps, calculator))
                    reported = time.perf_counter()
        wall_s = earlier_s + time.perf_counter() - start
        if on_progress:
            on_progress(_progress(run_dir.name, done, n_steps, calculator))
        baseline_s = _baseline_time(settings, target, calculator.stats)
        summary = {
            **summarise(settings, done, calculator.stats, wall_s, baseline_s),
            **asdict(state),
        }
        write_json(run_dir / "summary.json", summary)
        return summary


def _species_and_state(atoms: Atoms) -> tuple[list[int], ElectronicState]:
    return atoms.numbers.tolist(), resolve_state(atoms)


def check_length(n_done: int, n_steps: int) -> None:
    """Raise an `InputError` where a run to go on with has more steps than are asked for."""
    if n_done > n_steps:
        raise InputError(
            f"the run already has {n_done} steps, more than the {n_steps} asked for: ask for {n_done} or more"
        )


def _finished_summary(run_dir: Path, done: list[ChainRow], n_steps: int) -> dict[str, Any] | None:
    """Summary of a run that has nothing left to do; None for any other, and where its file is damaged."""
    if not done or done[-1].step < n_steps:
        return None
    summary = read_summary(run_dir)
    return summary if summary is not None and summary["n_calls"] == len(done) - _n_failed(done) else None


def _rows(
    settings: RunSettings,
    n_steps: int,
    calculator: ProximaCalculator,
    done: list[ChainRow],
    reject_failures: bool,
) -> Iterator[ChainRow]:
    """New rows of the chain, or of the reference's structures."""
    if settings.reference is None:
        atoms = settings.structure()
        atoms.calc = calculator
        yield from monte_carlo.sample(
            atoms,
            settings.move,
            n_steps,
            settings.chain_rng(),
            done=list(done),
            reject_failures=reject_failures,
        )
        return
    masses = settings.structure().get_masses()
    for row, atoms, positions in asked_structures(Path(settings.reference)):
        if row.step > n_steps:
            return
        if row.step < len(done):
            continue
        atoms.calc = calculator
        energy = monte_carlo.energy_or_infinity(atoms.get_potential_energy, reject_failures=reject_failures)
        gyration = monte_carlo.radius_of_gyration(positions, masses)
        before = done[-1].energy if done else energy
        moved = row.accepted and math.isfinite(energy)
        yield ChainRow(row.step, energy, row.accepted, energy if moved else before, gyration)


def asked_structures(run_dir: Path) -> Iterator[tuple[ChainRow, Atoms, monte_carlo.Positions]]:
    """Structures whose energies a run asked for, made again from its seed and its decisions.

    Yields
    ------
    row : ChainRow
    atoms : Atoms
        The structure asked for.
    positions : array, shape (n_atoms, 3)
        Where the chain stood after the step, in Å.

    Raises
    ------
    RunDirectoryError
        If the folder is no Monte Carlo run, or its structures cannot be made again.
    """
    settings = read_settings(run_dir)
    if settings.reference is not None:
        yield from asked_structures(Path(settings.reference))
        return
    rows = ChainLog.read(run_dir)
    start = settings.structure()
    replayed = monte_carlo.replay(start.positions, settings.move, settings.chain_rng(), rows)
    for row, (asked, state) in zip(rows, replayed, strict=True):
        atoms = start.copy()
        atoms.positions = asked
        yield row, atoms, state.positions


def save_structure_under_way(run_dir: Path) -> Path:
    """Write the structure whose energy a run was about to ask for when its process died, and return the file.

    It is made again from the seed and the rows of the chain, so that nothing has to be written before each call.

    Raises
    ------
    RunDirectoryError
        If the folder is no Monte Carlo run of a chain of its own.
    """
    settings = read_settings(run_dir)
    if settings.reference is not None:
        raise RunDirectoryError(f"{run_dir} follows {settings.reference}: the structures are there")
    rows = ChainLog.read(run_dir) if (run_dir / "chain.csv").exists() else []
    atoms, rng = settings.structure(), settings.chain_rng()
    if rows:
        *_, (_, state) = monte_carlo.replay(atoms.positions, settings.move, rng, rows)
        atoms.positions, _ = monte_carlo.propose(state, rng, settings.move)
    place = run_dir / "failed" / f"call-{len(rows):06d}.xyz"
    place.parent.mkdir(exist_ok=True)
    ase.io.write(place, atoms, format="extxyz")
    return place


def read_settings(run_dir: Path) -> RunSettings:
    """Settings of a run.

    Raises
    ------
    RunDirectoryError
        If the folder is no Monte Carlo run.
    """
    try:
        saved = json.loads((run_dir / "simulation.json").read_text())
        settings = None if "exact" in saved else RunSettings(**saved["monte_carlo"])
    except FileNotFoundError as error:
        raise RunDirectoryError(f"{run_dir} is no Monte Carlo run: it has no simulation.json") from error
    except (ValueError, KeyError, TypeError) as error:
        raise RunDirectoryError(f"{run_dir / 'simulation.json'} is damaged: {error}") from error
    if settings is None:  # outside of the try: a RunDirectoryError is a ValueError too
        raise RunDirectoryError(
            f"{run_dir} was made with --exact: only {run_dir / 'burn-in'} is a chain to follow"
        )
    return settings


def check_same(settings: RunSettings, run_dir: Path) -> None:
    """Raise a `RunDirectoryError` that names the first setting in which a run differs."""
    refuse_other_settings(asdict(read_settings(run_dir)), asdict(settings), run_dir)


def _progress(label: str, rows: list[ChainRow], n_steps: int, calculator: ProximaCalculator) -> Progress:
    return Progress(label, rows[-1].step, n_steps, _acceptance(rows), calculator.stats)


def _n_failed(rows: list[ChainRow]) -> int:
    """Moves whose energy the target could not give."""
    return sum(math.isinf(row.proposed_energy) for row in rows)


def _acceptance(rows: list[ChainRow]) -> float:
    return sum(row.accepted for row in rows[1:]) / max(len(rows) - 1, 1)


def _logged_time(run_dir: Path) -> float:
    """Time of the calls of earlier processes, in s."""
    return sum(
        float(value) for row in read_steps(run_dir) for name, value in row.items() if name.startswith("time_")
    )


def _baseline_time(settings: RunSettings, target: BaseCalculator, stats: Stats) -> float:
    """What one energy of the target costs, in s: from the run if it asked for no more, else measured now."""
    if settings.strategy != "proxima" and stats.n_target_runs:
        return stats.time_target / stats.n_target_runs
    times = []
    atoms = settings.structure()
    target.get_property("energy", atoms.copy())  # the first one also starts the program
    for _ in range(BASELINE_ENERGIES):
        atoms.positions[0, 0] += 1e-3
        start = time.perf_counter()
        target.get_property("energy", atoms.copy())
        times.append(time.perf_counter() - start)
    return median(times)


def summarise(
    settings: RunSettings, rows: list[ChainRow], stats: Stats, wall_s: float, baseline_s: float
) -> dict[str, Any]:
    """Numbers of a finished run, as in summary.json; energies in eV, lengths in Å, times in s.

    Parameters
    ----------
    wall_s
        Time of the whole chain.
    baseline_s
        Time of one energy of the target, which the baseline would have spent on every call.
    """
    gyration = mean_of_chain([row.radius_of_gyration for row in rows])
    energy = mean_of_chain([row.energy for row in rows])
    return {
        **asdict(settings),
        **asdict(stats),
        "fixed_threshold": settings.threshold,
        "n_failed": _n_failed(rows),
        "acceptance": _acceptance(rows),
        **sampled_means(energy, gyration),
        "wall_s": wall_s,
        "baseline_energy_s": baseline_s,
        "speedup": baseline_s * stats.n_calls / wall_s,
    }
