"""What a Monte Carlo run is made with, as its run directory keeps it, and the structures that follow from that."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ase.collections
import ase.io
import numpy as np
from ase import Atoms

from ase_proxima.apps import monte_carlo
from ase_proxima.apps.monte_carlo import ChainLog, ChainRow, Move
from ase_proxima.apps.run_folder import read_simulation
from ase_proxima.apps.structures import fixed_atoms, load_structure
from ase_proxima.errors import InputError, RunDirectoryError
from ase_proxima.executor.options import check_surrogate_name
from ase_proxima.runs.append_log import read_steps
from ase_proxima.runs.folder import refuse_other_settings
from ase_proxima.runs.shared import is_server
from ase_proxima.targets import ElectronicState, refuse_same, resolve_state, with_state

__all__ = [
    "ASKED",
    "BURN_IN",
    "STRATEGIES",
    "RunSettings",
    "asked_structures",
    "check_same",
    "make_arguments",
    "read_settings",
    "save_structure_under_way",
]

BURN_IN = "burn-in"
"""Folder, in that of an exact run, of the chain that trains its surrogate."""
ASKED = "asked.npy"
"""Positions, in Å, that an exact run asked its target for last."""
STRATEGIES = ("proxima", "published", "fixed", "baseline")


@dataclass(frozen=True)
class RunSettings:
    """What a run is made with; a run is resumed with the same.

    Attributes
    ----------
    molecule
        Name in ASE's g2 collection, or a file that ASE reads.
    temperature_K, perturb
        See `Move`.
    seed
        Of the chain and of the audits, which have a stream each.
    target
        See `parse_target`.
    strategy
        One of `STRATEGIES`.
    error_bound
        Mean error of the energy, in eV.
    threshold, retrain_interval
        Of the fixed strategy: in the unit of the Coulomb-matrix distance, and in frames.
    reference
        Run whose structures are gone through in place of a chain of its own; None for none.
    charge, multiplicity
        Of the molecule, beside what its structure and the target say, which must not contradict them; None for
        nothing.
    surrogate, prior
        Names, see `ProximaCalculator`; of the strategy proxima alone.
    share
        Where walkers share their frames: an address, or a file as seen from the run directory; None for nowhere.
    """

    molecule: str
    temperature_K: float  # noqa: N815  K is the unit
    perturb: float
    seed: int
    target: str
    strategy: str
    error_bound: float
    threshold: float = 0.3
    retrain_interval: int = 50
    reference: str | None = None
    charge: int | None = None
    multiplicity: int | None = None
    surrogate: str = "auto"
    prior: str | None = None
    share: str | None = None

    def check(self) -> None:
        """Raise an `InputError` for what can be known to be wrong before the run."""
        _ = self.move
        if self.strategy not in STRATEGIES:
            raise InputError(f"unknown strategy {self.strategy!r}: use one of {', '.join(STRATEGIES)}")
        if not 0 < self.error_bound < math.inf:
            raise InputError(f"error_bound must be a positive number, got {self.error_bound}")
        if not self.threshold >= 0:
            raise InputError(f"fixed_threshold must not be negative, got {self.threshold}")
        if not self.retrain_interval >= 1:
            raise InputError(f"a retrain interval must be at least 1, got {self.retrain_interval}")
        if not self.seed >= 0:
            raise InputError(f"the seed must not be negative, got {self.seed}")
        check_surrogate_name(self.surrogate)
        if self.strategy != "proxima" and (self.surrogate != "auto" or self.prior is not None):
            raise InputError(
                f"a surrogate or prior of one's own goes with the strategy proxima, got {self.strategy!r}: leave them "
                "out, or choose proxima"
            )
        if self.prior is not None:
            refuse_same(self.target, self.prior)
        if self.share is not None and self.strategy == "baseline":
            raise InputError("the strategy baseline learns nothing that walkers could share: leave share out")
        structure = self.structure()
        if self.reference is not None:
            other = read_settings(Path(self.reference)).structure()
            if _species_and_state(other) != _species_and_state(structure):
                raise InputError(
                    f"{self.reference} was made with {other.get_chemical_formula()}, {resolve_state(other)}, not with "
                    f"{structure.get_chemical_formula()}, {resolve_state(structure)}: ask for the same --molecule, "
                    "--charge and --multiplicity"
                )

    def structure(self) -> Atoms:
        """Return the structure at the start, with the charge and the multiplicity asked for in its `info`.

        Raises
        ------
        InputError
            If there is none, or it cannot have them.
        """
        atoms = load_structure(self.molecule)
        if self.charge and self.molecule in ase.collections.g2.names:
            atoms.set_initial_magnetic_moments(None)  # the collection's are those of the neutral molecule
        return with_state(atoms, self.charge, self.multiplicity, said_by="the command line")

    def shared_in(self, run_dir: Path) -> str | Path | None:
        """Address, or file, of the frames that a run in `run_dir` shares."""
        return self.share if self.share is None or is_server(self.share) else run_dir / self.share

    @property
    def move(self) -> Move:
        """How the chain moves."""
        return Move(self.temperature_K, self.perturb, fixed_atoms(self.structure()))

    def chain_rng(self) -> np.random.Generator:
        """Generator of the chain, at its start."""
        return np.random.default_rng([self.seed, 1])


def make_arguments(settings: RunSettings) -> dict[str, Any]:
    """Arguments of `ProximaCalculator` for a strategy."""
    common = {"error_bound": settings.error_bound, "error_metric": "energy", "seed": settings.seed}
    published = {"surrogate": "soap_ridge", "uncertainty": "coulomb", "properties": ("energy",)}
    if settings.strategy == "published":
        return {**common, **published, "controller": "linear", "training": "lazy"}
    if settings.strategy == "fixed":
        controller = f"fixed:{settings.threshold!r}"
        return {**common, **published, "controller": controller, "training": settings.retrain_interval}
    if settings.strategy == "baseline":
        return {**common, "controller": "baseline", "properties": ("energy",)}
    return {**common, "surrogate": settings.surrogate, "prior": settings.prior}


def asked_structures(run_dir: Path) -> Iterator[tuple[ChainRow, Atoms, monte_carlo.Positions]]:
    """Structures whose energies a run asked for, made again from its seed and its decisions.

    Yields
    ------
    row : ChainRow
    atoms : Atoms
        The structure asked for.
    positions : array, shape (n_atoms, 3)
        Where the chain stood after the step, in Å.

    Raises
    ------
    RunDirectoryError
        If the folder is no Monte Carlo run, or its structures cannot be made again.
    """
    settings = read_settings(run_dir)
    if settings.reference is not None:
        yield from asked_structures(Path(settings.reference))
        return
    rows = ChainLog.read(run_dir)
    start = settings.structure()
    replayed = monte_carlo.replay(start.positions, settings.move, settings.chain_rng(), rows)
    for row, (asked, state) in zip(rows, replayed, strict=True):
        atoms = start.copy()
        atoms.positions = asked
        yield row, atoms, state.positions


def save_structure_under_way(run_dir: Path) -> Path:
    """Write the structure whose energy a run was about to ask for when its process died, and return the file.

    It is made again from the seed and the rows of the chain, so that nothing has to be written before each call; what
    an exact run asks for is written, as it follows from the surrogate too.

    Raises
    ------
    RunDirectoryError
        If the folder is no Monte Carlo run of a chain of its own.
    """
    if (run_dir / BURN_IN).is_dir():
        atoms = read_settings(run_dir / BURN_IN).structure()
        if not (run_dir / ASKED).exists():
            return save_structure_under_way(run_dir / BURN_IN)
        atoms.positions = np.load(run_dir / ASKED)
        return _write_failed(
            run_dir, atoms, len(read_steps(run_dir)) if (run_dir / "steps.csv").exists() else 0
        )
    settings = read_settings(run_dir)
    if settings.reference is not None:
        raise RunDirectoryError(f"{run_dir} follows {settings.reference}: the structures are there")
    rows = ChainLog.read(run_dir) if (run_dir / "chain.csv").exists() else []
    atoms, rng = settings.structure(), settings.chain_rng()
    if rows:
        *_, (_, state) = monte_carlo.replay(atoms.positions, settings.move, rng, rows)
        atoms.positions, _ = monte_carlo.propose(state, rng, settings.move)
    return _write_failed(run_dir, atoms, len(rows))


def _write_failed(run_dir: Path, atoms: Atoms, call: int) -> Path:
    place = run_dir / "failed" / f"call-{call:06d}.xyz"
    place.parent.mkdir(exist_ok=True)
    ase.io.write(place, atoms, format="extxyz")
    return place


def read_settings(run_dir: Path) -> RunSettings:
    """Settings of a run.

    Raises
    ------
    RunDirectoryError
        If the folder is no Monte Carlo run.
    """
    settings = read_simulation(
        run_dir, lambda saved: None if "exact" in saved else RunSettings(**saved["monte_carlo"])
    )
    if settings is None:
        raise RunDirectoryError(
            f"{run_dir} was made with --exact: only {run_dir / 'burn-in'} is a chain to follow"
        )
    return settings


def check_same(settings: RunSettings, run_dir: Path) -> None:
    """Raise a `RunDirectoryError` that names the first setting in which a run differs."""
    refuse_other_settings(asdict(read_settings(run_dir)), asdict(settings), run_dir)


def _species_and_state(atoms: Atoms) -> tuple[list[int], ElectronicState]:
    return atoms.numbers.tolist(), resolve_state(atoms)
