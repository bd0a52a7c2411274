"""What a user may ask for, of a calculator as of a function: one list of options, checked in one place."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from ase_proxima.controllers.baseline import BaselineController
from ase_proxima.controllers.fixed import FixedController
from ase_proxima.controllers.linear import LinearController
from ase_proxima.controllers.risk import RiskController
from ase_proxima.controllers.risk_total import TotalRiskController
from ase_proxima.errors import InputError, RunDirectoryError
from ase_proxima.executor.blending import Blending
from ase_proxima.executor.costs import WHEN_NOT_WORTHWHILE
from ase_proxima.metrics import METRIC_PROPERTIES, find_metric
from ase_proxima.protocols import Controller, ErrorMetric, Surrogate, TrainingPolicy, Uncertainty
from ase_proxima.training import make_training_policy, never_trains
from ase_proxima.types.identity import calculator_identity

__all__ = ["Options", "check_surrogate_name", "make_controller"]

SURROGATES = ("auto", "gradient_gp", "joint_gp", "bayesian_soap", "soap_ridge")
UNCERTAINTIES = ("auto", "posterior", "coulomb", "ensemble")
CONTROLLERS = ("risk", "linear", "fixed:THRESHOLD", "baseline")


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options that `ProximaCalculator` and `proxima` share; see there for what they mean.

    Numbers may be NumPy's; they are kept as Python's own.

    Raises
    ------
    InputError
        If something can be known to be wrong before the first call: what it was, and what to do.

    Examples
    --------
    >>> Options(error_bound=0.05, properties=("energy", "forces"), error_metric="force_max").seed
    0
    >>> Options(error_bound=0.0, properties=("value",), error_metric="value")
    Traceback (most recent call last):
    ...
    ase_proxima.errors.InputError: error_bound must be a positive number, got 0.0
    """

    error_bound: float | Mapping[str, float]
    properties: tuple[str, ...]
    error_metric: Any = None
    bound_over: str = "trusted"
    surrogate: str | Surrogate = "auto"
    prior: Any = None
    uncertainty: str | Uncertainty = "auto"
    controller: str | Controller = "risk"
    training: str | int | TrainingPolicy = "lazy"
    audit_rate: float = 0.02
    seed: int = 0
    when_not_worthwhile: str = "warn"
    blending: int | None = None

    def __post_init__(self) -> None:
        if isinstance(self.error_bound, Mapping):
            bounds: Any = {metric: _positive(bound) for metric, bound in self.error_bound.items()}
        else:
            bounds = _positive(self.error_bound)
        if self.error_metric is None:
            object.__setattr__(self, "error_metric", "force_max" if "forces" in self.properties else "energy")
        object.__setattr__(self, "error_bound", bounds)
        if isinstance(self.audit_rate, Real):
            object.__setattr__(self, "audit_rate", float(self.audit_rate))
        for name in ("seed", "training", "blending"):
            value = getattr(self, name)
            if isinstance(value, Integral) and not isinstance(value, bool):
                object.__setattr__(self, name, int(value))
        self._check()

    @property
    def bounds(self) -> dict[str | ErrorMetric, float]:
        """Bound of each metric."""
        if isinstance(self.error_bound, Mapping):
            return {metric: bound for metric, bound in self.error_bound.items()}  # noqa: C416  widens the key type
        return {self.error_metric: self.error_bound}

    @property
    def came_trained(self) -> bool:
        """Whether the surrogate is used as it came."""
        return never_trains(make_training_policy(self.training))

    def _check(self) -> None:
        find_metric(self.error_metric)
        if not self.bounds:
            raise InputError("error_bound must name a metric, got an empty mapping")
        names = [find_metric(metric)[0] for metric in self.bounds]
        if len(set(names)) < len(names):
            raise InputError(f"error_bound names a metric twice: {', '.join(names)}")
        _check_part("surrogate", self.surrogate, Surrogate, SURROGATES)
        _check_part("uncertainty", self.uncertainty, Uncertainty, UNCERTAINTIES)
        _check_part("controller", self.controller, Controller)
        if not isinstance(self.training, int):
            _check_part("training", self.training, TrainingPolicy)
        for metric, bound in self.bounds.items():
            name, _ = find_metric(metric)
            needed = METRIC_PROPERTIES.get(name)
            if isinstance(metric, str) and needed not in self.properties:
                there = ", ".join(self.properties) or "nothing of which surrogates learn"
                raise InputError(f"the error metric {name!r} needs {needed}; the target offers {there}")
            make_controller(self.controller, bound, self.bound_over, self.audit_rate, None)
        self._check_trained()
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

    def _check_trained(self) -> None:
        """Raise an `InputError` where surrogate or uncertainty would never learn anything, or learn all the time."""
        if self.training == "lazy" and getattr(self.surrogate, "trains_for_minutes", False):
            raise InputError(
                f'training="lazy" would train {type(self.surrogate).__name__} for minutes at nearly every new frame: '
                'use training="background" with proxima manage, or a number of frames'
            )
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
        """JSON values: names and numbers as they are, a calculator by name and parameters, else its representation."""
        plain = (str, int, float, dict, list, type(None))
        settings = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Mapping):
                value = {find_metric(metric)[0]: bound for metric, bound in value.items()}
            if isinstance(value, tuple):
                value = list(value)
            settings[field.name] = value if isinstance(value, plain) else {"object": _described(value)}
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
        unused = (
            "error_metric" if isinstance(self.error_bound, Mapping) else None
        )  # the bounds name their metrics
        for name, value in self.describe().items():
            saved = settings.get(name)
            if saved != value and name != unused and not _is_opaque(saved, value):
                raise RunDirectoryError(
                    f"{path} was made with {name} = {saved!r}, now it is {value!r}: "
                    "resume with the same settings, or choose another run directory"
                )


def check_surrogate_name(name: str) -> None:
    """Raise an `InputError` where no surrogate has this name.

    Examples
    --------
    >>> check_surrogate_name("gradient_gp")
    """
    if name not in SURROGATES:
        raise InputError(f"unknown surrogate {name!r}: use one of {', '.join(SURROGATES)}")


def _positive(bound: Any) -> float:
    if not isinstance(bound, Real) or isinstance(bound, bool) or not 0 < float(bound) < math.inf:
        raise InputError(f"error_bound must be a positive number, got {bound!r}")
    return float(bound)


def _check_part(what: str, value: Any, protocol: type, known: tuple[str, ...] = ()) -> None:
    """Raise an `InputError` where `value` is neither a known name nor an object with the protocol."""
    if isinstance(value, type):
        raise InputError(
            f"{what} must be a name or an object, got the class {value.__name__}: pass {value.__name__}(...)"
        )
    if not isinstance(value, (str, protocol)):
        raise InputError(
            f"{what} must be a name or an object with the protocol ase_proxima.protocols.{protocol.__name__}, "
            f"got {type(value).__name__}"
        )
    if known and isinstance(value, str) and value not in known:
        raise InputError(f"unknown {what} {value!r}: use one of {', '.join(known)}, or an object")


def _described(part: Any) -> Any:
    """What tells an object from another one, in another process as well: no place in memory."""
    if hasattr(part, "implemented_properties"):
        return calculator_identity(part)
    return re.sub(r" at 0x[0-9a-f]+", "", repr(part))


def _is_opaque(*settings: Any) -> bool:
    """Whether described settings were objects, of one of which only a representation is known."""
    objects = [setting.get("object") for setting in settings if isinstance(setting, dict)]
    return len(objects) == len(settings) and None not in objects and any(isinstance(x, str) for x in objects)


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
