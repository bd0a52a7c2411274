"""Melting points: a half-melted cell run at several temperatures until it is all solid or all liquid."""

from __future__ import annotations

import json
import math
import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import BaseCalculator
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.trajectory import Trajectory

from ase_proxima.calculator import ProximaCalculator
from ase_proxima.dynamics import coexistence
from ase_proxima.dynamics.coexistence import PhasePoint
from ase_proxima.dynamics.melting_fit import Outcome, fit_melting, next_temperatures, share_interval
from ase_proxima.dynamics.strategies import bounded, check_strategy, closing, strategy_parts
from ase_proxima.errors import InputError, ProximaError, RunDirectoryError
from ase_proxima.runs.files import write_json
from ase_proxima.targets import parse_target

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

# What a study is made of.
SOLID_AT = (0.6, 0.8)
"""Temperatures at which the volume of the solid is measured, over that at which the crystal melts by itself; the
melting point lies near 0.75."""
LIQUID_AT = 0.8
"""The same for the liquid, whose energy above the solid's at that temperature is the heat of fusion."""
RANGE = (0.4, 1.1)
"""Range in which the melting point is looked for, over the same temperature."""
TRIAL_K, TRIAL_STEPS = 300.0, 30
"""Of a first run that tells whether a surrogate is cheaper than the target."""
MELTS_AT = 0.75
"""Guess of the melting point, over the same temperature."""
N_STARTS = 16
"""Starts that are half liquid; each is made twice or more by runs beyond, with momenta of their own."""
STEP_K = 5.0
"""Temperatures are multiples of it, so that runs share them."""


@dataclass(frozen=True)
class MeltingSettings:
    """What a study is made with; it is resumed with the same.

    Attributes
    ----------
    structure, element, a
        See `build_crystal`; `a` is only where the search for the lattice constant begins.
    size
        Cubic cells along x and y, and along z in each half.
    target
        See `parse_target`.
    strategy
        See `strategy_parts`.
    error_bound, error_metric
        See `ProximaCalculator`.
    threshold
        Of the fixed strategy, in eV/Å.
    models
        Folder of trained models, of the committee strategy and, where it is given, of the fixed one.
    prior
        See `ProximaCalculator`; None for none.
    temperatures_K
        Temperatures to run at; None chooses them.
    most_steps
        Of a run, from which on it is given up as undecided.
    phase_steps
        Of the runs of the pure phases.
    seed
    """

    structure: str = "fcc"
    element: str = "Al"
    size: int = 4
    a: float | None = None
    target: str = "emt"
    strategy: str = "proxima"
    error_bound: float = 0.03
    error_metric: str = "force_mae"
    threshold: float | None = None
    models: str | None = None
    prior: str | None = None
    temperatures_K: tuple[float, ...] | None = None  # noqa: N815  K is the unit
    most_steps: int = 20_000
    phase_steps: int = 6000
    seed: int = 0

    def check(self) -> None:
        """Raise an `InputError` for what can be known to be wrong before the study."""
        check_strategy(self.strategy, self.threshold, self.models)
        for name in ("error_bound", "most_steps", "phase_steps"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"{name} must be a positive number, got {getattr(self, name)}")
        if not self.seed >= 0:
            raise InputError(f"the seed must not be negative, got {self.seed}")
        for temperature in self.temperatures_K or ():
            if not 0 < temperature < math.inf:
                raise InputError(f"temperatures must be above 0 K, got {temperature}")
        self.crystal()

    def crystal(self, a: float | None = None, cells: int = 1) -> Atoms:
        """Crystal of `size` cells along x and y, and `cells` times as many along z."""
        size = (self.size, self.size, cells * self.size)
        return coexistence.build_crystal(self.structure, self.element, size, a or self.a)


@dataclass(frozen=True)
class Preparation:
    """What all runs of a study begin from.

    Attributes
    ----------
    superheat_K
        Temperature at which a crystal without surfaces melted by itself.
    solid
        At two temperatures.
    liquid
    balance_K
        Mean temperature of the half-liquid starts.
    n_atoms
        Of the cell of the runs.
    cpu_s
        What it took.
    """

    superheat_K: float  # noqa: N815
    solid: tuple[PhasePoint, PhasePoint]
    liquid: PhasePoint
    balance_K: float  # noqa: N815
    n_atoms: int
    cpu_s: float

    def solid_at(self, temperature_K: float) -> PhasePoint:
        """The solid at a temperature, on the line through the two at which it was run."""
        cold, hot = self.solid
        x = (temperature_K - cold.temperature_K) / (hot.temperature_K - cold.temperature_K)
        return PhasePoint(
            temperature_K,
            cold.volume + x * (hot.volume - cold.volume),
            cold.energy + x * (hot.energy - cold.energy),
        )

    def half_energy(self, temperature_K: float) -> float:
        """Kinetic and potential energy, in eV an atom, of half a solid beside half a liquid.

        The liquid is taken to have the solid's heat capacity.
        """
        solid = self.solid_at(temperature_K).energy
        return solid + 0.5 * self.heat / self.n_atoms + 1.5 * float(units.kB) * temperature_K

    @property
    def heat(self) -> float:
        """Heat of fusion of the cell, in eV."""
        return self.n_atoms * (self.liquid.energy - self.solid_at(self.liquid.temperature_K).energy)

    @property
    def range_K(self) -> tuple[float, float]:  # noqa: N802
        """Range in which the melting point is looked for."""
        low, high = RANGE
        return low * self.superheat_K, high * self.superheat_K

    @classmethod
    def read(cls, folder: Path) -> Preparation:
        """Read what `prepare` wrote.

        Raises
        ------
        RunDirectoryError
            If it is not there or damaged.
        """
        path = folder / "preparation.json"
        try:
            saved = json.loads(path.read_text())
            cold, hot = (PhasePoint(**point) for point in saved.pop("solid"))
            return cls(solid=(cold, hot), liquid=PhasePoint(**saved.pop("liquid")), **saved)
        except FileNotFoundError as error:
            raise RunDirectoryError(f"{folder} has no preparation of a melting study") from error
        except (ValueError, KeyError, TypeError) as error:
            raise RunDirectoryError(f"{path} is damaged: {error}") from error


