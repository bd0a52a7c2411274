"""Molecular dynamics in a run directory: every step kept, and gone on with after a kill at any moment."""

from __future__ import annotations

import io
import json
import math
import os
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import ase.io
import numpy as np
from ase import Atoms, units
from ase.md.langevin import Langevin
from ase.md.md import MolecularDynamics
from ase.md.nose_hoover_chain import IsotropicMTKNPT
from ase.md.verlet import VelocityVerlet

from ase_proxima.calculator import ProximaCalculator
from ase_proxima.dynamics.coexistence import thermalise, z_barostat
from ase_proxima.dynamics.md_settings import ENSEMBLES, MDSettings
from ase_proxima.dynamics.strategies import bounded, closing, strategy_parts
from ase_proxima.errors import InputError, RunDirectoryError
from ase_proxima.runs.append_log import read_rows
from ase_proxima.runs.files import write_json
from ase_proxima.runs.folder import discard_unstarted, refuse_other_settings, writing
from ase_proxima.runs.sealed import SealedFile, gone
from ase_proxima.targets import check_prior, parse_target, target_state
from ase_proxima.targets.contract import drop_assumed
from ase_proxima.types import Stats
from ase_proxima.types.identity import same_input

__all__ = ["ENSEMBLES", "MDSettings", "Progress", "read_md", "run_md"]

# Of the integrators.
FRICTION_FS = 100.0
"""Damping time of the Langevin thermostat, as that of `benchmarks/metals.py`."""
THERMOSTAT_FS, BAROSTAT_FS = 100.0, 1000.0
"""Damping times at constant pressure, as in `ase_proxima.dynamics.coexistence`."""
PROGRESS_INTERVAL_S = 0.3

RESULT, SEAL = "result/", "seal/"
COLUMNS = ("step", "potential", "kinetic", "temperature", "volume", "switch_work", "decision")
CONSTANT_PRESSURE = ("_q", "_p", "_thermostat._eta", "_thermostat._p_eta", "_barostat._xi", "_barostat._p_xi")
HIDDEN: Mapping[str, tuple[str, ...]] = {
    "nve": (),
    "nvt": (),
    "npt": (*CONSTANT_PRESSURE, "_eps", "_p_eps", "_volume0", "_cell0"),
    "npt-z": (*CONSTANT_PRESSURE, "_h", "_p_c", "_h0_basis"),
}
"""What an integrator of ASE 3.29 holds beside the atoms."""


@dataclass(frozen=True)
class Progress:
    """How far a run is."""

    step: int
    n_steps: int
    temperature_K: float  # noqa: N815
    stats: Stats


