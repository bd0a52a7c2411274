"""From options to parts: which surrogate, uncertainties and controllers serve a structure and its bounds."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ase import Atoms

from ase_proxima import surrogates
from ase_proxima import uncertainty as ranking
from ase_proxima.errors import InputError
from ase_proxima.executor import Criterion, Watch
from ase_proxima.executor.options import Options, make_controller
from ase_proxima.metrics import METRIC_PROPERTIES, find_metric
from ase_proxima.protocols import Controller, ErrorMetric, PartTarget, Surrogate, TrainingPolicy, Uncertainty
from ase_proxima.surrogates.none import NoSurrogate, NoUncertainty
from ase_proxima.training import GrowthTraining, has_manager, make_training_policy, refuse_in_place

__all__ = ["Parts", "assemble", "assemble_for_function"]

SMALL_MOLECULE = 8
"""Atoms up to which `gradient_gp` serves alone: a call costs it 0.3 ms, and few target calls are left to spare."""

GRADIENT_GP_ATOMS = 24
"""Atoms up to which it is compared with others: beyond, its labels leave room for few frames."""

JOINT_GP_ATOMS = 60
"""Atoms up to which `joint_gp` is: its labels leave room for 40 frames then."""

IMPLIED_ENERGY = 0.1
"""Å: a force bound times this bounds the energy per atom, what such an error does over a thermal displacement."""

IMPLIED_STRESS = 1.0 / 20.0
"""1/Å²: a force bound times this bounds the stress, one pair force on the area of an atom in a solid and a half."""

USUAL_METRICS = {"energy": "energy_per_atom", "forces": "force_max", "stress": "stress"}
"""Metrics by which errors of properties are counted that no bound covers."""


OF_FUNCTIONS = ("auto", "distance", "posterior")
"""Names of uncertainties for functions."""


@dataclass(frozen=True)
class Parts:
    """What an executor is made of.

    Attributes
    ----------
    surrogate
    criteria
        The bounds of the user's own, then those that they imply.
    watches
        Errors that are only counted.
    training
    """

    surrogate: Surrogate
    criteria: tuple[Criterion, ...]
    watches: tuple[Watch, ...]
    training: TrainingPolicy


def assemble(
    options: Options,
    atoms: Atoms,
    *,
    prior: surrogates.PriorMean | None = None,
    target: Any = None,
    threshold: Callable[[], Any] = lambda: math.nan,
    on_disk: bool = False,
) -> Parts:
    """Choose and make the parts for structures like `atoms`.

    Parameters
    ----------
    options : Options
    atoms : ase.Atoms
        The first structure.
    prior : callable, optional
        `prior(atoms) -> results`: the mean that the surrogate corrects.
    target
        Where it is a `PartTarget`, it is asked for the few atoms of which the surrogate is unsure.
    threshold : callable
        Threshold of the uncertainty at present, by metric where there are several bounds.
    on_disk : bool
        Whether a manager could read the frames.

    Raises
    ------
    InputError
        If parts do not go together.
    """
    if options.controller == "baseline":
        options = replace(options, surrogate=NoSurrogate(), uncertainty=NoUncertainty(), training="lazy")
        prior = target = None
    forces_bounded = any(_ranked_by_forces(metric, options.properties) for metric in options.bounds)
    surrogate = _make_surrogate(options.surrogate, atoms, forces_bounded)
    training = make_training_policy(options.training)
    if has_manager(training):
        refuse_in_place(surrogate)
        if prior is not None:
            raise InputError(
                'training="background" does not know the prior: leave one of them out, or give a surrogate that '
                "holds the prior itself"
            )
        if isinstance(target, PartTarget):
            raise InputError(
                'training="background" goes with targets that compute whole structures: leave it out, or leave the '
                "target on part of the atoms out"
            )
        if not on_disk:
            raise InputError(
                'training="background" needs a run_dir, from which the manager reads the frames: name one'
            )
        getattr(surrogate, "get_ready", lambda: None)()
    if prior is not None:
        surrogate = surrogates.WithPrior(surrogate, prior)
    if isinstance(target, PartTarget):
        limit = _force_threshold(options, threshold)
        surrogate = surrogates.WithLocalTarget(surrogate, target, threshold=limit)
    properties = tuple(name for name in options.properties if name in surrogate.properties)
    make = _Maker(options, surrogate, properties)
    criteria = [make.criterion(metric, bound) for metric, bound in options.bounds.items()]
    covered = {criterion.property for criterion in criteria}
    held = all(getattr(criterion.controller, "holds_bound", True) for criterion in criteria)
    if not held:  # a threshold that the user set stands for everything
        criteria = [replace(criterion, covers=properties) for criterion in criteria]
    elif None not in covered:  # a metric of the user's own may look at anything
        criteria += [
            make.criterion(metric, bound, implied=True)
            for metric, bound in implied_bounds(options).items()
            if METRIC_PROPERTIES[metric] in properties
        ]
        covered = {criterion.property for criterion in criteria}
    watches = [
        Watch(*find_metric(metric))
        for name, metric in USUAL_METRICS.items()
        if name in properties and name not in covered and metric not in {c.name for c in criteria}
    ]
    return Parts(surrogate, tuple(criteria), tuple(watches), training)


def _force_threshold(options: Options, threshold: Callable[[], Any]) -> Callable[[], float]:
    """Threshold of a force's deviation, the smallest where several bounds are on forces."""
    names = [find_metric(metric)[0] for metric in options.bounds]
    forces = [name for name in names if METRIC_PROPERTIES.get(name) == "forces"]
    if not forces:
        raise InputError(
            "a target on part of the atoms computes forces, and no error bound is on forces: bound them, such as "
            'error_bound={"force_max": 0.05}, or use the target as a whole'
        )

    return partial(_smallest, threshold, forces)


