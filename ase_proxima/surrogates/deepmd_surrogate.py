"""A committee of DeePMD-kit models that learns from a run's own frames."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any

from ase_proxima.errors import InputError
from ase_proxima.surrogates.committee import Committee
from ase_proxima.surrogates.deepmd import MODELS, check_installed, import_deepmd, load_committee
from ase_proxima.surrogates.deepmd_training import TrainingPlan, train_committee
from ase_proxima.types import Frame, Prediction

__all__ = ["DeepMD"]


class DeepMD:
    """DeePMD-kit models of different seeds, trained afresh on the frames of the run at each `fit`.

    A training takes minutes: use it with `training="background"` and `proxima manage`, or with a number of frames
    between trainings. For models that were trained before, see `Committee`.

    Parameters
    ----------
    n_models, n_steps
        Models, and training steps of each.
    net
        "small" (cutoff 5 Å) or "large" (6 Å).
    seed
        Of the first model; the others count on from it.
    min_frames
        Frames before which nothing is trained.

    Raises
    ------
    InputError
        If a parameter is out of its range, or DeePMD-kit with TensorFlow is not installed.

    References
    ----------
    Wang, Zhang, Han, E, Comput. Phys. Commun. 228, 178 (2018).
    """

    incremental = False
    trains_for_minutes = True
    usual_uncertainty = "ensemble"
    properties = ("energy", "forces", "stress")

    def __init__(
        self,
        *,
        n_models: int = 3,
        n_steps: int = 1000,
        net: str = "small",
        seed: int = 1,
        min_frames: int = 40,
    ) -> None:
        self._plan = TrainingPlan(n_models, n_steps, net, seed)
        self._plan.check()
        if not min_frames >= 1:
            raise InputError(f"min_frames must be at least 1, got {min_frames}")
        check_installed()
        self.min_frames = min_frames
        self._models: dict[str, bytes] = {}
        self._committee: Committee | None = None

    def get_ready(self) -> None:
        """Begin to import TensorFlow beside what else is done, so that the first version is not waited for."""
        Thread(target=_import_tensorflow, name="import of TensorFlow").start()

    def fit(self, frames: Sequence[Frame]) -> None:
        """Train on all frames but the latest fifth, which is held out."""
        with TemporaryDirectory() as folder:
            models = Path(folder) / "models"
            train_committee(frames, models, self._plan)
            self._take(models)

    def predict(self, x: Any) -> Prediction:
        """Mean and standard deviation over the models, see `Committee`."""
        if self._committee is None:
            raise InputError("this surrogate has not been trained: fit it, or load a version")
        return self._committee.predict(x)

    def save(self, folder: Path) -> None:
        """Write the models."""
        for name, model in self._models.items():
            (folder / name).write_bytes(model)

    def load(self, folder: Path, frames: Sequence[Frame]) -> None:  # noqa: ARG002
        """Read them."""
        self._take(folder)

    def _take(self, folder: Path) -> None:
        self._committee = load_committee(folder)
        self._models = {path.name: path.read_bytes() for path in sorted(folder.glob(MODELS))}

    def __repr__(self) -> str:
        return f"DeepMD({self._plan})"


def _import_tensorflow() -> None:
    """What the first model of a process is loaded with; `import_deepmd` leaves it for then."""
    import_deepmd()
    import_module("deepmd.tf.infer")
