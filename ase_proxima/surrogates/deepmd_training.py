"""Committees of DeePMD-kit models, trained on the frames of a run."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ase_proxima.errors import InputError, ProximaError
from ase_proxima.surrogates.deepmd_worker import CURVE, INPUT, MODEL, PLAN, SCORES
from ase_proxima.types import Frame

__all__ = ["NETS", "TrainingPlan", "export_frames", "read_curve", "train_committee"]


@dataclass(frozen=True)
class Net:
    """Sizes of a network: cutoff in Å, layers of the embedding, its axis, layers of the fit."""

    cutoff: float
    embedding: tuple[int, ...]
    axis: int
    fitting: tuple[int, ...]


NETS = {
    "small": Net(5.0, (10, 20, 40), 4, (32, 32, 32)),
    "large": Net(6.0, (16, 32, 64), 8, (64, 64, 64)),
}
"""Measured on aluminium: a call at 108, 256, 512 atoms takes 4, 8, 16 ms on one core (small), 9, 19, 42 (large)."""

# Of the training.
HELD_OUT = 0.2
"""Share of the frames, the latest of each composition, that are not trained on."""
LEAST_FRAMES = 5
"""From which a share can be held out."""
N_MARKS = 20
"""Points of the learning curve, and checkpoints, in a training."""
START_RATE, STOP_RATE = 5e-3, 1e-5
"""Learning rates at the ends: small networks and short trainings bear a higher first rate than the usual 1e-3."""
PREFACTORS = {
    "start_pref_e": 0.02,
    "limit_pref_e": 1.0,
    "start_pref_f": 1000.0,
    "limit_pref_f": 1.0,
    "start_pref_v": 0.0,
    "limit_pref_v": 0.1,
}
"""Weights of energy, force and virial at both ends, DeePMD-kit's usual ones."""
POLL_S = 0.5
LAST_LINES = 3
"""Of a failed program's output, that are told."""