def _smallest(threshold: Callable[[], Any], names: Sequence[str]) -> float:
    found = threshold()
    return found if isinstance(found, float) else min(found[name] for name in names)


def implied_bounds(options: Options) -> dict[str, float]:
    """Bounds of energy per atom (eV) and stress (eV/Å³) that a bound on forces implies.

    Examples
    --------
    >>> options = Options(error_bound=0.05, error_metric="force_max", properties=("energy", "forces", "stress"))
    >>> implied_bounds(options)
    {'energy_per_atom': 0.005, 'stress': 0.0025}
    """
    bounded = {METRIC_PROPERTIES.get(find_metric(metric)[0]) for metric in options.bounds}
    if "forces" not in bounded:
        return {}
    of_forces = min(bound for metric, bound in options.bounds.items() if _ranked_by_forces(metric, ()))
    implied = {"energy_per_atom": IMPLIED_ENERGY * of_forces, "stress": IMPLIED_STRESS * of_forces}
    return {metric: bound for metric, bound in implied.items() if METRIC_PROPERTIES[metric] not in bounded}


class _Maker:
    """Makes the criteria of one surrogate."""

    def __init__(self, options: Options, surrogate: Surrogate, properties: Sequence[str]) -> None:
        self.options = options
        self.surrogate = surrogate
        self.properties = properties
        posterior = surrogate.incremental or options.came_trained
        self.usual = getattr(surrogate, "usual_uncertainty", "posterior" if posterior else "coulomb")
        self.distance: Uncertainty | None = None

    def criterion(self, metric: str | ErrorMetric, bound: float, *, implied: bool = False) -> Criterion:
        """Make the criterion of one bound."""
        options = self.options
        name, function = find_metric(metric)
        known = isinstance(metric, str)
        if known and METRIC_PROPERTIES[name] not in self.properties:
            raise InputError(
                f"the error metric {name!r} needs {METRIC_PROPERTIES[name]}; "
                f"{type(self.surrogate).__name__} offers {', '.join(self.properties)} here"
            )
        ranking = name if known else "force_max" if "forces" in self.properties else "energy"
        measure = self._uncertainty(ranking)
        # the standard deviation of another quantity ranks, but its ratio to the error is not known beforehand
        prior_ratio = getattr(measure, "prior_ratio", None) if known else None
        by_name = isinstance(options.controller, str)
        rule: str | Controller = "risk" if implied and not by_name else options.controller
        controller = make_controller(rule, bound, options.bound_over, options.audit_rate, prior_ratio)
        return Criterion(name, function, measure, controller, bound, implied)

    def _uncertainty(self, metric: str) -> Uncertainty:
        chosen = self.options.uncertainty
        if not isinstance(chosen, str):
            return chosen
        if chosen == "auto":
            chosen = self.usual
        if chosen == "ensemble":
            return ranking.EnsembleUncertainty(metric)
        if chosen == "coulomb":
            self.distance = self.distance or ranking.CoulombDistance()
            return self.distance
        if METRIC_PROPERTIES.get(metric) == "forces" and getattr(self.surrogate, "force_std", True) is False:
            name = type(self.surrogate).__name__
            raise InputError(
                f"{metric} is ranked by deviations of the forces, which this {name} does not predict: "
                f"make it with {name}(force_std=True)"
            )
        return ranking.PosteriorUncertainty(metric)


def _ranked_by_forces(metric: str | ErrorMetric, properties: Sequence[str]) -> bool:
    """Whether the standard deviations of the forces rank the errors; a callable may look at anything."""
    if not isinstance(metric, str):
        return "forces" in properties
    return METRIC_PROPERTIES[metric] == "forces"


