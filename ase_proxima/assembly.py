"""From names to parts: which surrogate, uncertainty and controller serve a structure and a bound."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from ase import Atoms

from ase_proxima.blending import Blending
from ase_proxima.controllers.baseline import BaselineController
from ase_proxima.controllers.fixed import FixedController
from ase_proxima.controllers.linear import LinearController
from ase_proxima.controllers.risk import RiskController
from ase_proxima.controllers.risk_total import TotalRiskController
from ase_proxima.costs import WHEN_NOT_WORTHWHILE
from ase_proxima.errors import InputError, RunDirectoryError
from ase_proxima.executor import Criterion
from ase_proxima.metrics import METRIC_PROPERTIES, ErrorMetric, energy_per_atom, find_metric
from ase_proxima.protocols import Controller, Surrogate, TrainingPolicy, Uncertainty
from ase_proxima.surrogates.none import NoSurrogate, NoUncertainty
from ase_proxima.training import NeverTraining, make_training_policy
from ase_proxima.uncertainty.ensemble import EnsembleUncertainty
from ase_proxima.uncertainty.posterior import PosteriorUncertainty

__all__ = ["Parts", "assemble", "make_controller"]

GRADIENT_GP_ATOMS = 20
SURROGATES = ("auto", "gradient_gp", "bayesian_soap", "soap_ridge")
UNCERTAINTIES = ("auto", "posterior", "coulomb", "ensemble")
CONTROLLERS = ("risk", "linear", "fixed:THRESHOLD", "baseline")


@dataclass(frozen=True)
class Parts:
    """What the user asked for, as in `ProximaCalculator`."""

    error_bound: float | Mapping[str, float]
    error_metric: str | ErrorMetric
    bound_over: str
    surrogate: str | Surrogate
    uncertainty: str | Uncertainty
    controller: str | Controller
    training: str | int | TrainingPolicy
    audit_rate: float
    seed: int
    properties: tuple[str, ...]
    when_not_worthwhile: str = "warn"
    blending: int | None = None

    @property
    def bounds(self) -> dict[str | ErrorMetric, float]:
        """Bound of each metric."""
        if isinstance(self.error_bound, Mapping):
            return {metric: bound for metric, bound in self.error_bound.items()}  # noqa: C416  widens the key type
        return {self.error_metric: self.error_bound}

    def check(self) -> None:
        """Raise an `InputError` for what can be known to be wrong before the first call."""
        find_metric(self.error_metric)
        if not self.bounds:
            raise InputError("error_bound must name a metric, got an empty mapping")
        names = [find_metric(metric)[0] for metric in self.bounds]
        if len(set(names)) < len(names):
            raise InputError(f"error_bound names a metric twice: {', '.join(names)}")
        _check_part("surrogate", self.surrogate, Surrogate)
        _check_part("uncertainty", self.uncertainty, Uncertainty)
        _check_part("controller", self.controller, Controller)
        if not isinstance(self.training, int):
            _check_part("training", self.training, TrainingPolicy)
        for metric, bound in self.bounds.items():
            if not isinstance(bound, (int, float)) or isinstance(bound, bool) or not 0 < bound < math.inf:
                raise InputError(f"error_bound must be a positive number, got {bound!r}")
            name, _ = find_metric(metric)
            needed = METRIC_PROPERTIES.get(name)
            if isinstance(metric, str) and needed not in self.properties:
                raise InputError(
                    f"the error metric {name!r} needs {needed}; there is {', '.join(self.properties)}"
                )
            make_controller(self.controller, bound, self.bound_over, self.audit_rate, None)
        self._check_trained()
        for what, value, known in (
            ("surrogate", self.surrogate, SURROGATES),
            ("uncertainty", self.uncertainty, UNCERTAINTIES),
        ):
            if isinstance(value, str) and value not in known:
                raise InputError(f"unknown {what} {value!r}: use one of {', '.join(known)}, or an object")
        if self.uncertainty == "ensemble" and isinstance(self.surrogate, str):
            raise InputError(
                'uncertainty="ensemble" is the disagreement of the members of a committee, got '
                f"surrogate={self.surrogate!r}: pass surrogate=Committee([...]), or leave uncertainty out"
            )
        if self.controller == "linear" and self.bound_over == "all":
            raise InputError(
                'controller="linear" knows the mean over the flagged calls alone, got bound_over="all": '
                'use controller="risk", or leave bound_over out'
            )
        if self.when_not_worthwhile not in WHEN_NOT_WORTHWHILE:
            raise InputError(
                f"when_not_worthwhile must be one of {', '.join(WHEN_NOT_WORTHWHILE)}, "
                f"got {self.when_not_worthwhile!r}"
            )
        if self.blending is not None:
            Blending(self.blending)
        if not isinstance(self.seed, int) or self.seed < 0:
            raise InputError(f"seed must be a non-negative integer, got {self.seed!r}")

    @property
    def came_trained(self) -> bool:
        """Whether the surrogate is used as it came."""
        return isinstance(make_training_policy(self.training), NeverTraining)

    def _check_trained(self) -> None:
        """Raise an `InputError` where the surrogate, or the uncertainty, would never learn anything."""
        if not self.came_trained or self.controller == "baseline":
            return
        if isinstance(self.surrogate, str):
            raise InputError(
                f'training="never" uses a surrogate as it came, got surrogate={self.surrogate!r}, which is made '
                'untrained: pass a fitted surrogate object, or use training="lazy"'
            )
        if self.uncertainty == "coulomb":
            raise InputError(
                'uncertainty="coulomb" is the distance to frames that were trained on, of which there are none with '
                'training="never": use uncertainty="posterior", or pass a fitted CoulombDistance'
            )

    def describe(self) -> dict[str, Any]:
        """JSON values: names and numbers as they are, an object as its representation."""
        plain = (str, int, float, dict, tuple)
        settings = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Mapping):
                value = {find_metric(metric)[0]: bound for metric, bound in value.items()}
            if isinstance(value, tuple):
                value = list(value)
            settings[field.name] = value if isinstance(value, (*plain, list)) else {"object": repr(value)}
        return settings

    @classmethod
    def check_saved(cls, settings: Mapping[str, Any], path: Path) -> None:
        """Raise a `RunDirectoryError` where `settings` are not those of a run of this version."""
        odd = {field.name for field in fields(cls)} ^ set(settings)
        if odd:
            raise RunDirectoryError(
                f"{path} was made by another program or version: its settings differ in {', '.join(sorted(odd))}"
            )

    def check_same(self, settings: Mapping[str, Any], path: Path) -> None:
        """Raise a `RunDirectoryError` where these settings are not those of the run."""
        for name, value in self.describe().items():
            saved = settings.get(name)
            if saved != value and not (_is_object(saved) and _is_object(value)):
                raise RunDirectoryError(
                    f"{path} was made with {name} = {saved!r}, now it is {value!r}: "
                    "resume with the same settings, or choose another run directory"
                )


def _check_part(what: str, value: Any, protocol: type) -> None:
    """Raise an `InputError` where `value` is neither a name nor an object with the protocol."""
    if isinstance(value, type):
        raise InputError(
            f"{what} must be a name or an object, got the class {value.__name__}: pass {value.__name__}(...)"
        )
    if not isinstance(value, (str, protocol)):
        raise InputError(
            f"{what} must be a name or an object with the protocol ase_proxima.protocols.{protocol.__name__}, "
            f"got {type(value).__name__}"
        )


def _is_object(setting: Any) -> bool:
    """Whether a described setting was an object, of which only the representation is known."""
    return isinstance(setting, dict) and "object" in setting


def make_controller(
    controller: str | Controller,
    error_bound: float,
    bound_over: str,
    audit_rate: float,
    prior_ratio: float | None,
) -> Controller:
    """Make a controller from its name, or take the object.

    Raises
    ------
    InputError
        If the name, the audit rate or `bound_over` is not known or not possible.

    Examples
    --------
    >>> make_controller("fixed:0.3", 0.002, "trusted", 0.02, None)
    FixedController(fixed_threshold=0.3)
    """
    if not isinstance(controller, str):
        return controller
    if bound_over not in ("trusted", "all"):
        raise InputError(f'bound_over must be "trusted" or "all", got {bound_over!r}')
    name, _, argument = controller.partition(":")
    try:
        if name == "risk" and bound_over == "all":
            return TotalRiskController(error_bound, audit_rate=audit_rate, prior_ratio=prior_ratio)
        if name == "risk":
            return RiskController(error_bound, audit_rate=audit_rate, prior_ratio=prior_ratio)
        if name == "linear":
            return LinearController(error_bound)
        if name == "fixed" and argument:
            return FixedController(_read_threshold(controller, argument))
        if name == "baseline":
            return BaselineController()
    except ValueError as error:
        raise InputError(str(error)) from error
    raise InputError(f"unknown controller {controller!r}: use one of {', '.join(CONTROLLERS)}, or an object")


def _read_threshold(controller: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise InputError(
            f"the threshold of the controller {controller!r} is no number: write one, such as fixed:0.3, "
            "in the unit of the uncertainty"
        ) from error


def assemble(
    parts: Parts, atoms: Atoms
) -> tuple[tuple[str, ...], Surrogate, list[Criterion], TrainingPolicy]:
    """Choose and make the parts for structures like `atoms`.

    Returns
    -------
    properties : tuple of str
        What every call fills in.
    surrogate : Surrogate
    criteria : list of Criterion
        One a bound.
    training : TrainingPolicy
    """
    if parts.controller == "baseline":
        parts = replace(parts, surrogate=NoSurrogate(), uncertainty=NoUncertainty(), training="lazy")
    forces_bounded = any(_ranked_by_forces(metric, parts.properties) for metric in parts.bounds)
    surrogate = _make_surrogate(parts.surrogate, atoms, forces_bounded)
    periodic = atoms.pbc.all() and atoms.cell.rank == 3
    properties = tuple(
        name for name in parts.properties if name in surrogate.properties and (name != "stress" or periodic)
    )
    criteria = []
    for metric, bound in parts.bounds.items():
        name, function = find_metric(metric)
        if metric == "energy_per_atom" and "forces" not in properties:  # which tell the number of atoms
            function = partial(energy_per_atom, n_atoms=len(atoms))
        if isinstance(metric, str) and METRIC_PROPERTIES[name] not in properties:
            raise InputError(
                f"the error metric {name!r} needs {METRIC_PROPERTIES[name]}; "
                f"{type(surrogate).__name__} offers {', '.join(properties)} here"
            )
        known = isinstance(metric, str)
        ranking = name if known else "force_max" if "forces" in properties else "energy"
        posterior = surrogate.incremental or parts.came_trained
        usual = getattr(surrogate, "usual_uncertainty", "posterior" if posterior else "coulomb")
        uncertainty = _make_uncertainty(parts.uncertainty, usual, ranking)
        if isinstance(uncertainty, PosteriorUncertainty) and getattr(surrogate, "force_std", True) is False:
            _check_force_std(surrogate, ranking)
        # the standard deviation of another quantity ranks, but its ratio to the error is not known beforehand
        prior_ratio = getattr(uncertainty, "prior_ratio", None) if known else None
        controller = make_controller(parts.controller, bound, parts.bound_over, parts.audit_rate, prior_ratio)
        criteria.append(Criterion(name, function, uncertainty, controller))
    return properties, surrogate, criteria, make_training_policy(parts.training)


def _ranked_by_forces(metric: str | ErrorMetric, properties: tuple[str, ...]) -> bool:
    """Whether the standard deviations of the forces rank the errors; a callable may look at anything."""
    if not isinstance(metric, str):
        return "forces" in properties
    return METRIC_PROPERTIES[metric] == "forces"


def _make_surrogate(surrogate: str | Surrogate, atoms: Atoms, forces_bounded: bool) -> Surrogate:
    if not isinstance(surrogate, str):
        return surrogate
    if surrogate == "auto":
        small = not atoms.pbc.any() and len(atoms) <= GRADIENT_GP_ATOMS
        surrogate = "gradient_gp" if small else "bayesian_soap"
    if surrogate == "gradient_gp":
        from ase_proxima.surrogates.gradient_gp.surrogate import GradientGP

        return GradientGP(force_std=forces_bounded)
    if surrogate == "bayesian_soap":
        from ase_proxima.surrogates.linear.surrogate import BayesianSoap

        return BayesianSoap()
    from ase_proxima.surrogates.soap_ridge import SoapRidge

    return SoapRidge()


def _check_force_std(surrogate: Surrogate, metric: str) -> None:
    """Refuse a surrogate that was told to leave out the deviations by which the errors are ranked."""
    if METRIC_PROPERTIES.get(metric) == "forces":
        name = type(surrogate).__name__
        raise InputError(
            f"{metric} is ranked by deviations of the forces, which this {name} does not predict: "
            f"make it with {name}(force_std=True)"
        )


def _make_uncertainty(uncertainty: str | Uncertainty, usual: str, metric: str) -> Uncertainty:
    """Make the uncertainty; `usual` is what "auto" stands for."""
    if not isinstance(uncertainty, str):
        return uncertainty
    if uncertainty == "auto":
        uncertainty = usual
    if uncertainty == "posterior":
        return PosteriorUncertainty(metric)
    if uncertainty == "ensemble":
        return EnsembleUncertainty(metric)
    from ase_proxima.uncertainty.coulomb import CoulombDistance

    return CoulombDistance()
