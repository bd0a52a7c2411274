"""`ProximaCalculator`: an ASE calculator round another one.  No decision is taken here."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any, NoReturn
from zipfile import BadZipFile

import numpy as np
from ase import Atoms
from ase.calculators.calculator import (
    BaseCalculator,
    PropertyNotImplementedError,
    all_changes,
)

from ase_proxima.assembly import assemble
from ase_proxima.calculator.notices import Notices
from ase_proxima.calculator.terms import Electrons, choose_properties, may_be_asked
from ase_proxima.errors import InputError, RunDirectoryError
from ase_proxima.executor import Executor, Guard
from ase_proxima.executor.blending import Blending
from ase_proxima.executor.options import Options
from ase_proxima.executor.reach import Nearest
from ase_proxima.protocols import Controller, ErrorMetric, FrameStore, Surrogate, TrainingPolicy, Uncertainty
from ase_proxima.runs.memory_store import MemoryStore
from ase_proxima.runs.store import RunDirectory
from ase_proxima.targets import parse_target
from ase_proxima.targets.contract import StateAwareCalculator, adapt, ask_offered, has_stress
from ase_proxima.targets.priors import refuse_equal
from ase_proxima.types import Decision, Results, Stats
from ase_proxima.types.identity import (
    INITIAL,
    calculator_identity,
    calculator_name,
)

__all__ = ["ProximaCalculator"]


class ProximaCalculator(StateAwareCalculator):
    """Answers from a surrogate that learns while the simulation runs, and from the target where it must.

    Parameters
    ----------
    target : ase calculator
        The expensive calculator.
    error_bound : float or mapping
        What the mean error may be, in the unit of the error metric (eV, eV/atom, eV/Å, eV/Å³); a mapping from
        metric names to bounds holds all of them at once. A bound `b` on forces implies one of `0.1 Å * b` on the
        energy per atom and one of `b / (20 Å²)` on the stress, unless these have their own. What no bound covers
        the target answers.
    error_metric : str or callable
        See `ase_proxima.metrics.find_metric`.  By default `"force_max"` where forces are among the properties, else
        `"energy"`; left out where `error_bound` is a mapping.  A callable covers all properties.
    bound_over : {"trusted", "all"}
        Whether the mean is over the calls that the surrogate answered, or over all, those of the target counting
        as zero.
    surrogate, uncertainty, controller, training
        Names, or objects with the protocols of `ase_proxima.protocols`.
    prior : ase calculator or str, optional
        A cheap calculator, or the name of one (`"xtb:GFN2"`), whose answers the surrogate only corrects.
    audit_rate : float
        Probability, at first, with which the target also runs on a trusted call.
    seed : int
        Seed of the generator that draws the audits.
    properties : sequence of str, optional
        What may be asked for; by default all that the target offers.
    when_not_worthwhile : {"warn", "ignore"}
        What to do where the target turns out to be cheaper than the surrogate, or nothing is trusted: say so once
        (a `NotWorthwhileWarning`), or nothing.
    blending : int, optional
        Number of calls over which the answers pass from target to surrogate and back, for dynamics at constant energy,
        which every switch from one call to the next kicks; 10 is usual. None switches at once, as a thermostat allows.
    run_dir : path, optional
        Folder for everything that the run writes; None keeps nothing on disk.
    share : path or str, optional
        File, or `postgresql://` address, of a database in which several walkers share the frames of their targets:
        each learns from all. Needs a run directory.

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
        prior: BaseCalculator | str | None = None,
        uncertainty: str | Uncertainty = "auto",
        controller: str | Controller = "risk",
        training: str | int | TrainingPolicy = "lazy",
        audit_rate: float = 0.02,
        seed: int = 0,
        properties: Sequence[str] | None = None,
        when_not_worthwhile: str = "warn",
        blending: int | None = None,
        run_dir: str | Path | None = None,
        share: str | Path | None = None,
    ) -> None:
        super().__init__()
        target = adapt(target)
        if isinstance(error_bound, Mapping) and error_metric is not None:
            names = ", ".join(str(getattr(metric, "__name__", metric)) for metric in error_bound)
            raise InputError(
                f"error_bound names the metrics itself, {names}, beside error_metric={error_metric!r}: leave "
                "error_metric out"
            )
        self.target = target
        self._options = Options(
            error_bound=error_bound,
            error_metric=error_metric,
            bound_over=bound_over,
            surrogate=surrogate,
            prior=prior,
            uncertainty=uncertainty,
            controller=controller,
            training=training,
            audit_rate=audit_rate,
            seed=seed,
            properties=choose_properties(target, properties),
            when_not_worthwhile=when_not_worthwhile,
            blending=blending,
        )
        self._prior = parse_target(prior) if isinstance(prior, str) else prior
        if self._prior is not None:
            self._prior = adapt(self._prior, role="prior")
            refuse_equal(target, self._prior)
        self.parameters = {"target": calculator_identity(target), **self._options.describe()}
        self.implemented_properties = may_be_asked(target, self._options.properties)
        if share is not None and run_dir is None:
            raise InputError(f"share={str(share)!r} needs a run_dir of its own for each walker: name one")
        self._store: FrameStore = MemoryStore()
        self._executor: Executor | None = None
        self._electrons = Electrons()
        self._beyond: float | None = None
        self._wanted: tuple[str, ...] = ()
        self._notices = Notices()
        try:
            if run_dir is not None:
                self._store = RunDirectory.create(
                    run_dir, self._options.describe(), calculator_identity(target), share
                )
            self._guard = Guard(self._store.owner)
        except BaseException:  # an interrupt too leaves no lock behind
            self._close_store()
            raise

    @classmethod
    def resume(cls, run_dir: str | Path, target: BaseCalculator, **parts: Any) -> ProximaCalculator:
        """Go on exactly where a run stopped.

        Parameters
        ----------
        run_dir : path
        target : ase calculator
            The same target as before; it is not stored. Before the surrogate answers for the first time, the target
            repeats one stored frame.
        **parts
            Arguments of the constructor that were objects and not names, such as a surrogate of your own; other
            arguments, if given, must be as they were.

        Raises
        ------
        RunDirectoryError
            If the folder is no run directory, is in use, or was made with other settings or another target.
        """
        run = None
        try:
            run = RunDirectory.open(run_dir)
            Options.check_saved(run.settings, run.path)
            calculator = cls(target, **_merge(run.settings, parts))
            calculator._options.check_same(run.settings, run.path)
            run.check_target(calculator_identity(target))
            calculator._store, calculator._guard = run, Guard(run.owner)
            if run.frames:
                calculator._electrons.check(run.frames[0].x)
                calculator._build(run.frames[0].x)
            return calculator
        except BaseException:  # an interrupt too leaves no lock behind
            if run is not None:
                run.close()
            raise

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """Return what has changed since the last calculation.

        ASE's own answer and the electronic state in `atoms.info`, without the many comparisons where at most positions
        changed.
        """
        if self.atoms is not None and _differ_in_positions_only(self.atoms, atoms):
            moved = np.abs(self.atoms.positions - atoms.positions)
            if not moved.any():
                return []
            if moved.max() > tol:
                return ["positions"]
        return super().check_state(atoms, tol)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Fill `results` for `atoms`: one decision, however many properties are asked for.

        Raises
        ------
        PropertyNotImplementedError
            If a property is asked for that this kind of structure has not, such as the stress of a molecule.
        """
        with self._guard.call():
            super().calculate(atoms, list(properties), list(system_changes))
            self._fill(self.atoms, properties)

    def _fill(self, atoms: Atoms, properties: Sequence[str]) -> None:
        if not has_stress(atoms) and "stress" in properties:
            raise PropertyNotImplementedError("stress is defined in a cell with three periodic axes only")
        self._electrons.check(atoms)
        if self._executor is None:
            self._build(atoms)
        assert self._executor is not None  # noqa: S101  built above
        self._wanted = tuple(properties)
        limits = None if self._beyond is None else {"force_max": self._beyond} if self._beyond else {}
        results = self._executor(atoms, needs=self._needed(properties), limits=limits)
        self._notices.of_uncovered(self._executor.uncovered)
        agreed = {*self._options.properties, *properties, "free_energy"}
        self.results = {
            name: value.copy() if isinstance(value, np.ndarray) else value
            for name, value in results.items()
            if name in agreed
        }
        if "energy" in self.results and self._is_free_energy:
            self.results.setdefault("free_energy", self.results["energy"])

    def _needed(self, properties: Sequence[str]) -> list[str]:
        """What the answer must have; the energy stands for the free energy where they are one."""
        free = self._is_free_energy
        return ["energy" if name == "free_energy" and free else name for name in properties]

    @property
    def _is_free_energy(self) -> bool:
        """Whether the target's free energy is its energy, as it is where no electrons are smeared."""
        results = self._store.frames[-1].results if self._store.frames else {}
        return bool(results.get("free_energy", results.get("energy")) == results.get("energy"))

    @contextmanager
    def target_only(self, *, beyond: float = 0.0) -> Iterator[ProximaCalculator]:
        """Let the target alone answer within a block: for a Hessian, for the last steps of a relaxation.

        The surrogate learns from these calls, and their errors are seen.

        Parameters
        ----------
        beyond : float
            Error of the largest force in eV/Å up to which the surrogate may answer all the same, where it expects no
            more; 0 for the target in any case. Of blocks within each other the smallest counts.

        Raises
        ------
        InputError
            If `beyond` is negative or no number.

        Examples
        --------
        >>> from ase.build import molecule
        >>> from ase.calculators.emt import EMT
        >>> atoms = molecule("H2O")
        >>> atoms.calc = ProximaCalculator(EMT(), error_bound=0.05)
        >>> with atoms.calc.target_only():
        ...     forces = atoms.get_forces()
        >>> atoms.calc.stats.n_target
        1
        """
        if not beyond >= 0:
            raise InputError(
                f"beyond must be 0 or a force error in eV/Å, got {beyond}: leave it out for the target in any case"
            )
        if self.last_decision is Decision.SURROGATE:
            self.results = {}  # else ASE would hand out the latest answer again
        before = self._beyond
        self._beyond = beyond if before is None else min(beyond, before)
        try:
            yield self
        finally:
            self._beyond = before

    def foresee(self, atoms: Atoms) -> tuple[np.ndarray | None, float]:
        """Forces by the surrogate, and the error of the largest to expect, in eV/Å; this is no call.

        Returns
        -------
        forces : array, shape (n_atoms, 3), or None
            None where there is no model yet.
        error : float
            Infinite where it is not known: no bound is on `force_max`, or no error per unit of uncertainty.
        """
        with self._guard.call():
            if self._executor is None:
                return None, math.inf
            results, errors = self._executor.foresee(atoms)
            return results.get("forces"), errors.get("force_max", math.inf)

    def _build(self, atoms: Atoms) -> None:
        """Choose the parts for this kind of structure and put them together."""
        if isinstance(
            self._options.prior, str
        ):  # made again, for the properties and electrons of this structure
            self._prior = adapt(parse_target(self._options.prior, atoms=atoms), role="prior")
        parts = assemble(
            self._options,
            atoms,
            prior=None if self._prior is None else self._ask_prior,
            target=self.target,
            threshold=self._threshold,
            on_disk=self._store.owner is not None,
        )
        self._executor = Executor(
            self._ask_target,
            parts.surrogate,
            parts.criteria,
            parts.training,
            store=self._store,
            distance=Nearest(),
            watches=parts.watches,
            forces_target=partial(self._notices.of_differences, parts.criteria),
            seed=self._options.seed,
            when_not_worthwhile=self._options.when_not_worthwhile,
            blending=None if self._options.blending is None else Blending(self._options.blending),
            guard=self._guard,
        )
        if isinstance(self._store, RunDirectory) and self._store.state is not None:
            _restore(self._executor, self._store, self._store.state)
        else:
            self._executor.checkpoint()

    def _threshold(self) -> Any:
        """That of `stats`, of this calculator and not of the one that it was copied from."""
        return self.stats.threshold

    def _ask_target(self, atoms: Atoms) -> Results:
        names = [*self._options.properties, *self._wanted]
        results = ask_offered(self.target, atoms, [*names, "free_energy"] if "energy" in names else names)
        self._notices.of_blindness(self.target, self._store.frames[-1:], atoms, results)
        return results

    def _ask_prior(self, atoms: Atoms) -> Results:
        return ask_offered(self._prior, atoms, self._options.properties)

    def set(self, **settings: Any) -> dict[str, Any]:
        """Refuse to change settings: neither a run nor its target could follow."""
        if settings:
            raise InputError(
                f"the settings of a ProximaCalculator are fixed, got {', '.join(settings)}: make another one, or set "
                "them on the target before it is wrapped"
            )
        return {}

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
    def name(self) -> str:
        """What was wrapped, as in a database of results."""
        return f"proxima({calculator_name(self.target)})"

    @property
    def last_decision(self) -> Decision | None:
        """Who answered the latest call; None before the first."""
        return self._executor.last_decision if self._executor else None

    @property
    def stats(self) -> Stats:
        """Where the calls and the time went, and the error estimates so far."""
        return self._executor.stats if self._executor else Stats()

    @property
    def switch_work(self) -> float:
        """That of `stats`, at once: for the energy of every step."""
        return self._executor.switch_work if self._executor else math.nan

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
            self._close_store()
            self._guard.close()

    def _close_store(self) -> None:
        if isinstance(self._store, RunDirectory):
            self._store.close()