@dataclass(frozen=True)
class Progress:
    """How far a study is: what is being done, and how many of how many runs have ended."""

    doing: str
    n_done: int
    n_runs: int


@contextmanager
def _calculator(
    settings: MeltingSettings, run_dir: Path | None, seed: int, *, preparing: bool = False
) -> Iterator[BaseCalculator]:
    """Calculator of a strategy; a preparation is bounded too, where that is cheaper than the target."""
    target = parse_target(settings.target, atoms=settings.crystal())
    if settings.strategy == "baseline" or (preparing and not _pays(settings)):
        with closing(target) as calculator:
            yield calculator
        return
    parts = strategy_parts(
        settings.strategy, threshold=settings.threshold, models=settings.models, prior=settings.prior
    )
    with bounded(
        target,
        run_dir,
        error_bound=settings.error_bound,
        error_metric=settings.error_metric,
        seed=seed,
        when_not_worthwhile="ignore",
        **parts,
    ) as calculator:
        yield calculator


def _pays(settings: MeltingSettings) -> bool:
    """Whether a surrogate that learns takes less time than the target, by the first steps of a solid."""
    if settings.strategy != "proxima":
        return False
    atoms = settings.crystal()
    target = parse_target(settings.target, atoms=atoms)
    with bounded(
        target, None, error_bound=settings.error_bound, error_metric=settings.error_metric, seed=settings.seed
    ) as calculator:
        atoms.calc = calculator
        coexistence.equilibrate(atoms, TRIAL_K, TRIAL_STEPS, np.random.default_rng(settings.seed))
        return not calculator.stats.speedup_long_run < 1.0


def prepare(
    settings: MeltingSettings, folder: Path, on_progress: Callable[[Progress], None] | None = None
) -> Preparation:
    """Find the solid's lattice constant, the heat of fusion and half-melted starts, and write them into `folder`.

    Raises
    ------
    ProximaError
        If the crystal does not melt.
    """

    def tell(doing: str) -> None:
        if on_progress:
            on_progress(Progress(doing, 0, 0))

    begun = time.process_time()
    rng = np.random.default_rng([settings.seed, 1])
    with _calculator(settings, None, settings.seed, preparing=True) as calculator:

        def crystal() -> Atoms:
            atoms = settings.crystal()
            atoms.calc = calculator
            return atoms

        tell("heating a crystal until it melts")
        atoms = crystal()
        superheat = coexistence.heat_until_melted(atoms, rng)
        tell("the liquid at no pressure")
        liquid = coexistence.equilibrate(atoms, LIQUID_AT * superheat, settings.phase_steps, rng)
        if coexistence.liquid_fraction(atoms) < coexistence.LIQUID_ABOVE:
            raise ProximaError(f"the liquid froze at {liquid.temperature_K:.0f} K: try another --seed")
        cold, hot = (_solid(settings, crystal(), share * superheat, rng, tell) for share in SOLID_AT)
    guess = MELTS_AT * superheat
    n_atoms = len(settings.crystal(cells=2))
    known = Preparation(superheat, (cold, hot), liquid, guess, n_atoms, 0.0)
    reference = known.solid_at(guess)
    block = settings.crystal(_lattice_constant(settings, reference), cells=2)
    tell("melting one half")
    with _calculator(settings, None, settings.seed + 1, preparing=True) as calculator:
        block.calc = calculator
        melts = coexistence.half_melt(block, superheat, liquid.volume / reference.volume, rng)
        starts, balance_K = coexistence.balance(
            melts, calculator, known.half_energy, guess, superheat, N_STARTS, rng
        )
    ase.io.write(folder / "starts.traj", starts)
    preparation = replace(known, balance_K=balance_K, cpu_s=time.process_time() - begun)
    write_json(folder / "preparation.json", asdict(preparation))
    return preparation


def _solid(
    settings: MeltingSettings,
    atoms: Atoms,
    temperature_K: float,
    rng: np.random.Generator,
    tell: Callable[[str], None],
) -> PhasePoint:
    tell(f"the solid at no pressure, {temperature_K:.0f} K")
    point = coexistence.equilibrate(atoms, temperature_K, settings.phase_steps, rng)
    if coexistence.liquid_fraction(atoms) > coexistence.LIQUID_ABOVE / 2:
        raise ProximaError(
            f"the solid melted at {temperature_K:.0f} K: try another --seed, or a larger --size"
        )
    return point


def _lattice_constant(settings: MeltingSettings, solid: PhasePoint) -> float:
    """Lattice constant, in Å, of a cubic cell with the volume of a solid."""
    n_cell = len(settings.crystal()) / settings.size**3
    return float((n_cell * solid.volume) ** (1 / 3))


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
        _calculator(settings, calls, settings.seed + index) as calculator,
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
        for name, value in now.items():
            if saved.get(name) != value:
                raise RunDirectoryError(
                    f"{folder} was made with {name} = {saved.get(name)!r}, now it is {value!r}: resume with the "
                    "same settings, or choose another --out"
                )
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
