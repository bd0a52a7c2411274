"""`ProximaCalculator`: an ASE calculator round another one.  No decision is taken here."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any, NoReturn
from zipfile import BadZipFile

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator, Calculator, all_changes

from ase_proxima.assembly import Parts, assemble
from ase_proxima.blending import Blending
from ase_proxima.errors import InputError, RunDirectoryError
from ase_proxima.executor import Executor
from ase_proxima.metrics import ErrorMetric, find_metric
from ase_proxima.protocols import Controller, FrameStore, Surrogate, TrainingPolicy, Uncertainty
from ase_proxima.runs.store import MemoryStore, RunDirectory
from ase_proxima.surrogates.selection import novelty
from ase_proxima.types import Decision, Results, Stats

__all__ = ["ProximaCalculator"]

_INITIAL = ("initial_charges", "initial_magmoms")

REPEATED = 0.01
"""Root mean square displacement of a coordinate, in Å, below which a structure repeats an earlier one as evidence."""
OFFERED = ("energy", "forces", "stress")
Electrons = tuple[tuple[float, ...], tuple[float, ...]]


class ProximaCalculator(Calculator):  # type: ignore[misc]  # ASE has no types
    """Answers from a surrogate that learns while the simulation runs, and from the target where it must.

    Parameters
    ----------
    target : ase calculator
        The expensive calculator.
    error_bound : float or mapping
        What the mean error may be, in the unit of the error metric (eV, eV/atom, eV/Å, eV/Å³); a mapping from
        metric names to bounds holds all of them at once.
    error_metric : str or callable
        See `ase_proxima.metrics.find_metric`.  By default `"force_max"` where the target gives forces, else
        `"energy"`; left out where `error_bound` is a mapping.
    bound_over : {"trusted", "all"}
        Whether the mean is over the calls that the surrogate answered, or over all, those of the target counting
        as zero.
    surrogate, uncertainty, controller, training
        Names, or objects with the protocols of `ase_proxima.protocols`.
    audit_rate : float
        Probability, at first, with which the target also runs on a trusted call.
    seed : int
        Seed of the generator that draws the audits.
    properties : sequence of str, optional
        Results to fill in on every call, by default what target and surrogate both offer.
    when_not_worthwhile : {"warn", "bypass", "ignore"}
        What to do where the target turns out to be cheaper than the surrogate: say so once (a
        `NotWorthwhileWarning`) and go on; say so and call nothing but the target from then on, with no prediction,
        no storing and no control; or nothing.  "bypass" depends on measured times, so that two runs may differ
        in the call from which on the target answers; the others never change a decision.
    blending : int, optional
        Number of calls over which the answers pass from target to surrogate and back, for dynamics at constant energy,
        which every switch from one call to the next kicks; 10 is usual. None switches at once, as a thermostat allows.
    run_dir : path, optional
        Folder for everything that the run writes; None keeps nothing on disk.

    Raises
    ------
    InputError
        If an argument is wrong: what it was, and what to do.

    Examples
    --------
    >>> from ase.build import molecule
    >>> from ase.calculators.emt import EMT
    >>> atoms = molecule("H2O")
    >>> atoms.calc = ProximaCalculator(EMT(), error_bound=0.05)
    >>> energy = atoms.get_potential_energy()
    >>> atoms.calc.last_decision
    <Decision.TARGET: 'target'>
    """

    def __init__(
        self,
        target: BaseCalculator,
        *,
        error_bound: float | Mapping[str, float],
        error_metric: str | ErrorMetric | None = None,
        bound_over: str = "trusted",
        surrogate: str | Surrogate = "auto",
        uncertainty: str | Uncertainty = "auto",
        controller: str | Controller = "risk",
        training: str | int | TrainingPolicy = "lazy",
        audit_rate: float = 0.02,
        seed: int = 0,
        properties: Sequence[str] | None = None,
        when_not_worthwhile: str = "warn",
        blending: int | None = None,
        run_dir: str | Path | None = None,
    ) -> None:
        super().__init__()
        _check_target(target)
        if isinstance(error_bound, Mapping) and error_metric is not None:
            raise InputError(
                f"error_bound names the metrics itself, {', '.join(find_metric(m)[0] for m in error_bound)}, beside "
                f"error_metric={error_metric!r}: leave error_metric out"
            )
        self.target = target
        self._parts = Parts(
            error_bound=error_bound,
            error_metric=_default_metric(target) if error_metric is None else error_metric,
            bound_over=bound_over,
            surrogate=surrogate,
            uncertainty=uncertainty,
            controller=controller,
            training=training,
            audit_rate=audit_rate,
            seed=seed,
            properties=_choose_properties(target, properties),
            when_not_worthwhile=when_not_worthwhile,
            blending=blending,
        )
        self._parts.check()
        self.implemented_properties = list(self._parts.properties)
        self._store: FrameStore = (
            MemoryStore() if run_dir is None else RunDirectory.create(run_dir, self._parts.describe())
        )
        self._executor: Executor | None = None
        self._electronic_state: Electrons | None = None

    @classmethod
    def resume(cls, run_dir: str | Path, target: BaseCalculator, **parts: Any) -> ProximaCalculator:
        """Go on exactly where a run stopped.

        Parameters
        ----------
        run_dir : path
        target : ase calculator
            The same target as before; it is not stored.
        **parts
            Arguments of the constructor that were objects and not names, such as a surrogate of your own; other
            arguments, if given, must be as they were.

        Raises
        ------
        RunDirectoryError
            If the folder is no run directory, is in use, or was made with other settings.
        """
        run = RunDirectory.open(run_dir)
        try:
            Parts.check_saved(run.settings, run.path)
            calculator = cls(target, **_merge(run.settings, parts))
            calculator._parts.check_same(run.settings, run.path)
            calculator._store = run
            if run.frames:
                calculator._build(run.frames[0].x)
        except Exception:
            run.close()
            raise
        return calculator

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """Return what has changed since the last calculation.

        ASE's own answer, without its many comparisons where nothing changed, or the positions and nothing else.
        """
        last = self.atoms
        if last is not None and _differ_in_positions_only(last, atoms):
            moved = np.abs(last.positions - atoms.positions)
            if not moved.any():
                return []
            if moved.max() > tol:
                return ["positions"]
        return list(super().check_state(atoms, tol))

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Fill `results` for `atoms`: one decision, however many properties are asked for."""
        super().calculate(atoms, list(properties), list(system_changes))
        if self._executor is None:
            self._build(self.atoms)
        assert self._executor is not None  # noqa: S101  built above
        if not {"initial_charges", "initial_magmoms"}.isdisjoint(system_changes):
            self._check_electrons(self.atoms)
        results = self._executor(self.atoms)
        self.results = {
            name: value.copy() if isinstance(value, np.ndarray) else value for name, value in results.items()
        }

    def _check_electrons(self, atoms: Atoms) -> None:
        """Refuse other initial charges or magnetic moments than those of the run, another state for the target."""
        electrons = _electrons(atoms)
        if self._electronic_state is None:
            self._electronic_state = electrons
        elif electrons != self._electronic_state and len(electrons[0]) == len(self._electronic_state[0]):
            raise InputError(
                "the initial charges or magnetic moments changed, which the surrogate does not see: "
                "use another ProximaCalculator for another electronic state"
            )

    def _build(self, atoms: Atoms) -> None:
        """Choose the parts for this kind of structure and put them together."""
        properties, surrogate, criteria, training = assemble(self._parts, atoms)
        self.implemented_properties = list(properties)
        self._executor = Executor(
            self._ask_target,
            surrogate,
            criteria,
            training,
            store=self._store,
            identify=_identify,
            compare=partial(novelty, scale=REPEATED),
            seed=self._parts.seed,
            when_not_worthwhile=self._parts.when_not_worthwhile,
            blending=None if self._parts.blending is None else Blending(self._parts.blending),
        )
        if isinstance(self._store, RunDirectory) and self._store.state is not None:
            _restore(self._executor, self._store, self._store.state)
        else:
            self._executor.checkpoint()

    def _ask_target(self, atoms: Atoms) -> Results:
        return _run_target(self.target, atoms.copy(), self.implemented_properties)

    def __deepcopy__(self, memo: dict[int, Any]) -> ProximaCalculator:
        """Copy the run so far, with its target: from here on the two go on independently."""
        if isinstance(self._store, RunDirectory):
            raise InputError(
                f"a ProximaCalculator that writes a run directory cannot be copied, got {self._store.path}: "
                "make another one with a run_dir of its own, or share this one"
            )
        copied = type(self).__new__(type(self))
        memo[id(self)] = copied
        try:
            copied.__dict__.update(deepcopy(self.__dict__, memo))
        except Exception as error:  # foreign code: the target, or parts of the user's own
            raise InputError(
                f"a ProximaCalculator with the target {type(self.target).__name__} cannot be copied ({error}): "
                "make another one with a target of its own"
            ) from error
        return copied

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        """Refuse to be pickled or copied shallowly: one run would become several that do not know of each other."""
        raise InputError(
            "a ProximaCalculator cannot be pickled or sent to another process: send the atoms without it "
            "(atoms.copy()) and make one there, or close it and go on there with "
            "ProximaCalculator.resume(run_dir, target)"
        )

    @property
    def last_decision(self) -> Decision | None:
        """Who answered the latest call; None before the first."""
        return self._executor.last_decision if self._executor else None

    @property
    def stats(self) -> Stats:
        """Where the calls and the time went, and the error estimates so far."""
        return self._executor.stats if self._executor else Stats()

    @property
    def frames(self) -> Sequence[Any]:
        """The target's results so far."""
        return tuple(self._store.frames)

    @property
    def surrogate(self) -> Surrogate | None:
        """The surrogate in use; None before the first call."""
        return self._executor.surrogate if self._executor else None

    def close(self) -> None:
        """Release the files of the run directory; the target is the caller's to close."""
        if isinstance(self._store, RunDirectory):
            self._store.close()


