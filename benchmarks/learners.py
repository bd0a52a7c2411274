"""Dynamics of oscillators with a small model that learns, made up so that a whole run takes a fraction of a second.

Each of 24 atoms has five oscillators of its own, with periods of 60 to 160 fs, which start at rest in place and with
thermal velocities, as dynamics from a perfect lattice do, under a Langevin thermostat.  The force on an atom is one
function of its five coordinates for all atoms; the surrogate is a Bayesian linear model of their products up to the
second or third degree, its prior and its noise chosen by the evidence.  So it is overconfident where the function is
not of its form, its errors are as correlated in time as those of dynamics, and each frame that it learns moves them.
The kinds differ in how far the function lies from the form, and the bound above the error that is left in the end.

    python benchmarks/learners.py
    python benchmarks/learners.py --sensitivity --constant growth --runs 4

Writes benchmarks/results/learners.csv, or learners_sensitivity.csv with each constant of `risk` halved and doubled.
All of it was developed on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations_with_replacement
from pathlib import Path

import click
import numpy as np
import pandas as pd
from streams import VARIED

from ase_proxima.controllers.risk import RiskController
from ase_proxima.types import Observation

RESULTS = Path(__file__).parent / "results"
N_ATOMS, N_MODES = 24, 5
AMPLITUDE = 0.08
"""Thermal displacement, in Å."""
FRICTION_PER_FS = 0.01
KNOWN = 20
"""Latest frames with which a structure is compared."""
TERMS = [c for degree in (1, 2, 3) for c in combinations_with_replacement(range(N_MODES), degree)]


@dataclass(frozen=True)
class Kind:
    """What is hard about a run.

    Attributes
    ----------
    bound
        Largest force error allowed in the mean, in eV/Å.
    misfit, kink
        Size of what is of another form than the model, smooth and with a kink, in eV/Å.
    degree
        That of the model.
    timestep
        In fs.
    n_steps
    heating
        Amplitude at the end over that at the start.
    """

    bound: float
    misfit: float = 0.3
    kink: float = 0.0
    degree: int = 2
    timestep: float = 2.0
    n_steps: int = 300
    heating: float = 1.0


KINDS = {
    "of the model's form": Kind(0.05, misfit=0.0),
    "nearly of its form": Kind(0.1, misfit=0.05),
    "bound far above the floor": Kind(0.3),
    "bound at the floor": Kind(0.2, timestep=1.0),
    "bound below the floor": Kind(0.12, timestep=1.0),
    "bound far below the floor": Kind(0.08, timestep=1.0),
    "slow learner": Kind(0.1, degree=3),
    "short steps": Kind(0.1, degree=3, timestep=0.3, n_steps=600),
    "a kink": Kind(0.15, misfit=0.1, kink=0.3, timestep=1.0),
    "a kink, bound at the floor": Kind(0.2, kink=0.3, timestep=1.0),
    "heated": Kind(0.1, degree=3, n_steps=400, heating=2.5),
}


class Force:
    """A random force as a function of the coordinates of an atom."""

    def __init__(self, kind: Kind, rng: np.random.Generator) -> None:
        self.kind = kind
        self.linear = 5.0 * rng.normal(size=N_MODES)
        self.directions, self.sizes = rng.normal(size=(6, N_MODES)), rng.normal(size=6)
        normal = rng.normal(size=N_MODES)
        self.normal = normal / np.linalg.norm(normal)
        self.quadratic = rng.normal(size=(N_MODES, N_MODES))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Forces in eV/Å at coordinates of shape (n_atoms, n_modes), in Å."""
        z = x / AMPLITUDE
        force = x @ self.linear + 0.05 * np.einsum("nd,de,ne->n", z, self.quadratic, z)
        ridges = np.tanh(1.5 * (z @ self.directions.T) / np.sqrt(N_MODES))
        return (
            force
            + 0.3 * self.kind.misfit * ridges @ self.sizes
            + self.kind.kink * np.maximum(z @ self.normal - 2, 0)
        )


class Model:
    """Bayesian linear regression on products of the coordinates."""

    def __init__(self, degree: int) -> None:
        self.terms = [term for term in TERMS if len(term) <= degree]
        self.version = self.n = 0
        self.squares: np.ndarray | float = 0.0
        self.products: np.ndarray | float = 0.0
        self.power = 0.0

    def _features(self, x: np.ndarray) -> np.ndarray:
        z = x / AMPLITUDE
        return np.stack([np.ones(len(z)), *(np.prod(z[:, term], axis=1) for term in self.terms)], axis=1)

    def learn(self, x: np.ndarray, y: np.ndarray) -> None:
        """Add a frame to the sums and fit; prior precision and noise by MacKay's rules."""
        features = self._features(x)
        self.squares = self.squares + features.T @ features
        self.products = self.products + features.T @ y
        self.power += float(y @ y)
        self.n += len(y)
        values, vectors = np.linalg.eigh(self.squares)
        along = vectors.T @ self.products
        prior, noise = 1.0, 1e6
        for _ in range(60):
            precision = prior + noise * values
            mean = noise * along / precision
            used = float(np.sum(noise * values / precision))
            rest = max(self.power - 2 * mean @ along + mean @ (values * mean), 1e-12)
            prior = max(used, 1e-3) / max(mean @ mean, 1e-12)
            noise = min(max(self.n - used, 0.5) / rest, 1e8)
        precision = prior + noise * values
        self.weights = vectors @ (noise * along / precision)
        self.covariance = (vectors / precision) @ vectors.T
        self.variance = 1.0 / noise
        self.version += 1

    def predict(self, x: np.ndarray) -> tuple[np.ndarray, float]:
        """Forces, and the largest error of them to be expected."""
        features = self._features(x)
        variance = np.einsum("nf,fg,ng->n", features, self.covariance, features) + self.variance
        largest = 0.4 * np.sqrt(2 * np.log(2 * N_ATOMS) * variance.mean()) + 0.65 * np.sqrt(variance.max())
        return features @ self.weights, float(largest)


