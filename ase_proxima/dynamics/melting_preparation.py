"""Before the runs of a melting study: the solid's volume, the heat of fusion, and starts that are half liquid."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import BaseCalculator

from ase_proxima.dynamics import coexistence, phases
from ase_proxima.dynamics.order import LIQUID_ABOVE, liquid_fraction
from ase_proxima.dynamics.phases import PhasePoint
from ase_proxima.dynamics.strategies import bounded, check_strategy, closing, strategy_parts
from ase_proxima.errors import InputError, ProximaError, RunDirectoryError
from ase_proxima.runs.files import write_json
from ase_proxima.targets import parse_target

__all__ = ["MeltingSettings", "Preparation", "Progress", "calculator_of", "prepare"]

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
        return phases.build_crystal(self.structure, self.element, size, a or self.a)


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
def calculator_of(
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
        phases.equilibrate(atoms, TRIAL_K, TRIAL_STEPS, np.random.default_rng(settings.seed))
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
    with calculator_of(settings, None, settings.seed, preparing=True) as calculator:

        def crystal() -> Atoms:
            atoms = settings.crystal()
            atoms.calc = calculator
            return atoms

        tell("heating a crystal until it melts")
        atoms = crystal()
        superheat = phases.heat_until_melted(atoms, rng)
        tell("the liquid at no pressure")
        liquid = phases.equilibrate(atoms, LIQUID_AT * superheat, settings.phase_steps, rng)
        if liquid_fraction(atoms) < LIQUID_ABOVE:
            raise ProximaError(f"the liquid froze at {liquid.temperature_K:.0f} K: try another --seed")
        cold, hot = (_solid(settings, crystal(), share * superheat, rng, tell) for share in SOLID_AT)
    guess = MELTS_AT * superheat
    n_atoms = len(settings.crystal(cells=2))
    known = Preparation(superheat, (cold, hot), liquid, guess, n_atoms, 0.0)
    reference = known.solid_at(guess)
    block = settings.crystal(_lattice_constant(settings, reference), cells=2)
    tell("melting one half")
    with calculator_of(settings, None, settings.seed + 1, preparing=True) as calculator:
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
    point = phases.equilibrate(atoms, temperature_K, settings.phase_steps, rng)
    if liquid_fraction(atoms) > LIQUID_ABOVE / 2:
        raise ProximaError(
            f"the solid melted at {temperature_K:.0f} K: try another --seed, or a larger --size"
        )
    return point


def _lattice_constant(settings: MeltingSettings, solid: PhasePoint) -> float:
    """Lattice constant, in Å, of a cubic cell with the volume of a solid."""
    n_cell = len(settings.crystal()) / settings.size**3
    return float((n_cell * solid.volume) ** (1 / 3))
