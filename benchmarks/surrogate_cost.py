"""What a trusted call costs, and whether calls and new frames stay as cheap as the frames pile up.

Five tables, written to benchmarks/results/surrogate_cost.csv, times in ms of the processor:

- aluminium, 256 atoms: forces through `ProximaCalculator` on trusted calls, and the surrogate's own share;
- bayesian_soap with deviations on 32 to 864 atoms of aluminium and on Cu81Al27: a prediction, and the addition of a
  frame after the eighth;
- bayesian_soap on aluminium, 32 atoms: prediction and addition of a frame against the number of frames;
- gradient_gp on methane: the same, up to and beyond the cap on stored frames;
- methane with as many frames as the cap allows: whole trusted calls through `ProximaCalculator`, energy and
  forces, for a bound on the energy and for one on the largest force.

EMT is the target throughout.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT

from ase_proxima import ProximaCalculator
from ase_proxima.controllers.fixed import FixedController, FixedState
from ase_proxima.protocols import Surrogate
from ase_proxima.surrogates.gradient_gp.surrogate import MAX_FRAMES, GradientGP
from ase_proxima.surrogates.linear.surrogate import BayesianSoap
from ase_proxima.types import Decision, Frame

RESULTS = Path(__file__).parent / "results"
LIMIT = 1.3
REPEATS = 5


def timed_ms(work: Callable[[], Any]) -> float:
    """Time of the processor of one run of `work`."""
    start = time.process_time()
    work()
    return 1e3 * (time.process_time() - start)


def rattled(atoms: Atoms, size: float) -> Iterator[Atoms]:
    """Copies of `atoms`, displaced at random by `size`, in Å."""
    rng = np.random.default_rng(0)
    while True:
        moved = atoms.copy()
        moved.positions += rng.normal(0.0, size, moved.positions.shape)
        yield moved


def measure_call(n_trusted: int) -> list[dict[str, Any]]:
    """Whole trusted call and the surrogate alone, in turn; medians and minima."""
    calculator = ProximaCalculator(EMT(), error_bound=0.1, error_metric="force_mae")
    whole, own = [], []
    for atoms in rattled(bulk("Al", cubic=True) * 4, 0.1):
        atoms.calc = calculator
        took = timed_ms(atoms.get_forces)
        if calculator.last_decision is Decision.SURROGATE:
            whole.append(took)
            own.append(timed_ms(lambda atoms=atoms: calculator.surrogate.predict(atoms)))
        if len(whole) == n_trusted:
            break
    return [
        {
            "what": "Al256, a trusted call",
            "frames": len(calculator.frames),
            "call_ms": f(whole),
            "surrogate_ms": f(own),
            "ratio": f(whole) / f(own),
            "statistic": name,
        }
        for name, f in (("median", np.median), ("minimum", np.min))
    ]


def copper_aluminium() -> Atoms:
    """Return Cu3Al on the lattice of copper, 108 atoms, the species at random places."""
    atoms = bulk("Cu", cubic=True, a=3.7) * 3
    atoms.numbers[np.random.default_rng(0).permutation(len(atoms))[: len(atoms) // 4]] = 13
    return atoms


def measure_sizes() -> list[dict[str, Any]]:
    """Prediction and addition of a frame of the linear model, by number of atoms."""
    rows = []
    systems = {f"Al{4 * n**3}": bulk("Al", cubic=True) * n for n in (2, 3, 4, 5, 6)}
    for name, start in {**systems, "Cu81Al27": copper_aluminium()}.items():
        surrogate, target, frames = BayesianSoap(), EMT(), []
        structures = rattled(start, 0.1)
        kinds = ("energy", "forces", "stress")
        for atoms in structures:
            frames.append(Frame(atoms, {kind: target.get_property(kind, atoms) for kind in kinds}))
            if len(frames) == 9:
                break
        surrogate.fit(frames[:8])
        added = timed_ms(lambda surrogate=surrogate, frames=frames: surrogate.fit(frames))
        unseen = next(structures)
        asked = [timed_ms(lambda s=surrogate, x=unseen: s.predict(x)) for _ in range(3 * REPEATS)]
        rows.append(
            {
                "what": f"bayesian_soap, {name}",
                "frames": "9",
                "call_ms": min(asked),
                "added_ms": added,
                "n_features": surrogate.describe()["n_features"],
                "r_cut": surrogate.describe()["r_cut"],
            }
        )
    return rows


class TrustsLate(FixedController):
    """Trusts nothing until the surrogate has dropped frames for the first time, and everything after that."""

    def trusts(self, state: FixedState, uncertainty: float) -> bool:  # noqa: ARG002
        """Whether more frames than the cap were asked for."""
        return state.n_errors > MAX_FRAMES


def measure_methane(metric: str, n_trusted: int) -> dict[str, Any]:
    """Median of whole trusted calls of methane with a surrogate at its cap."""
    calculator = ProximaCalculator(
        EMT(),
        error_bound=1.0,
        error_metric=metric,
        controller=TrustsLate(np.inf),
        when_not_worthwhile="ignore",
    )
    took: list[float] = []
    for atoms in rattled(molecule("CH4"), 0.05):
        atoms.calc = calculator
        ms = timed_ms(atoms.get_forces)
        if calculator.last_decision is Decision.SURROGATE:
            took.append(ms)
        if len(took) == n_trusted:
            break
    name = f"CH4, a trusted call, {metric}"
    return {"what": name, "frames": calculator.surrogate.n_frames, "call_ms": np.median(took)}


def measure_growth(
    what: str, surrogate: Surrogate, structures: Iterator[Atoms], at: Sequence[int], properties: Sequence[str]
) -> list[dict[str, Any]]:
    """Times of predictions and additions between the numbers of frames in `at`."""
    frames: list[Frame] = []
    rows, target = [], EMT()
    for first, last in zip((0, *at), at, strict=False):
        added, asked = [], []
        while len(frames) < last:
            atoms = next(structures)
            frames.append(Frame(atoms, {name: target.get_property(name, atoms) for name in properties}))
            added.append(timed_ms(lambda: surrogate.fit(frames)))
            unseen = next(structures)
            asked.append(min(timed_ms(lambda x=unseen: surrogate.predict(x)) for _ in range(REPEATS)))
        rows.append(
            {
                "what": what,
                "frames": f"{first + 1}-{last}",
                "call_ms": np.median(asked),
                "added_ms": np.median(added),
                "added_mean_ms": np.mean(added),
                "added_largest_ms": max(added),
            }
        )
    return rows


@click.command(context_settings={"show_default": True})
@click.option("--trusted", default=20, help="Trusted calls of 256 atoms to time.")
@click.option("--soap-frames", default=160, help="Frames of aluminium.")
@click.option("--gp-frames", default=240, help="Frames of methane.")
def main(trusted: int, soap_frames: int, gp_frames: int) -> None:
    """Measure, write the table and print it."""
    results = ("energy", "forces", "stress")
    rows = [measure_methane(metric, 50 * trusted) for metric in ("energy", "force_max")]
    metal = measure_call(trusted)
    rows += metal
    rows += measure_sizes()
    at = [n for n in (10, 20, 40, 80, 160, 320) if n <= soap_frames]
    aluminium = rattled(bulk("Al", cubic=True) * 2, 0.1)
    rows += measure_growth("bayesian_soap, Al32", BayesianSoap(), aluminium, at, results)
    at = [n for n in (15, 30, 60, 120, 180, 240, 300) if n <= gp_frames]
    methane = rattled(molecule("CH4"), 0.05)
    rows += measure_growth("gradient_gp, CH4", GradientGP(), methane, at, results[:2])
    table = pd.DataFrame(rows)
    RESULTS.mkdir(exist_ok=True)
    table.to_csv(RESULTS / "surrogate_cost.csv", index=False, float_format="%.4g")
    click.echo(table.to_string(index=False, na_rep="", float_format=lambda x: f"{x:.4g}"))
    click.echo(
        f"a trusted call of 256 atoms takes {metal[0]['ratio']:.2f} times the surrogate's own; limit {LIMIT}"
    )


if __name__ == "__main__":
    main()
