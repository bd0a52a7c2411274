"""Monte Carlo runs in run directories: made, resumed, replayed on the structures of another, summarised."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from ase.calculators.calculator import BaseCalculator

from ase_proxima.apps import monte_carlo
from ase_proxima.apps.monte_carlo import ChainLog, ChainRow
from ase_proxima.apps.run_folder import open_run, read_summary
from ase_proxima.apps.run_settings import RunSettings, asked_structures, check_same, make_arguments
from ase_proxima.apps.statistics import mean_of_chain, sampled_means
from ase_proxima.calculator import ProximaCalculator
from ase_proxima.errors import InputError, NotWorthwhileWarning, RunDirectoryError
from ase_proxima.runs.append_log import read_steps
from ase_proxima.runs.files import write_json
from ase_proxima.runs.sealed import not_as_written
from ase_proxima.types import Frame, Stats
from ase_proxima.types.identity import fingerprint

__all__ = ["Progress", "RunSettings", "check_length", "run", "summarise"]

BASELINE_ENERGIES = 3
PROGRESS_INTERVAL_S = 0.2


@dataclass(frozen=True)
class Progress:
    """How far a run is."""

    label: str
    step: int
    n_steps: int
    acceptance: float
    stats: Stats


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
        share=settings.shared_in(run_dir),
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
        if done and settings.reference is None:
            _check_chain(settings, run_dir, done, calculator.frames)
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


def _check_chain(settings: RunSettings, run_dir: Path, done: list[ChainRow], frames: Sequence[Frame]) -> None:
    """Raise a `RunDirectoryError` where chain.csv is not what this run wrote.

    Every row follows from the seed, the rows before and its own energy; a change of any is seen there, or in the latest
    structure, whose fingerprint the calls have kept; the energies that the target gave are in its frames.
    """
    problem = monte_carlo.inconsistency(
        settings.structure().positions, settings.move, settings.chain_rng(), done
    )
    answered = [row for row in done if math.isfinite(row.proposed_energy)]
    structures = [row["structure"] for row in read_steps(run_dir)]
    if problem is None and answered:
        asked = settings.structure()
        *_, (positions, _) = monte_carlo.replay(
            asked.positions, settings.move, settings.chain_rng(), done[: answered[-1].step + 1]
        )
        asked.positions = positions
        if structures[len(answered) - 1] != fingerprint(asked):
            problem = "its structures are not those that the calls of the run were asked for"
    energies = {frame.step: frame.results["energy"] for frame in frames}
    for call, row in enumerate(answered):
        if problem is None and energies.get(call, row.proposed_energy) != row.proposed_energy:
            problem = f"the energy of step {row.step} is not that which the target gave"
    if problem is not None:
        raise not_as_written(run_dir / "chain.csv", problem)


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