def _differ_in_positions_only(a: Atoms, b: Atoms) -> bool:
    """Whether what ASE compares of two structures is the same apart from the positions, to the last bit."""
    return (
        a.numbers.shape == b.numbers.shape
        and a.arrays.keys().isdisjoint(_INITIAL)
        and b.arrays.keys().isdisjoint(_INITIAL)
        and bool((a.numbers == b.numbers).all())
        and bool((a.cell.array == b.cell.array).all())
        and bool((a.pbc == b.pbc).all())
    )


def _restore(executor: Executor, run: RunDirectory, state: Mapping[str, Any]) -> None:
    """Bring an executor to where its run stopped."""
    try:
        version, n_trained = state["counts"]["model_version"], state["counts"]["n_trained"]
        if version:
            executor.surrogate.load(run.model_folder(version), run.frames[:n_trained])
        executor.restore(state, run.rows)
    except (OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, BadZipFile) as error:
        raise RunDirectoryError(f"{run.path} is damaged: {type(error).__name__}: {error}") from error


def _check_target(target: Any) -> None:
    if isinstance(target, type) or not hasattr(target, "get_property"):
        kind = f"the class {target.__name__}" if isinstance(target, type) else type(target).__name__
        raise InputError(
            f"target must be an ASE calculator, got {kind}: "
            "pass an object such as ase.calculators.emt.EMT(), or use the decorator for a function"
        )


