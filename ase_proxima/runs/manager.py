"""Training beside the simulation: the frames of a run directory are the queue, its folder `models` the way back.

The manager is a process of its own, that only reads what the simulation writes. It publishes a new version by renaming
a folder and then a file; the simulation looks at that file once a call.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from ase_proxima.controllers.retraining import Retraining, RetrainingState
from ase_proxima.errors import InputError, RunDirectoryError
from ase_proxima.metrics import METRIC_UNITS, find_metric
from ase_proxima.protocols import ErrorMetric, Surrogate
from ase_proxima.runs.files import forget_version, save_version, version_folder, write_json
from ase_proxima.runs.frames import read_frames
from ase_proxima.training import refuse_in_place
from ase_proxima.types import Frame
from ase_proxima.types.identity import checksum

__all__ = ["Inbox", "Manager", "Published", "is_managed", "settings_of"]

FOLDER = "published"
"""In the folder of the models: what the manager wrote."""
NEWS = "news.json"
LOCK = "lock"
MANAGER = "manager.json"


@dataclass(frozen=True)
class Published:
    """A version that the manager has published.

    Attributes
    ----------
    number
        1 is the first.
    first, last
        It was trained on the frames from `first` to before `last`, in the order of the run.
    check
        Checksum of the last of them.
    train_s
        What the training took.
    """

    number: int
    first: int
    last: int
    check: str
    train_s: float


def is_managed(models: Path) -> bool:
    """Whether a manager is at work: it holds a lock for as long as it lives."""
    try:
        lock = _hold(models / FOLDER)
    except FileNotFoundError:
        return False
    if lock is None:
        return True
    lock.close()
    return False


def _hold(folder: Path) -> IO[str] | None:
    file = (folder / LOCK).open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file


class Inbox:
    """What the simulation sees of its manager.

    Parameters
    ----------
    models
        The folder of the models in the run directory.
    """

    def __init__(self, models: Path) -> None:
        self.folder = models / FOLDER
        self._news = str(self.folder / NEWS)
        self._seen: tuple[int, int] | None = None

    def look(self, frames: Sequence[Frame], taken: int) -> tuple[Published, Path] | None:
        """Find a version later than number `taken`, at the price of one `stat` where there is none."""
        try:
            status = os.stat(self._news)
        except FileNotFoundError:
            return None
        stamp = status.st_mtime_ns, status.st_ino
        if stamp == self._seen:
            return None
        try:
            published = Published(**json.loads(Path(self._news).read_text()))
        except (ValueError, TypeError) as error:
            raise RunDirectoryError(f"{self._news} is damaged: {error}") from error
        self._seen = stamp
        if published.number <= taken or published.last > len(frames):
            return None
        if checksum(frames[published.last - 1]) != published.check:  # the run took another way after a kill
            return None
        return published, version_folder(self.folder, published.number)


class Manager:
    """Trains the surrogate of a run, again and again.

    Parameters
    ----------
    run_dir
        Run directory, made with `training="background"`.
    surrogate
        Of the same kind and settings as the simulation's.

    Raises
    ------
    InputError
        If the run does not want it, the surrogate learns in place, or another manager is at work.
    """

    def __init__(
        self,
        run_dir: Path,
        surrogate: Surrogate,
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        settings = settings_of(run_dir)
        refuse_in_place(surrogate)
        self.run_dir, self.surrogate, self.clock = run_dir, surrogate, clock
        self._looked: tuple[float, ...] | None = None
        self.folder = run_dir / "models" / FOLDER
        self.rule = Retraining(surrogate.min_frames)
        self._metrics = _metrics_of(settings)
        self.folder.mkdir(exist_ok=True)
        lock = _hold(self.folder)
        if lock is None:
            raise InputError(f"{run_dir} has a manager already: one is enough")
        self._lock = lock
        self.state, self.number, self._fitted = self._read_state()

    def _read_state(self) -> tuple[RetrainingState, int, bool]:
        """Where an earlier manager stopped, with its model."""
        try:
            saved = json.loads((self.folder / MANAGER).read_text())
            state, number = RetrainingState(**saved["state"]), int(saved["number"])
            news = Published(**json.loads((self.folder / NEWS).read_text()))
            frames = read_frames(self.run_dir)
            self.surrogate.load(version_folder(self.folder, news.number), frames[news.first : news.last])
        except FileNotFoundError:
            return self.rule.init(), 0, False
        except (ValueError, LookupError, TypeError) as error:
            raise RunDirectoryError(f"{self.folder} is damaged: {error}") from error
        return state, max(number, news.number), True

    def step(self) -> Published | None:
        """Train and publish where that is due."""
        if self._looked is not None and self._looked == self._stamp():
            return None
        self._looked = self._stamp()
        frames = read_frames(self.run_dir)
        if not self.rule.due(self.state, len(frames)):
            return None
        error = self._held_out_error(frames[self.state.n_frames :]) if self._fitted else math.nan
        state = self.rule.observe(self.state, len(frames), error)
        first = len(frames) - self.rule.window(state, len(frames))
        start = self.clock()
        self.surrogate.fit(frames[first:])
        self._fitted = True
        published = Published(self.number + 1, first, len(frames), checksum(frames[-1]), self.clock() - start)
        self._publish(published, state)
        self.state, self.number = state, published.number
        return published

    def _stamp(self) -> tuple[float, ...]:
        """What changes with each frame."""
        files = [self.run_dir / f"frames.db{ending}" for ending in ("", "-wal")]
        return tuple(file.stat().st_mtime for file in files if file.exists())

    def _held_out_error(self, frames: Sequence[Frame]) -> float:
        """Mean over frames that the model has not seen of the largest error over its bound."""
        errors = []
        for frame in frames:
            predicted = self.surrogate.predict(frame.x).results
            ratios = [
                measure(frame.results, predicted) / (bound * (len(frame.x) if per_atom else 1))
                for measure, bound, per_atom in self._metrics
            ]
            errors += [max(ratios)] if ratios else []
        return float(np.mean(errors)) if errors else math.nan

    def _publish(self, published: Published, state: RetrainingState) -> None:
        save_version(self.folder, published.number, self.surrogate.save)
        write_json(self.folder / MANAGER, {"state": asdict(state), "number": published.number})
        write_json(self.folder / NEWS, asdict(published))
        forget_version(self.folder, published.number)

    def close(self) -> None:
        """Let another one take over."""
        self._lock.close()

    def __enter__(self) -> Manager:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def settings_of(run_dir: Path) -> dict[str, Any]:
    """Settings of a run that wants a manager.

    Raises
    ------
    InputError
        If it trains by itself, or is no run directory.
    """
    try:
        settings: dict[str, Any] = json.loads((run_dir / "state.json").read_text())["settings"]
    except (FileNotFoundError, NotADirectoryError) as error:
        raise RunDirectoryError(f"{run_dir} is not a run directory: it has no state.json") from error
    except (ValueError, LookupError, TypeError) as error:
        raise RunDirectoryError(f"{run_dir / 'state.json'} is damaged: {error}") from error
    if settings.get("training") != "background":
        raise InputError(
            f"{run_dir} trains by itself, with training={settings.get('training')!r}: a manager serves runs "
            'made with training="background"'
        )
    return settings


def _metrics_of(settings: dict[str, Any]) -> list[tuple[ErrorMetric, float, bool]]:
    """How errors are measured, their bounds, and whether these are for an atom.

    A metric of the user's own is not kept in a run directory.
    """
    bound, metric = settings["error_bound"], settings["error_metric"]
    bounds = bound if isinstance(bound, dict) else {metric: bound} if isinstance(metric, str) else {}
    return [
        (find_metric(name)[1], float(value), name == "energy_per_atom")
        for name, value in bounds.items()
        if name in METRIC_UNITS
    ]
