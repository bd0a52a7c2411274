"""Exact sampling in run directories: a burn-in that trains the surrogate, trials, and the chain that counts."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from ase_proxima.apps import delayed_acceptance as exact
from ase_proxima.apps import monte_carlo_run
from ase_proxima.apps.delayed_acceptance import ExactState, OuterLog, OuterRow
from ase_proxima.apps.delayed_acceptance_summary import acceptance_of, equilibrated, summarise
from ase_proxima.apps.monte_carlo import ChainLog, ChainRow, Positions, energy_or_infinity
from ase_proxima.apps.monte_carlo_run import Progress, check_length
from ase_proxima.apps.run_folder import open_run, read_simulation, read_summary
from ase_proxima.apps.run_settings import ASKED, BURN_IN, RunSettings, asked_structures, make_arguments
from ase_proxima.apps.statistics import autocorrelation_time
from ase_proxima.calculator import ProximaCalculator
from ase_proxima.errors import InputError, RunDirectoryError
from ase_proxima.protocols import Surrogate
from ase_proxima.runs.append_log import read_steps
from ase_proxima.runs.files import write_json
from ase_proxima.runs.folder import refuse_other_settings
from ase_proxima.runs.sealed import not_as_written
from ase_proxima.types import Stats
from ase_proxima.types.identity import fingerprint

__all__ = ["DEFAULT_BURN_IN", "MOST_INNER_STEPS", "ExactSettings", "run"]

DEFAULT_BURN_IN = 2000
"""Steps of the ordinary chain, enough for a small molecule's surrogate and for its autocorrelation time."""

MOST_INNER_STEPS = 1000
"""Largest number of the surrogate's steps that is chosen automatically."""


@dataclass(frozen=True)
class ExactSettings:
    """What an exact run is made with; it is resumed with the same.

    Attributes
    ----------
    chain
        Settings of the burn-in, with temperature, perturbation, target and seed of the whole run.
    burn_in
        Steps of the ordinary chain that trains the surrogate.
    inner_steps
        Steps of the surrogate between two calls of the target; None chooses, see `next_inner_steps`.
    """

    chain: RunSettings
    burn_in: int = DEFAULT_BURN_IN
    inner_steps: int | None = None

    def check(self) -> None:
        """Raise an `InputError` for what can be known to be wrong before the run."""
        if self.chain.strategy != "proxima" or self.chain.reference is not None:
            raise InputError(
                f"exact sampling trains its surrogate with the strategy proxima on a chain of its own, got strategy "
                f"{self.chain.strategy!r} and reference {self.chain.reference!r}: leave both out"
            )
        if self.chain.share is not None:
            raise InputError(
                "exact sampling rests on a surrogate that is trained no more, got a share: leave it out"
            )
        self.chain.check()
        if not self.burn_in >= 1:
            raise InputError(f"the burn-in must have at least 1 step, got {self.burn_in}")
        if self.inner_steps is not None and not self.inner_steps >= 1:
            raise InputError(f"the number of inner steps must be at least 1, got {self.inner_steps}")

    def describe(self) -> dict[str, Any]:
        """JSON values that say what the run is made with."""
        return {**asdict(self.chain), "burn_in": self.burn_in, "inner_steps": self.inner_steps}

    def rng(self) -> np.random.Generator:
        """Generator of trials and chain, at their start; that of the burn-in is another."""
        return np.random.default_rng([self.chain.seed, 2])