def _offered(target: Any) -> tuple[str, ...]:
    return tuple(name for name in OFFERED if name in target.implemented_properties)


def _default_metric(target: Any) -> str:
    return "force_max" if "forces" in target.implemented_properties else "energy"


def _choose_properties(target: Any, properties: Sequence[str] | None) -> tuple[str, ...]:
    offered = _offered(target)
    if properties is None:
        return offered
    if isinstance(properties, str):
        raise InputError(
            f"properties must be a sequence of names, got {properties!r}: write [{properties!r}]"
        )
    missing = [name for name in properties if name not in offered]
    if missing or not properties:
        raise InputError(
            f"properties {list(properties)} cannot be had: this target and the surrogates offer {list(offered)}"
        )
    return tuple(name for name in OFFERED if name in properties)


def _merge(settings: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Constructor arguments that a run directory keeps, which has no objects, and those that are given."""
    objects = {name for name, value in settings.items() if isinstance(value, dict) and "object" in value}
    saved = {name: value for name, value in settings.items() if name not in objects}
    if isinstance({**saved, **given}["error_bound"], Mapping):  # which names the metrics
        saved.pop("error_metric", None)
    return {**saved, **given}


def _run_target(target: Any, atoms: Atoms, properties: Sequence[str]) -> Results:
    """Ask a calculator for its properties, through the interface that keeps its own state right."""
    ordered = sorted(
        properties, key=lambda name: name != "forces"
    )  # forces first: they bring the energy along
    values = {name: target.get_property(name, atoms) for name in ordered}
    if isinstance(target, Calculator) and not all(np.isfinite(value).all() for value in values.values()):
        target.reset()  # else it would return the same from its cache when asked again
    return {
        name: float(values[name]) if np.ndim(values[name]) == 0 else np.array(values[name], float)
        for name in properties
    }


def _identify(atoms: Atoms) -> str:
    """Fingerprint of species, positions, cell and periodicity, to the last bit."""
    digest = hashlib.blake2b(digest_size=8)
    for array in (atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc):
        digest.update(np.ascontiguousarray(array).data)
    # A letter first: ASE refuses words in its database that look like numbers.
    return "s" + digest.hexdigest()


def _electrons(atoms: Atoms) -> Electrons:
    """Initial charges and magnetic moments, of which the surrogates know nothing."""
    return tuple(atoms.get_initial_charges()), tuple(atoms.get_initial_magnetic_moments().ravel())