class Oscillators:
    """Langevin dynamics of independent oscillators."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.frequency = 2 * np.pi / rng.uniform(60, 160, size=(N_ATOMS, N_MODES))
        self.x = np.zeros((N_ATOMS, N_MODES))
        self.v = rng.normal(size=self.x.shape) * AMPLITUDE * self.frequency

    def step(self, timestep: float, amplitude: float) -> None:
        """Go on by a time step in fs, the thermostat set to a thermal amplitude in Å."""
        n = max(1, int(timestep))
        h = timestep / n
        keep = np.exp(-FRICTION_PER_FS * h)
        for _ in range(n):
            self.v -= 0.5 * h * self.frequency**2 * self.x
            self.x = self.x + 0.5 * h * self.v
            kicks = np.sqrt(1 - keep * keep) * amplitude * self.frequency
            self.v = keep * self.v + kicks * self.rng.normal(size=self.x.shape)
            self.x = self.x + 0.5 * h * self.v
            self.v = self.v - 0.5 * h * self.frequency**2 * self.x


def simulate(kind: Kind, controller: RiskController, seed: int) -> dict[str, float]:
    """Run the dynamics under a controller; return its row."""
    rng, draw = np.random.default_rng([seed, 11]), np.random.default_rng([seed, 12])
    force, model, system = Force(kind, rng), Model(kind.degree), Oscillators(rng)
    state = controller.init()
    frames: list[np.ndarray] = []
    errors: list[float] = []
    n_audits = 0
    for step in range(kind.n_steps):
        exact = force(system.x)
        if frames:
            predicted, u = model.predict(system.x)
            distance = min(float(np.sqrt(np.mean((system.x - x) ** 2))) for x in frames[-KNOWN:])
            error, verdict = float(np.abs(predicted - exact).max()), controller.decide(state, u)
            trusted, p = verdict.trusts, verdict.audit_probability if distance <= verdict.reach else 1.0
            seen = not trusted or draw.random() < p
            n_audits += trusted and seen
            if not seen:
                errors.append(error)
            state = controller.observe(
                state,
                Observation(
                    u, trusted, error if seen else None, p if trusted else 1.0, model.version, distance
                ),
            )
        if not frames or seen:
            frames.append(system.x)
            model.learn(system.x, exact)
        system.step(kind.timestep, AMPLITUDE * (1 + (kind.heating - 1) * step / kind.n_steps))
    true = float(np.mean(errors)) / kind.bound if errors else 0.0
    return {
        "true_over_bound": true,
        "held": true <= 1,
        "share_trusted": (len(errors) + n_audits) / kind.n_steps,
        "target_calls": len(frames),
        "audits": n_audits,
        "estimate_over_bound": controller.report(state)["error_estimate"] / kind.bound,
    }


def summarise(table: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Means over the runs of each group, and the worst of them."""
    return table.groupby(by, sort=False).agg(
        held=("held", "mean"),
        true_over_bound=("true_over_bound", "mean"),
        worst_over_bound=("true_over_bound", "max"),
        share_trusted=("share_trusted", "mean"),
        target_calls=("target_calls", "mean"),
        audits=("audits", "mean"),
        estimate_over_bound=("estimate_over_bound", "mean"),
    )


@click.command(context_settings={"show_default": True})
@click.option("--runs", default=20, help="Runs of each kind.")
@click.option("--sensitivity", "vary", is_flag=True, help="Halve and double each constant of `risk` instead.")
@click.option(
    "--constant", "constants", multiple=True, type=click.Choice([*VARIED, "growth"]), help="By default all."
)
def main(runs: int, vary: bool, constants: tuple[str, ...]) -> None:
    """Share of runs that hold the bound, for each kind."""
    settings: list[tuple[str, float, dict[str, float]]] = [("as it is", 1.0, {})]
    if vary:
        for name in constants or (*VARIED, "growth"):
            value = getattr(RiskController(1.0), name)
            for factor in (0.5, 2.0):
                # no more than all of the bound may be aimed at
                varied = min(factor * value, 1.0) if name == "margin" else type(value)(factor * value)
                settings.append((name, varied, {name: varied}))
    rows = [
        {
            "constant": constant,
            "value": value,
            "kind": name,
            **simulate(kind, replace(RiskController(kind.bound, prior_ratio=1.0), **changed), seed),
        }
        for constant, value, changed in settings
        for name, kind in KINDS.items()
        for seed in range(runs)
    ]
    summary = summarise(pd.DataFrame(rows), ["constant", "value"] if vary else ["kind"])
    RESULTS.mkdir(exist_ok=True)
    summary.round(4).to_csv(RESULTS / ("learners_sensitivity.csv" if vary else "learners.csv"))
    click.echo(summary.round(3).to_string())


if __name__ == "__main__":
    main()