def run(
    settings: ExactSettings,
    n_steps: int,
    run_dir: Path,
    *,
    resume: bool = False,
    reject_failures: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> dict[str, Any]:
    """Make or resume an exact run, and return its summary.

    The folder `burn-in` inside is an ordinary Monte Carlo run, whose last surrogate is frozen; `trials.csv` has
    the outer steps from which the number of inner steps is chosen, `chain.csv` those that count; the target's
    results of both are in `frames.db`.

    Parameters
    ----------
    n_steps
        Outer steps that count.
    reject_failures
        Whether a proposal whose energy the target cannot give is rejected, in the burn-in too.

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
        target=settings.chain.target,
        atoms=settings.chain.structure(),
        # Every call of the target, its retries and its results: as in a run without a surrogate.
        arguments=make_arguments(replace(settings.chain, strategy="baseline")),
        simulation={"exact": settings.describe(), "n_steps": n_steps},
        resume=resume,
        check_same=lambda: _check_same(settings, run_dir),
    ) as (calculator, target, state, begin):
        outer = OuterLog.read(run_dir / "chain.csv")
        check_length(outer[-1].step if outer else 0, n_steps)
        total = settings.burn_in + n_steps

        def report(step: int, acceptance: float, stats: Stats) -> None:
            if on_progress:
                on_progress(Progress(run_dir.name, step, total, acceptance, stats))

        trained = _burn_in(settings, run_dir / BURN_IN, report, reject_failures)
        frozen = _thaw(settings, run_dir / BURN_IN, target)
        sampler = _Sampler(settings, run_dir, calculator, frozen, reject_failures=reject_failures)
        sampler.run(n_steps, report, begin)
        summary = summarise(
            {**settings.describe(), **asdict(state)},
            sampler.trials,
            sampler.rows,
            calculator.stats,
            trained,
            ChainLog.read(run_dir / BURN_IN),
        )
        write_json(run_dir / "summary.json", summary)
        return summary


def _check_same(settings: ExactSettings, run_dir: Path) -> None:
    made_with = settings.describe()
    saved = read_simulation(
        run_dir,
        lambda saved: {name: saved["exact"][name] for name in made_with} if "exact" in saved else None,
    )
    if saved is None:
        raise RunDirectoryError(f"{run_dir} is no exact Monte Carlo run: it was made without --exact")
    refuse_other_settings(saved, made_with, run_dir)


def _burn_in(
    settings: ExactSettings,
    folder: Path,
    report: Callable[[int, float, Stats], None],
    reject_failures: bool,
) -> dict[str, Any]:
    """Make the ordinary chain, or what is left of it to make, and return its summary."""
    summary = read_summary(folder)
    made = ChainLog.read(folder)[-1:] if summary is not None else []
    if summary is not None and made and made[0].step >= settings.burn_in:
        return summary  # of one that went on by itself too, which `_thaw` refuses
    return monte_carlo_run.run(
        settings.chain,
        settings.burn_in,
        folder,
        resume=True,
        reject_failures=reject_failures,
        on_progress=lambda progress: report(progress.step, progress.acceptance, progress.stats),
    )


def _thaw(settings: ExactSettings, folder: Path, target: BaseCalculator) -> tuple[Surrogate, Positions]:
    """Load the surrogate as the burn-in left it, and the positions (n_atoms, 3) in Å where it ended.

    It is read from the run directory even by the process that trained it, so that a resumed run has the same.
    """
    calculator = ProximaCalculator.resume(folder, target, **make_arguments(settings.chain))
    try:
        stats, surrogate = calculator.stats, calculator.surrogate
    finally:
        calculator.close()
    (*_, (last, _, positions)) = asked_structures(folder)
    if last.step != settings.burn_in:
        raise RunDirectoryError(
            f"{folder} has made {last.step} steps, not the {settings.burn_in} of this run's burn-in: "
            "the surrogate is no longer the frozen one; choose another run directory"
        )
    if surrogate is None or not stats.model_version:
        raise InputError(
            f"no surrogate was trained in {settings.burn_in} steps of burn-in: make the burn-in longer"
        )
    return surrogate, positions


class _Sampler:
    """The trials and the chain that counts, from the logs in the run directory onwards.

    Attributes
    ----------
    trials, rows
        Rows of both, that of the start of each first.
    """

    def __init__(
        self,
        settings: ExactSettings,
        run_dir: Path,
        calculator: ProximaCalculator,
        frozen: tuple[Surrogate, Positions],
        *,
        reject_failures: bool,
    ) -> None:
        self.reject_failures = reject_failures
        self.settings, self.run_dir, self.calculator = settings, run_dir, calculator
        self.move = settings.chain.move
        self.surrogate, self.start = frozen
        self.atoms: Atoms = settings.chain.structure()
        self.masses = self.atoms.get_masses()
        self.trials = OuterLog.read(run_dir / "trials.csv")
        self.rows = OuterLog.read(run_dir / "chain.csv")
        asked = sum(row.asked and math.isfinite(row.proposed_energy) for row in (*self.trials, *self.rows))
        n_known = asked + bool(self.trials)
        if not n_known <= calculator.stats.n_calls <= n_known + 1:
            raise RunDirectoryError(
                f"trials.csv and chain.csv in {run_dir} have {n_known} calls of the target, but the run has made "
                f"{calculator.stats.n_calls}: one of them was cut"
            )

    def energy_of(self, positions: Positions) -> float:
        """Energy of the target, in eV; infinite where it fails and that is to be rejected."""
        self.atoms.positions = positions
        np.save(self.run_dir / ASKED, positions)  # no seed alone leads to it, if this process dies
        return energy_or_infinity(
            lambda: float(self.calculator.get_property("energy", self.atoms)),
            reject_failures=self.reject_failures,
        )

    def surrogate_energy_of(self, positions: Positions) -> float:
        """Energy of the frozen surrogate, in eV."""
        self.atoms.positions = positions
        return float(self.surrogate.predict(self.atoms).results["energy"])

    def run(
        self, n_steps: int, report: Callable[[int, float, Stats], None], begin: Callable[[], None]
    ) -> None:
        """Make the trials, if they are wanted, and the steps that are still to make; `begin` once all is checked."""
        rng = self.settings.rng()
        most = _most_inner_steps(ChainLog.read(self.run_dir / BURN_IN))
        with OuterLog(self.run_dir / "trials.csv") as log:
            state = self._begin(log)
            answered = self._answered()
            state = self._replay(state, rng, self.trials, answered, log.path)
            n_inner, settled = self._next_inner_steps(most)
            while not settled:
                state = self._step(state, rng, n_inner, self.trials, log)
                report(self.settings.burn_in, acceptance_of(self.trials), self.calculator.stats)
                n_inner, settled = self._next_inner_steps(most)
        state = exact.init(state.chain.positions, state.chain.energy, state.surrogate_energy)
        with OuterLog(self.run_dir / "chain.csv") as log:
            if not self.rows:
                self.rows.append(exact.start_row(state, self.masses))
                log.append(self.rows[0])
            state = self._replay(state, rng, self.rows, answered, log.path)
            self._check_frozen(state)
            begin()
            while state.chain.n_steps < n_steps:
                state = self._step(state, rng, n_inner, self.rows, log)
                done = self.settings.burn_in + state.chain.n_steps
                report(done, acceptance_of(self.rows), self.calculator.stats)

    def _begin(self, log: OuterLog) -> ExactState:
        if self.trials:
            first = self.trials[0]
            return exact.init(self.start, first.energy, first.surrogate_energy)
        state = exact.init(self.start, self.energy_of(self.start), self.surrogate_energy_of(self.start))
        self.trials.append(exact.start_row(state, self.masses))
        log.append(self.trials[0])
        return state

    def _answered(self) -> Iterator[tuple[str, float]]:
        """Fingerprint of the structure, and energy in eV, of each call that the target has answered."""
        structures = [row["structure"] for row in read_steps(self.run_dir)]
        return ((structures[frame.step], frame.results["energy"]) for frame in self.calculator.frames)

    def _replay(
        self,
        state: ExactState,
        rng: np.random.Generator,
        rows: Sequence[OuterRow],
        answered: Iterator[tuple[str, float]],
        path: Path,
    ) -> ExactState:
        """Where a chain stands after its rows, that of its start first.

        Raises
        ------
        RunDirectoryError
            If a row does not follow from the seed and the rows before, or is not of the calls that the run has made.
        """
        atoms, n_accepted = self.atoms.copy(), state.chain.n_accepted
        steps = chain([(self.start, state)], exact.replay(state, self.move, rng, rows[1:]))
        for row, (atoms.positions, state) in zip(rows, steps, strict=True):
            moved = not row.step or state.chain.n_accepted > n_accepted
            if (row.step, row.energy, row.surrogate_energy, row.accepted) != (
                state.chain.n_steps,
                state.chain.energy,
                state.surrogate_energy,
                moved,
            ):
                raise not_as_written(path, f"step {row.step} does not follow from the seed and the energies")
            n_accepted = state.chain.n_accepted
            asked = row.asked or (rows is self.trials and not row.step)
            if asked and math.isfinite(row.proposed_energy):
                call = fingerprint(atoms), row.proposed_energy
                if call != next(answered, None):
                    raise not_as_written(path, f"step {row.step} is not what the target was asked for")
        return state

    def _next_inner_steps(self, most: int) -> tuple[int, bool]:
        if self.settings.inner_steps is not None:
            return self.settings.inner_steps, True
        return exact.next_inner_steps(self.trials, most, self.move.kT)

    def _step(
        self,
        state: ExactState,
        rng: np.random.Generator,
        n_inner: int,
        rows: list[OuterRow],
        log: OuterLog,
    ) -> ExactState:
        start = time.perf_counter()
        state, tried = exact.step(state, self.energy_of, self.surrogate_energy_of, rng, self.move, n_inner)
        rows.append(exact.row_of(state, tried, self.masses, time.perf_counter() - start))
        log.append(rows[-1])
        return state

    def _check_frozen(self, state: ExactState) -> None:
        """Raise where the surrogate is not the one that the chain was made with."""
        energy = self.surrogate_energy_of(state.chain.positions)
        if not abs(energy - state.surrogate_energy) <= 1e-6 * self.move.kT:
            raise RunDirectoryError(
                f"the surrogate in {self.run_dir / BURN_IN} gives {energy} eV where it gave "
                f"{state.surrogate_energy} eV: it is no longer the frozen one; choose another run directory"
            )


def _most_inner_steps(burn_in: list[ChainRow]) -> int:
    """Twice the autocorrelation time of the burn-in: more steps would not make proposals more independent."""
    taus = [autocorrelation_time(values) for values in equilibrated(burn_in) if len(values) > 1]
    tau = max(taus, default=math.inf)
    return int(min(max(math.ceil(2 * tau), 1), MOST_INNER_STEPS)) if math.isfinite(tau) else MOST_INNER_STEPS