def run_md(
    atoms: Atoms,
    settings: MDSettings,
    n_steps: int,
    run_dir: Path,
    *,
    resume: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> dict[str, Any]:
    """Make a run of `n_steps` steps, or go on with one until it has as many.

    Parameters
    ----------
    atoms
        Where the run starts; a resumed run must start from the same.
    run_dir
        Gets what `ProximaCalculator` writes, and `dynamics.json`, `start.json`, `md.csv` (a row a step),
        `trajectory.xyz` and `dynamics.npz`, from which the run goes on.

    Returns
    -------
    dict
        The statistics of the calculator, with the settings and the number of steps, as in summary.json.

    Raises
    ------
    InputError
        If a setting is wrong, or the folder holds another run.
    """
    settings.check(atoms)
    if not n_steps >= 1:
        raise InputError(f"the number of steps must be at least 1, got {n_steps}")
    going_on = resume and run_dir.exists() and not discard_unstarted(run_dir)
    if going_on:
        _check_same(atoms, settings, run_dir)
    parts = strategy_parts(
        settings.strategy,
        threshold=settings.threshold,
        models=settings.models,
        prior=settings.prior,
        surrogate=settings.surrogate,
    )
    if settings.prior is not None:
        with closing(parse_target(settings.target, atoms=atoms)) as target:
            check_prior(settings.prior, atoms, target_state(target, atoms))
    if settings.error_metric is not None:
        parts["error_metric"] = settings.error_metric
    exact = parse_target(settings.target, atoms=atoms)
    if not going_on:
        drop_assumed(exact, atoms)
    lacking = [name for name in ("energy", "forces") if name not in exact.implemented_properties]
    if lacking:
        raise InputError(
            f"dynamics needs energy and forces; target {settings.target!r} offers no {' and no '.join(lacking)}"
        )
    with bounded(
        exact,
        run_dir,
        resume=going_on,
        error_bound=settings.error_bound,
        seed=settings.seed,
        blending=settings.calls_of_a_ramp,
        when_not_worthwhile="ignore" if settings.strategy == "baseline" else "warn",
        **parts,
    ) as calculator:
        if not going_on:
            ase.io.write(run_dir / "start.json", _bare(atoms))
            write_json(run_dir / "dynamics.json", asdict(settings))
        walker = _Walker(atoms, settings, calculator, run_dir)
        reported = -math.inf
        with walker:
            if walker.step > n_steps:
                raise InputError(
                    f"the run already has {walker.step} steps, more than the {n_steps} asked for: ask for more"
                )
            while walker.step < n_steps:
                walker.advance()
                now = time.perf_counter()
                if on_progress and (now - reported > PROGRESS_INTERVAL_S or walker.step == n_steps):
                    reported = now
                    on_progress(
                        Progress(walker.step, n_steps, walker.atoms.get_temperature(), calculator.stats)
                    )
        summary = {**asdict(settings), **asdict(calculator.stats), "n_steps": n_steps, "n_atoms": len(atoms)}
        write_json(run_dir / "summary.json", summary)
    return summary


def _bare(atoms: Atoms) -> Atoms:
    """The structure without its calculator."""
    bare: Atoms = atoms.copy()
    return bare


def _check_same(atoms: Atoms, settings: MDSettings, run_dir: Path) -> None:
    """Raise a `RunDirectoryError` that says in what a run that is there differs."""
    saved, start = _read_start(run_dir)
    refuse_other_settings(saved, asdict(settings), run_dir)
    if not same_input(start, atoms) or not np.array_equal(start.get_momenta(), atoms.get_momenta()):
        raise RunDirectoryError(
            f"{run_dir} started from another structure: resume with the same, or choose another run directory"
        )


class _Walker:
    """A trajectory that is written down step by step.

    The order of writing makes any end of the process one to go on from: row and frame of a step come first, then, in
    one move, the state after it. A step whose state was not written is made again; its call was the latest, and is
    answered as before.
    """

    def __init__(
        self, atoms: Atoms, settings: MDSettings, calculator: ProximaCalculator, run_dir: Path
    ) -> None:
        self.settings, self.calculator, self.run_dir = settings, calculator, run_dir
        self.atoms: Atoms = atoms.copy()
        self.atoms.calc = calculator
        self.rng = np.random.default_rng([settings.seed, 1])
        self.step = 0
        state = self._read()
        if state is None and settings.temperature_K is not None:
            thermalise(self.atoms, settings.temperature_K, self.rng)
        elif state is not None:
            self._set(state)
        self.dynamics = self._integrator()
        if state is not None:
            for name in HIDDEN[settings.ensemble]:
                *inside, last = name.split(".")
                holder = attrgetter(".".join(inside))(self.dynamics) if inside else self.dynamics
                value = state[name.replace(".", "/")]
                setattr(holder, last, value.copy() if value.ndim else float(value))
        with ExitStack() as files:
            self._rows = self._open("md.csv", state)
            files.callback(self._rows.close)
            self._frames = self._open("trajectory.xyz", state)
            files.callback(self._frames.close)
            if state is None:
                self._rows.write(",".join(COLUMNS) + "\n")
                self._write()
            files.pop_all()

    def _integrator(self) -> MolecularDynamics:
        settings, timestep = self.settings, self.settings.timestep_fs * units.fs
        if settings.ensemble == "nve":
            return VelocityVerlet(self.atoms, timestep)
        if settings.ensemble == "nvt":
            friction = 1.0 / (FRICTION_FS * units.fs)
            return Langevin(
                self.atoms,
                timestep,
                temperature_K=settings.temperature_K,
                friction=friction,
                fixcm=False,
                rng=self.rng,
            )
        pressure = settings.pressure_GPa * units.GPa
        if settings.ensemble == "npt-z":
            return z_barostat(self.atoms, float(settings.temperature_K or 0), settings.timestep_fs, pressure)
        return IsotropicMTKNPT(
            self.atoms,
            timestep,
            temperature_K=settings.temperature_K,
            pressure_au=pressure,
            tdamp=THERMOSTAT_FS * units.fs,
            pdamp=BAROSTAT_FS * units.fs,
        )

    def _read(self) -> dict[str, Any] | None:
        path = self.run_dir / "dynamics.npz"
        n_calls = self.calculator.stats.n_calls
        if not path.exists():
            if n_calls > 1:  # it is written with the answer of the first
                raise gone(path)
            return None
        try:
            with np.load(path, allow_pickle=False) as stored:
                state = {name: stored[name] for name in stored.files}
        except (OSError, ValueError, EOFError, BadZipFile) as error:
            raise RunDirectoryError(f"{path} is damaged: {error}") from error
        if SEAL + "md.csv" not in state:
            raise RunDirectoryError(
                f"{path} was written by another version: finish the run with that one, or begin anew"
            )
        if n_calls <= int(state["step"]):
            raise RunDirectoryError(
                f"{self.run_dir / 'steps.csv'} has {n_calls} calls, but {path.name} {state['step']} steps: it was cut"
            )
        return state

    def _set(self, state: Mapping[str, Any]) -> None:
        self.step = int(state["step"])
        self.rng.bit_generator.state = json.loads(str(state["rng"]))
        self.atoms.set_cell(state["cell"])
        self.atoms.set_positions(state["positions"], apply_constraint=False)
        self.atoms.set_momenta(state["momenta"], apply_constraint=False)
        # the answer that the next step begins with: the calculator may have been asked for the one after it already
        self.calculator.atoms = self.atoms.copy()
        self.calculator.results = {
            name[len(RESULT) :]: value.copy() if value.ndim else float(value)
            for name, value in state.items()
            if name.startswith(RESULT)
        }

    def _open(self, name: str, state: Mapping[str, Any] | None) -> SealedFile:
        """Open a file to write on, as the state left it."""
        return SealedFile(self.run_dir / name, None if state is None else str(state[SEAL + name]))

    def advance(self) -> None:
        """Make one step, and write it down."""
        self.dynamics.step()
        self.step += 1
        self._write()

    def _write(self) -> None:
        atoms = self.atoms
        potential, kinetic = atoms.get_potential_energy(), atoms.get_kinetic_energy()
        decision = self.calculator.last_decision
        row = (
            self.step,
            repr(float(potential)),
            repr(float(kinetic)),
            f"{atoms.get_temperature():.4f}",
            f"{atoms.get_volume():.6f}" if atoms.cell.rank == 3 else "",
            repr(self.calculator.switch_work),
            decision.value if decision else "",
        )
        self._rows.write(",".join(map(str, row)) + "\n")
        if self.step % self.settings.interval == 0:
            text = io.StringIO()
            ase.io.write(text, _bare(atoms), format="extxyz")
            self._frames.write(text.getvalue())
        hidden = {
            name.replace(".", "/"): np.asarray(attrgetter(name)(self.dynamics))
            for name in HIDDEN[self.settings.ensemble]
        }
        temporary = self.run_dir / "dynamics.tmp.npz"
        path = self.run_dir / "dynamics.npz"
        with writing(path):
            np.savez(
                temporary,
                allow_pickle=False,
                step=self.step,
                rng=json.dumps(self.rng.bit_generator.state),
                positions=atoms.positions,
                momenta=atoms.get_momenta(),
                cell=atoms.cell.array,
                **{RESULT + name: value for name, value in self.calculator.results.items()},
                **{SEAL + file.path.name: file.seal for file in (self._rows, self._frames)},
                **hidden,
            )
            os.replace(temporary, path)

    def __enter__(self) -> _Walker:
        return self

    def __exit__(self, *_: object) -> None:
        self._rows.close()
        self._frames.close()


def read_md(run_dir: Path) -> tuple[MDSettings, list[dict[str, str]], Atoms]:
    """Settings, rows and starting structure of a run, finished or not.

    Raises
    ------
    RunDirectoryError
        If the folder is no run of molecular dynamics.
    """
    saved, start = _read_start(run_dir)
    try:
        settings = MDSettings(**saved)
    except TypeError as error:
        raise RunDirectoryError(f"{run_dir} is damaged: {error}") from error
    if not (run_dir / "md.csv").exists():
        raise RunDirectoryError(f"{run_dir} is no run of molecular dynamics: it has no md.csv")
    return settings, read_rows(run_dir / "md.csv", sealed=False), start


def _read_start(run_dir: Path) -> tuple[dict[str, Any], Atoms]:
    """Settings and starting structure as they were written.

    Raises
    ------
    RunDirectoryError
        If the folder is no run of molecular dynamics, or one of its files is damaged.
    """
    try:
        return json.loads((run_dir / "dynamics.json").read_text()), ase.io.read(run_dir / "start.json")
    except FileNotFoundError as error:
        raise RunDirectoryError(
            f"{run_dir} is no run of molecular dynamics: it has no {error.filename}"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise RunDirectoryError(f"{run_dir} is damaged: {error}") from error