def _make_surrogate(surrogate: str | Surrogate, atoms: Atoms, forces_bounded: bool) -> Surrogate:
    if not isinstance(surrogate, str):
        return surrogate
    make: dict[str, Callable[[], Surrogate]] = {
        "gradient_gp": lambda: surrogates.GradientGP(force_std=forces_bounded),
        "joint_gp": surrogates.JointGP,
        "bayesian_soap": surrogates.BayesianSoap,
        "soap_ridge": surrogates.SoapRidge,
    }
    names = _suited(atoms) if surrogate == "auto" else (surrogate,)
    if len(names) == 1:
        return make[names[0]]()
    return surrogates.BestOfSeveral({name: make[name]() for name in names})


def _suited(atoms: Atoms) -> tuple[str, ...]:
    """Names of the surrogates that suit a structure, those that cost less first; several are compared.

    Examples
    --------
    >>> from ase.build import bulk, molecule
    >>> _suited(molecule("CH4")), _suited(molecule("C6H6")), _suited(bulk("Al"))
    (('gradient_gp',), ('bayesian_soap', 'joint_gp', 'gradient_gp'), ('bayesian_soap',))
    """
    if atoms.pbc.any() or not 2 <= len(atoms) <= JOINT_GP_ATOMS:
        return ("bayesian_soap",)
    if len(atoms) <= SMALL_MOLECULE:
        return ("gradient_gp",)
    return ("bayesian_soap", "joint_gp", "gradient_gp")[: 3 if len(atoms) <= GRADIENT_GP_ATOMS else 2]


def assemble_for_function(
    *, surrogate: Any, uncertainty: str | Uncertainty, training: str | int | TrainingPolicy, **options: Any
) -> tuple[Options, Parts]:
    """Choose and make the parts for a function of numbers, from the arguments of `proxima`.

    Raises
    ------
    InputError
        If an argument is wrong, or would leave the surrogate untrained.
    """
    model = _regressor_surrogate(surrogate)
    measure = _function_uncertainty(uncertainty, model)
    if training == "lazy" and not model.incremental:
        training = GrowthTraining()
    chosen = Options(
        properties=("value",), surrogate=model, uncertainty=measure, training=training, **options
    )
    if chosen.came_trained:
        _check_trained(surrogate, measure, uncertainty)
    ((metric, bound),) = chosen.bounds.items()
    prior_ratio = getattr(measure, "prior_ratio", None)
    rule = make_controller(chosen.controller, bound, chosen.bound_over, chosen.audit_rate, prior_ratio)
    criterion = Criterion(*find_metric(metric), measure, rule, bound)
    return chosen, Parts(model, (criterion,), (), make_training_policy(chosen.training))


def _regressor_surrogate(surrogate: Any) -> Surrogate:
    if isinstance(surrogate, Surrogate) and not inspect.isclass(surrogate):
        return surrogate
    if isinstance(surrogate, str):
        raise InputError(f"surrogate must be a scikit-learn regressor or a Surrogate, got {surrogate!r}")
    regressor = surrogates.default_regressor() if surrogate is None else surrogate
    return surrogates.SklearnSurrogate(regressor)


def _check_trained(surrogate: Any, measure: Uncertainty, uncertainty: str | Uncertainty) -> None:
    """Raise where a surrogate or an uncertainty that was made here would stay untrained."""
    if not isinstance(surrogate, Surrogate):
        raise InputError(
            'training="never" uses a surrogate as it came, and a regressor is cloned untrained: pass a fitted '
            'SklearnSurrogate, or use training="lazy"'
        )
    if measure is not uncertainty and not hasattr(measure, "prior_ratio"):
        raise InputError(
            'the distance is one to inputs that were trained on, of which there are none with training="never": '
            'use uncertainty="posterior", or pass a fitted InputDistance'
        )


def _function_uncertainty(uncertainty: str | Uncertainty, surrogate: Surrogate) -> Uncertainty:
    if not isinstance(uncertainty, str):
        return uncertainty
    if uncertainty not in OF_FUNCTIONS:
        raise InputError(
            f"unknown uncertainty {uncertainty!r}: use one of {', '.join(OF_FUNCTIONS)}, or an object"
        )
    gives_std = getattr(surrogate, "gives_std", None)
    if uncertainty == "posterior" and gives_std is False:
        raise InputError('this regressor gives no standard deviation: use uncertainty="distance"')
    if uncertainty == "posterior" or (uncertainty == "auto" and gives_std):
        return ranking.PosteriorUncertainty("value")
    return ranking.InputDistance()