@dataclass(frozen=True)
class TrainingPlan:
    """What a committee is trained with.

    Attributes
    ----------
    n_models, n_steps
        Models, which differ in their seeds alone, and steps of each; the latter is rounded up to a multiple of
        the distance between two checkpoints, without which DeePMD-kit leaves no model.
    net
        One of `NETS`.
    seed
        Of the first model.
    """

    n_models: int = 3
    n_steps: int = 2000
    net: str = "small"
    seed: int = 1

    def check(self) -> None:
        """Raise an `InputError` for what is wrong."""
        if not self.n_models >= 2:
            raise InputError(f"a committee needs at least 2 models, got {self.n_models}")
        if not self.n_steps >= 1 or not self.seed >= 0:
            raise InputError(
                f"steps must be at least 1 and the seed not negative, got {self.n_steps}, {self.seed}"
            )
        if self.net not in NETS:
            raise InputError(f"unknown net {self.net!r}: use one of {', '.join(NETS)}")

    @property
    def mark(self) -> int:
        """Steps between two checkpoints."""
        return max(self.n_steps // N_MARKS, 1)

    @property
    def rounded_steps(self) -> int:
        """Steps of each model.

        Examples
        --------
        >>> TrainingPlan(n_steps=1013).rounded_steps
        1050
        """
        return self.mark * math.ceil(self.n_steps / self.mark)


def export_frames(frames: Sequence[Frame], folder: Path) -> tuple[list[str], list[str], list[str]]:
    """Write frames as DeePMD-kit reads them: energies, forces and virials, split by time.

    Parameters
    ----------
    frames
        With energy and forces; where all have a stress, the virial `-stress * volume` is written too.
    folder
        Gets a folder a composition under `train` and `held_out`.

    Returns
    -------
    train, held_out : list of str
        Folders of the systems.
    species : list of str
        Chemical symbols, in the order of their types.

    Raises
    ------
    InputError
        If there are too few frames, or they lack energy or forces.
    """
    groups: dict[tuple[Any, ...], list[Frame]] = {}
    for frame in frames:
        if not {"energy", "forces"} <= set(frame.results):
            raise InputError(
                "DeePMD-kit learns energies and forces, but a frame of the run lacks one of them"
            )
        key = (tuple(frame.x.numbers), bool(frame.x.pbc.any()), "stress" in frame.results)
        groups.setdefault(key, []).append(frame)
    if max((len(group) for group in groups.values()), default=0) < LEAST_FRAMES:
        raise InputError(
            f"training needs at least {LEAST_FRAMES} frames of one composition, got {len(frames)} in all: "
            "let the run go on, or take one of the strategy baseline"
        )
    species = sorted({symbol for frame in frames for symbol in frame.x.get_chemical_symbols()})
    train: list[str] = []
    held_out: list[str] = []
    for i, group in enumerate(groups.values()):
        n_train = len(group) - (math.ceil(HELD_OUT * len(group)) if len(group) >= LEAST_FRAMES else 0)
        for part, chosen, systems in (
            ("train", group[:n_train], train),
            ("held_out", group[n_train:], held_out),
        ):
            if chosen:
                systems.append(str(_write_system(chosen, species, folder / part / f"{i:03d}")))
    return train, held_out, species


def _write_system(frames: Sequence[Frame], species: Sequence[str], folder: Path) -> Path:
    """Write frames of one composition as a system of DeePMD-kit."""
    inside = folder / "set.000"
    inside.mkdir(parents=True, exist_ok=True)
    first = frames[0].x
    (folder / "type.raw").write_text(
        "\n".join(str(species.index(symbol)) for symbol in first.get_chemical_symbols()) + "\n"
    )
    (folder / "type_map.raw").write_text("\n".join(species) + "\n")
    if not first.pbc.any():
        (folder / "nopbc").touch()
    n = len(frames)
    np.save(inside / "coord.npy", np.array([frame.x.positions.ravel() for frame in frames]))
    np.save(inside / "box.npy", np.array([frame.x.cell.array.ravel() for frame in frames]))
    np.save(inside / "energy.npy", np.array([float(frame.results["energy"]) for frame in frames]))
    np.save(inside / "force.npy", np.array([frame.results["forces"] for frame in frames]).reshape(n, -1))
    if first.pbc.all() and all("stress" in frame.results for frame in frames):
        np.save(inside / "virial.npy", np.array([_virial(frame) for frame in frames]))
    return folder


def _virial(frame: Frame) -> np.ndarray:
    """Virial in eV, shape (9,), from a stress in eV/Å^3 in the order xx yy zz yz xz xy."""
    stress = np.asarray(frame.results["stress"], float)
    full = stress[[0, 5, 4, 5, 1, 3, 4, 3, 2]]
    return np.asarray(-full * frame.x.get_volume())


def _input(
    plan: TrainingPlan, index: int, train: list[str], held_out: list[str], species: list[str]
) -> dict[str, Any]:
    """DeePMD-kit's input of one model."""
    net, seed = NETS[plan.net], plan.seed + index
    has_virial = all((Path(system) / "set.000" / "virial.npy").exists() for system in train)
    weights = {k: v for k, v in PREFACTORS.items() if has_virial or not k.endswith("_v")}
    return {
        "model": {
            "type_map": species,
            "descriptor": {
                "type": "se_e2_a",
                "rcut": net.cutoff,
                "rcut_smth": 0.6 * net.cutoff,
                "sel": "auto",
                "neuron": list(net.embedding),
                "axis_neuron": net.axis,
                "seed": seed,
            },
            "fitting_net": {"neuron": list(net.fitting), "seed": seed},
        },
        "learning_rate": {
            "type": "exp",
            "start_lr": START_RATE,
            "stop_lr": STOP_RATE,
            "decay_steps": max(plan.rounded_steps // 100, 1),
        },
        "loss": {"type": "ener", **weights},
        "training": {
            "training_data": {"systems": train, "batch_size": 1},
            "validation_data": {"systems": held_out or train, "batch_size": 1},
            "numb_steps": plan.rounded_steps,
            "seed": seed,
            "disp_file": CURVE,
            "disp_freq": plan.mark,
            "save_freq": plan.mark,
        },
    }


def train_committee(
    frames: Sequence[Frame],
    folder: Path,
    plan: TrainingPlan,
    *,
    resume: bool = False,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Any]:
    """Train models that differ in their seeds, freeze and compress them, and score them on frames held out.

    All of it is done by one process: each start of DeePMD-kit takes some 10 s.

    Parameters
    ----------
    frames
        In the order of the run; the latest fifth is held out.
    folder
        Gets `model-0.pb` and so on, the compressed models, `training.json`, the learning curves and a log.
    resume
        Whether to go on with a training that was cut, from its latest checkpoints.
    on_progress
        Called with what is being done, steps done and steps in all.

    Returns
    -------
    dict
        The plan, `n_train`, `n_held_out`, and under `models` a row each: `energy_rmse` (eV an atom) and `force_rmse`
        (eV/Å per component) on the frames held out.

    Raises
    ------
    InputError
        If there are too few frames, or the folder holds another training.
    ProximaError
        If DeePMD-kit fails; the message has the end of its output.
    """
    plan.check()
    saved = folder / "training.json"
    settings = json.loads(json.dumps({"plan": asdict(plan), "n_frames": len(frames)}))
    if folder.exists() and any(folder.iterdir()):
        if not resume:
            raise InputError(f"{folder} exists already: add --resume, or choose another --out")
        if not saved.exists() or json.loads(saved.read_text()) != settings:
            raise InputError(
                f"{folder} was made from other frames or settings: choose another --out, or give the same"
            )
    train, held_out, species = export_frames(frames, (folder / "data").absolute())
    places = [(folder / f"training-{i}").absolute() for i in range(plan.n_models)]
    for i, place in enumerate(places):
        place.mkdir(parents=True, exist_ok=True)
        (place / INPUT).write_text(json.dumps(_input(plan, i, train, held_out, species), indent=1))
    saved.write_text(json.dumps(settings))
    (folder / PLAN).write_text(
        json.dumps(
            {
                "folders": [str(place) for place in places],
                "models": [str((folder / MODEL.format(i)).absolute()) for i in range(plan.n_models)],
                "held_out": held_out or train,
            }
        )
    )
    _run_worker(folder, places, plan, on_progress)
    scores = json.loads((folder / SCORES).read_text())
    return {
        **asdict(plan),
        "n_steps": plan.rounded_steps,
        "n_train": _count(train),
        "n_held_out": _count(held_out),
        "models": scores,
    }


def _count(systems: Sequence[str]) -> int:
    return sum(len(np.load(Path(system) / "set.000" / "energy.npy")) for system in systems)


def _run_worker(
    folder: Path,
    places: Sequence[Path],
    plan: TrainingPlan,
    on_progress: Callable[[str, int, int], None] | None,
) -> None:
    """Run the worker, watching the learning curves grow."""
    environment = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": "0", "TF_CPP_MIN_LOG_LEVEL": "3"}
    total = plan.n_models * plan.rounded_steps
    command = [sys.executable, "-m", "ase_proxima.surrogates.deepmd_worker", str(folder / PLAN)]
    log = folder / "training.log"
    with log.open("w") as output:
        process = subprocess.Popen(  # noqa: S603  our own module
            command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=environment
        )
        try:
            while process.poll() is None:
                time.sleep(POLL_S)
                if on_progress:
                    curves = [read_curve(place) for place in places]
                    done = int(sum(curve[-1, 0] for curve in curves if len(curve)))
                    doing = sum(len(curve) > 0 for curve in curves)
                    on_progress(f"model {max(doing, 1)} of {plan.n_models}", done, total)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    if process.returncode:
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
        raise ProximaError(f"DeePMD-kit failed, see {log}: {' | '.join(lines[-LAST_LINES:])}")


def read_curve(place: Path) -> np.ndarray:
    """Learning curve of a model: step, and RMSE of the forces on frames held out and trained on, eV/Å.

    Returns
    -------
    array, shape (n, 3)
        Empty before the first point.
    """
    file = place / CURVE
    if not file.exists():
        return np.empty((0, 3))
    names: list[str] = []
    rows = []
    for line in file.read_text().splitlines():
        words = line.split()
        if line.startswith("#") and "step" in words:
            names = words[1:]
        elif names and len(words) == len(names):
            values = dict(zip(names, words, strict=True))
            train = values.get("rmse_f_trn", values.get("rmse_f", "nan"))
            rows.append((float(values["step"]), float(values.get("rmse_f_val", "nan")), float(train)))
    return np.array(rows) if rows else np.empty((0, 3))
