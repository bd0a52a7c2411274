"""What a run of molecular dynamics is made with."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ase import Atoms

from ase_proxima.dynamics.strategies import check_strategy
from ase_proxima.errors import InputError
from ase_proxima.targets import refuse_same

__all__ = ["ENSEMBLES", "MDSettings"]

ENSEMBLES = ("nve", "nvt", "npt", "npt-z")
MOST_TIMESTEP_FS = 20.0
"""Longest that is accepted: ten steps of the fastest vibration of gold, 200 fs, and little is slower."""
NVE_BLENDING = 10
"""Calls of a ramp at constant energy; the ledger of such ramps closes to 0.001 meV an atom (`benchmarks/nve.py`)."""


@dataclass(frozen=True)
class MDSettings:
    """What a run is made with; it is resumed with the same.

    Attributes
    ----------
    target
        See `parse_target`.
    error_bound, error_metric, prior, surrogate, blending
        See `ProximaCalculator`; a metric of None is its default.
    ensemble
        "nve"; "nvt" (Langevin); "npt" (isotropic) and "npt-z" (along z only), after Martyna, Tobias and Klein.
    temperature_K
        Of the momenta at the start, and of the thermostat; None takes the momenta of the structure.
    timestep_fs
    pressure_GPa
        Of the barostat.
    interval
        Steps between two frames of the trajectory.
    seed
    strategy, threshold, models
        See `strategy_parts`.
    """

    target: str
    error_bound: float
    error_metric: str | None = None
    ensemble: str = "nvt"
    temperature_K: float | None = 300.0  # noqa: N815  K is the unit
    timestep_fs: float = 1.0
    pressure_GPa: float = 0.0  # noqa: N815
    interval: int = 10
    seed: int = 0
    prior: str | None = None
    blending: int | None = None
    strategy: str = "proxima"
    threshold: float | None = None
    models: str | None = None
    surrogate: str = "auto"

    def check(self, atoms: Atoms) -> None:
        """Raise an `InputError` for what can be known to be wrong before the run."""
        check_strategy(self.strategy, self.threshold, self.models, surrogate=self.surrogate)
        if self.prior is not None:
            refuse_same(self.target, self.prior)
        if self.ensemble not in ENSEMBLES:
            raise InputError(f"unknown ensemble {self.ensemble!r}: use one of {', '.join(ENSEMBLES)}")
        if not 0 < self.timestep_fs < math.inf:
            raise InputError(f"the time step must be positive, got {self.timestep_fs} fs")
        if self.timestep_fs > MOST_TIMESTEP_FS:
            raise InputError(
                f"a time step of {self.timestep_fs:g} fs is no dynamics, the most is {MOST_TIMESTEP_FS:g}: "
                "take 0.5 with hydrogen, 1 to 5 without"
            )
        if self.interval < 1 or self.seed < 0:
            raise InputError(
                f"interval must be at least 1 and seed not negative, got {self.interval} and {self.seed}"
            )
        if self.temperature_K is None:
            if self.ensemble != "nve":
                raise InputError(f"a temperature is needed for the ensemble {self.ensemble}: give --temp")
            if not atoms.has("momenta"):
                raise InputError("the structure has no momenta to start with: give --temp")
        elif not 0 < self.temperature_K < math.inf:
            raise InputError(f"the temperature must be above 0 K, got {self.temperature_K}")
        if not math.isfinite(self.pressure_GPa):
            raise InputError(f"the pressure must be a number, got {self.pressure_GPa} GPa")
        if self.pressure_GPa and not self.ensemble.startswith("npt"):
            raise InputError(
                f"the ensemble {self.ensemble} has no barostat for a pressure of {self.pressure_GPa:g} GPa: "
                "choose npt or npt-z, or leave --pressure out"
            )
        if self.ensemble.startswith("npt"):
            if not atoms.pbc.all():
                raise InputError(
                    f"the ensemble {self.ensemble} needs a structure that is periodic along all axes"
                )
            if atoms.constraints:
                raise InputError(f"the ensemble {self.ensemble} cannot hold atoms: use nvt, or free them")

    @property
    def calls_of_a_ramp(self) -> int | None:
        """What `blending` is: as given, else 10 at constant energy and none under a thermostat."""
        if self.blending is None:
            return NVE_BLENDING if self.ensemble == "nve" and self.strategy != "baseline" else None
        return self.blending or None
