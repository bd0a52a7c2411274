"""A run directory: all that a run learned, written so that it survives the process."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from ase_proxima.errors import InputError, RunDirectoryError
from ase_proxima.protocols import Surrogate
from ase_proxima.runs.append_log import DAMAGE, AppendLog, cut_rows, read_rows
from ase_proxima.runs.files import fingerprint_of, forget_version, save_version, version_folder, write_json
from ase_proxima.runs.folder import connect, discard_unstarted, lock, writing
from ase_proxima.runs.frames import electronic_info, frame_of
from ase_proxima.runs.manager import Inbox, is_managed
from ase_proxima.runs.memory_store import write_failed
from ase_proxima.runs.sealed import gone, not_as_written, seal_of
from ase_proxima.runs.shared import FOREIGN, SharedFrames, is_server, with_results
from ase_proxima.types import Decision, Frame, Results
from ase_proxima.types.identity import (
    checksum,
    electronic_state,
    fingerprint,
    same_input,
)

__all__ = ["RunDirectory"]

FORMAT = 5
"""Version of what is written; others are refused."""


class RunDirectory:
    """A folder with everything that one run writes, enough to resume it and to report on it.

    Attributes
    ----------
    path : Path
    frames : list of Frame
        Target results up to the latest checkpoint.
    settings : dict
        What the run was made with.
    state : dict or None
        The latest checkpoint; None before the first.
    target : dict
        Name and parameters of the target, and `electronic_state`, as the first frame has it.
    rows : list of dict
        Rows of the calls after the latest checkpoint, on opening.
    share : dict or None
        `place` of the frames that it shares with other walkers, a file as seen from the run directory, and its name
        as a `writer` there.
    """

    def __init__(
        self,
        path: Path,
        settings: Mapping[str, Any],
        target: Mapping[str, Any],
        state: Mapping[str, Any] | None,
        share: Mapping[str, str] | None = None,
    ) -> None:
        self.path = path
        self.share = None if share is None else dict(share)
        self.owner: tuple[int, int] | None = (os.getpid(), threading.get_ident())
        self.settings = dict(settings)
        self.target = dict(target)
        self.state = state
        self.frames: list[Frame] = []
        self.rows: list[dict[str, str]] = []
        self._pending: dict[int, tuple[int, Frame]] = {}
        self._steps = AppendLog(path / "steps.csv")
        self._model_seal = ""
        self._shared: SharedFrames | None = None
        self._inbox = Inbox(path / "models")
        self._database: Any = None
        self._lock: IO[str] | None = None

    def _begin(self, load: Callable[[RunDirectory], None]) -> RunDirectory:
        """Take the folder and `load` what is in it; where it cannot be used, an interrupt included, leave no lock."""
        try:
            self._lock = lock(self.path)
            database = self.path / "frames.db"
            if self.state is not None and not database.exists():
                raise gone(database)
            self._database = connect(database)
            load(self)
            return self
        except BaseException:
            self.close()
            raise

    @classmethod
    def create(
        cls,
        path: str | Path,
        settings: Mapping[str, Any],
        target: Mapping[str, Any] | None = None,
        share: str | Path | None = None,
    ) -> RunDirectory:
        """Make a new run directory.

        Parameters
        ----------
        path, settings, target
            See the class.
        share
            File or address of the frames that it shares with other walkers.

        Raises
        ------
        RunDirectoryError
            If the folder holds anything already.
        """
        path = Path(path)
        if path.exists() and not (path.is_dir() and discard_unstarted(path)):
            raise RunDirectoryError(f"{path} exists already: resume it, or choose another run directory")
        try:
            (path / "models").mkdir(parents=True, exist_ok=True)
            shared = None
            if share is not None:
                place = str(share) if is_server(str(share)) else os.path.relpath(share, path)
                shared = {"place": place, "writer": f"w{uuid.uuid4().hex}"}
            run = cls(path, settings, target or {}, None, shared)
            run._write_state()
        except OSError as error:
            raise RunDirectoryError(f"cannot make the run directory {path}: {error}") from error
        return run._begin(lambda run: run._join(0))

    def _join(self, read_to: int) -> None:
        """Meet the other walkers, where there are some, after row `read_to` of their frames."""
        if self.share is None:
            return
        place = self.share["place"]
        place = place if is_server(place) else str(self.path / place)
        kind = {
            "the target": {name: self.target.get(name) for name in ("name", "parameters")},
            "the properties": self.settings.get("properties"),
        }
        self._shared = SharedFrames(place, self.share["writer"], kind, read_to)

    @classmethod
    def open(cls, path: str | Path) -> RunDirectory:
        """Open an existing run directory, to go on with it.

        Raises
        ------
        RunDirectoryError
            If it is not a run directory, is damaged, or is in use by another process.
        """
        path = Path(path)
        try:
            saved = json.loads((path / "state.json").read_text())
            version = saved.get("format", 1)
            if version != FORMAT:
                raise RunDirectoryError(
                    f"{path} was written in format {version}, this version goes on with format {FORMAT}: finish it "
                    "with the version that began it, or begin a new one"
                )
            settings, target, state = dict(saved["settings"]), dict(saved["target"]), saved["run"]
            share, model_seal = saved["share"], saved["model"]
            if saved.pop("seal") != seal_of(saved):
                raise not_as_written(path / "state.json", "a value has changed")
        except (FileNotFoundError, NotADirectoryError) as error:
            raise RunDirectoryError(f"{path} is not a run directory: it has no state.json") from error
        except RunDirectoryError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunDirectoryError(f"{path / 'state.json'} is damaged: {error}") from error
        run = cls(path, settings, target, state, share)
        run._model_seal = model_seal
        return run._begin(RunDirectory._load)

    def _load(self) -> None:
        """Read what the run left, and meet the other walkers."""
        try:
            rows = read_rows(self.path / "steps.csv")
            self._check_model()
            self._join(self._load_frames(rows))
            self._load_rows(rows)
        except (InputError, RunDirectoryError):
            raise
        except (OSError, sqlite3.Error, *DAMAGE) as error:
            raise RunDirectoryError(f"{self.path} is damaged: {type(error).__name__}: {error}") from error

    def _check_model(self) -> None:
        """See that the version of the model is the one that the checkpoint knows."""
        version = self.state["counts"]["model_version"] if self.state else 0
        if version and fingerprint_of(self.model_folder(version)) != self._model_seal:
            raise not_as_written(self.model_folder(version), "it is not the model of the checkpoint")

    def _load_frames(self, rows: Sequence[Mapping[str, str]]) -> int:
        """Read the frames, and see that none has changed since it was written.

        Charge, spin and multiplicity, which the database does not keep, are those of the run.  Those of other walkers
        that came after the latest checkpoint are left out: they come again.  Returns the row of the last that stays.
        """
        read_to = 0
        come_again = []
        n_frames = self.state["n_frames"] if self.state else 0
        info = electronic_info(self.target.get("electronic_state", {}))
        for row in self._database.select(sort="id"):
            frame = frame_of(row, info, row.step)
            is_call = 0 <= frame.step < len(rows)
            found = fingerprint(frame.x)
            written = rows[frame.step]["structure"] if is_call else found
            if checksum(frame) != row.key_value_pairs.get("checksum") or found != written:
                raise not_as_written(self.path / "frames.db", f"the frame of call {frame.step} is another")
            if len(self.frames) < n_frames:
                self.frames.append(frame)
                read_to = row.key_value_pairs.get("shared_row", read_to)
            elif frame.step == FOREIGN:
                come_again.append(row.id)
            else:
                self._pending[frame.step] = (row.id, frame)
        if len(self.frames) < n_frames:
            raise RunDirectoryError(
                f"{self.path / 'frames.db'} has {len(self.frames)} frames, state.json counts {n_frames}"
            )
        if come_again:
            self._database.delete(come_again)
            self._database.connection.commit()
        return read_to

    def _load_rows(self, rows: Sequence[dict[str, str]]) -> None:
        """Keep the rows from which the run goes on, and cut off what was written after them."""
        steps = self.path / "steps.csv"
        n_calls = self.state["counts"]["n_calls"] if self.state else 0
        version = self.state["counts"]["model_version"] if self.state else 0
        if n_calls and not steps.exists():
            raise gone(steps)
        if len(rows) < n_calls:
            raise RunDirectoryError(
                f"{steps} has {len(rows)} rows, state.json counts {n_calls} calls: it was cut"
            )
        for row in rows[n_calls:]:
            if row["decision"] != Decision.SURROGATE.value or int(row["model_version"]) != version:
                break
            self.rows.append(row)
        cut_rows(steps, n_calls + len(self.rows))

    def known(self, step: int, x: Any) -> Results | None:
        """Results for this call and structure that were stored after the latest checkpoint."""
        _, frame = self._pending.get(step, (0, None))
        return frame.results if frame is not None and same_input(frame.x, x) else None

    def published(self, taken: int) -> tuple[int, int, int, Path] | None:
        """Find a version that the manager published after number `taken`, at the price of one `stat`."""
        found = self._inbox.look(self.frames, taken)
        if found is None:
            return None
        return found[0].number, found[0].first, found[0].last, found[1]

    @property
    def is_managed(self) -> bool:
        """Whether a manager is at work."""
        return is_managed(self.path / "models")

    def foreign(self, x: Any) -> list[Frame]:
        """Add what other walkers have paid for since the last call to the database, and return it."""
        news = [] if self._shared is None else self._shared.news(x)
        if news:
            with self._committing():
                for row, frame in news:
                    self._insert(frame, {"shared_row": row})
            self.frames += [frame for _, frame in news]
        return [frame for _, frame in news]

    def append(self, frame: Frame, record: Mapping[str, Any]) -> None:
        """Add a frame to the database, with the numbers and words of its call, or nothing of it."""
        self.frames.append(frame)
        with self._committing():
            self._write_frame(frame, record)
        if self._shared is not None:
            self._shared.add(frame)

    @contextmanager
    def _committing(self) -> Iterator[None]:
        with writing(self.path / "frames.db"):
            try:
                yield
                self._database.connection.commit()
            except BaseException:  # an interrupt too leaves no half of a frame to be committed later
                self._database.connection.rollback()
                raise

    def _write_frame(self, frame: Frame, record: Mapping[str, Any]) -> None:
        if self.known(frame.step, frame.x) is not None:
            row, _ = self._pending.pop(frame.step)
            if self._shared is None:
                return
            self._database.delete([row])  # frames of others may have come before it this time
        elif self._pending:  # the run took another way than the process that paid for these
            self._database.delete([row for row, _ in self._pending.values()])
            self._pending.clear()
        self._insert(frame, record)

    def _insert(self, frame: Frame, record: Mapping[str, Any]) -> None:
        known = {
            name: value
            for name, value in record.items()
            # The fingerprint may be all digits, and ASE refuses text that reads as a number.
            if name != "structure"
            and (isinstance(value, (int, str)) or (isinstance(value, float) and np.isfinite(value)))
        }
        known |= {"step": frame.step, "checksum": checksum(frame)}
        self._database.write(with_results(frame), key_value_pairs=known)

    def log(self, row: Mapping[str, Any]) -> None:
        """Add the row of one call to steps.csv."""
        with writing(self._steps.path):
            self._steps.append(row)

    def save_model(self, version: int, surrogate: Surrogate) -> None:
        """Write a version of the surrogate, and forget the versions that no resume can need."""
        with writing(self.model_folder(version)):
            save_version(self.path / "models", version, surrogate.save)
            self._model_seal = fingerprint_of(self.model_folder(version))
        forget_version(self.path / "models", version)

    def model_folder(self, version: int) -> Path:
        """Folder of a kept version."""
        return version_folder(self.path / "models", version)

    def save_state(self, state: Mapping[str, Any] | None) -> None:
        """Replace the checkpoint.

        Raises
        ------
        RunDirectoryError
            If the run is closed.
        """
        if self.is_closed:
            raise RunDirectoryError(f"{self.path} is closed: go on with it by ProximaCalculator.resume")
        self.state = state
        if self.frames:
            self.target.setdefault("electronic_state", electronic_state(self.frames[0].x))
        with writing(self.path / "state.json"):
            self._steps.sync()
            self._write_state()

    def _write_state(self) -> None:
        saved = {
            "format": FORMAT,
            "settings": self.settings,
            "target": self.target,
            "share": self.share,
            "model": self._model_seal,
            "run": self.state,
        }
        write_json(self.path / "state.json", {**saved, "seal": seal_of(saved)})

    def check_target(self, target: Mapping[str, Any]) -> None:
        """Raise a `RunDirectoryError` where a target is not that of the run, by its name and parameters."""
        for name, value in target.items():
            if self.target.get(name) != value:
                raise RunDirectoryError(
                    f"{self.path} was made with a target of the {name} {self.target.get(name)!r}, now it is {value!r}: "
                    "resume with the same target, or choose another run directory"
                )

    def save_failed(self, step: int, x: Any) -> str:
        """Write a structure on which the target failed."""
        folder = self.path / "failed"
        with writing(folder):
            folder.mkdir(exist_ok=True)
            return write_failed(folder, step, x)

    @property
    def is_closed(self) -> bool:
        """Whether the files were released."""
        return self._lock is None or self._lock.closed

    def close(self) -> None:
        """Release the files; closing twice does nothing."""
        if self._lock is None or self.is_closed:
            return
        self._steps.close()
        if self._database is not None:
            self._database.connection.close()  # what was not committed is half of something
            self._database.connection = None
        if self._shared is not None:
            self._shared.close()
        self._lock.close()

    def __enter__(self) -> RunDirectory:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