def _differ_in_positions_only(a: Atoms, b: Atoms) -> bool:
    """Whether what a target may read of two structures is the same apart from the positions, to the last bit."""
    return (
        a.numbers.shape == b.numbers.shape
        and not (a.info or b.info)
        and a.arrays.keys().isdisjoint(INITIAL)
        and b.arrays.keys().isdisjoint(INITIAL)
        and bool((a.numbers == b.numbers).all())
        and bool((a.cell.array == b.cell.array).all())
        and bool((a.pbc == b.pbc).all())
    )


def _restore(executor: Executor, run: RunDirectory, state: Mapping[str, Any]) -> None:
    """Bring an executor to where its run stopped."""
    try:
        version, n_trained = state["counts"]["model_version"], state["counts"]["n_trained"]
        if version:
            first = state.get("published", {}).get("first", 0)
            executor.surrogate.load(run.model_folder(version), run.frames[first:n_trained])
        executor.restore(state, run.rows)
    except (OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, BadZipFile) as error:
        raise RunDirectoryError(f"{run.path} is damaged: {type(error).__name__}: {error}") from error


def _merge(settings: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Constructor arguments that a run directory keeps, which has no objects, and those that are given."""
    objects = {name for name, value in settings.items() if isinstance(value, dict) and "object" in value}
    saved = {name: value for name, value in settings.items() if name not in objects}
    if isinstance({**saved, **given}["error_bound"], Mapping):  # which names the metrics
        saved.pop("error_metric", None)
    return {**saved, **given}
