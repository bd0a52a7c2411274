"""From options to parts: which surrogate, uncertainties and controllers serve a structure and its bounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ase import Atoms

from ase_proxima import surrogates, uncertainty
from ase_proxima.errors import InputError
from ase_proxima.executor import Criterion, Watch
from ase_proxima.executor.options import Options, make_controller
from ase_proxima.metrics import METRIC_PROPERTIES, ErrorMetric, find_metric
from ase_proxima.protocols import Controller, PartTarget, Surrogate, TrainingPolicy, Uncertainty
from ase_proxima.surrogates.none import NoSurrogate, NoUncertainty
from ase_proxima.training import BackgroundTraining, make_training_policy, refuse_in_place
from ase_proxima.types.identity import fingerprint

__all__ = ["Parts", "assemble"]

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
    prior: surrogates.PriorMean | None = None,
    local: tuple[PartTarget, Callable[[], float]] | None = None,
) -> Parts:
    """Choose and make the parts for structures like `atoms`.

    Parameters
    ----------
    options : Options
    atoms : ase.Atoms
        The first structure.
    prior : callable, optional
        `prior(atoms) -> results`: the mean that the surrogate corrects.
    local : PartTarget and callable, optional
        What computes the forces on the few atoms of which the surrogate is unsure, and the threshold of a force's
        deviation at present.
    """
    if options.controller == "baseline":
        options = replace(options, surrogate=NoSurrogate(), uncertainty=NoUncertainty(), training="lazy")
        prior = None
    forces_bounded = any(_ranked_by_forces(metric, options.properties) for metric in options.bounds)
    surrogate = _make_surrogate(options.surrogate, atoms, forces_bounded)
    training = make_training_policy(options.training)
    if isinstance(training, BackgroundTraining):
        refuse_in_place(surrogate)
        if prior is not None:
            raise InputError(
                'training="background" does not know the prior: leave one of them out, or give a surrogate that '
                "holds the prior itself"
            )
        if local is not None:
            raise InputError(
                'training="background" goes with targets that compute whole structures: leave it out, or leave the '
                "target on part of the atoms out"
            )
    if prior is not None:
        surrogate = surrogates.WithPrior(surrogate, prior, identify=fingerprint)
    if local is not None:
        surrogate = surrogates.WithLocalTarget(surrogate, local[0], threshold=local[1], identify=fingerprint)
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
            return uncertainty.EnsembleUncertainty(metric)
        if chosen == "coulomb":
            self.distance = self.distance or uncertainty.CoulombDistance()
            return self.distance
        if METRIC_PROPERTIES.get(metric) == "forces" and getattr(self.surrogate, "force_std", True) is False:
            name = type(self.surrogate).__name__
            raise InputError(
                f"{metric} is ranked by deviations of the forces, which this {name} does not predict: "
                f"make it with {name}(force_std=True)"
            )
        return uncertainty.PosteriorUncertainty(metric)


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
