"""What a run directory says, read without disturbing the run that may still be writing to it."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ase_proxima.errors import RunDirectoryError
from ase_proxima.metrics import METRIC_UNITS
from ase_proxima.runs.append_log import whole_lines
from ase_proxima.types import Decision

__all__ = [
    "TIMES",
    "BoundData",
    "ChainData",
    "RunData",
    "read_run",
]

TIMES = ("time_target", "time_surrogate", "time_uncertainty", "time_training", "time_decision")

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class BoundData:
    """What concerns one error bound; arrays of shape (n_calls,), NaN where there was no value.

    Attributes
    ----------
    metric
        Name of the error metric.
    bound
        In its unit; NaN where the run directory does not say.
    uncertainty, threshold, alpha, error
        As they were at each call.
    """

    metric: str
    bound: float
    uncertainty: Floats
    threshold: Floats
    alpha: Floats
    error: Floats

    @property
    def unit(self) -> str:
        """Unit of the error; empty for a metric of the user's own."""
        return METRIC_UNITS.get(self.metric, "")


@dataclass(frozen=True, eq=False)
class ChainData:
    """Steps of a Monte Carlo run; arrays of shape (n_steps + 1,), the initial structure first.

    Attributes
    ----------
    proposed_energy, energy
        Of the structure asked for, and of that where the chain stands after the step, in eV.
    accepted
        Whether the chain moved.
    radius_of_gyration
        Of the chain's structure, in Å.
    """

    step: NDArray[np.int64]
    proposed_energy: Floats
    accepted: Bools
    energy: Floats
    radius_of_gyration: Floats


@dataclass(frozen=True, eq=False)
class RunData:
    """A run directory in memory; arrays of shape (n_calls,), times in s.

    Attributes
    ----------
    settings, state
        What the run was made with and its latest checkpoint, None before the first, as in state.json.
    simulation, summary
        Contents of simulation.json and summary.json; None where there is none.
    structures
        Fingerprint of the input of each call.
    target, audit, surrogate
        Whether the call was flagged, audited, or answered by the surrogate.
    distance
        How far the input lay from those that the target had answered; NaN where the run knows none.
    errors
        Errors seen, by metric: of the bounds, of those that they imply, and of what is only watched; NaN where a call
        saw none.
    chain
        Steps of a Monte Carlo run; None for other runs.
    """

    path: Path
    settings: Mapping[str, Any]
    state: Mapping[str, Any] | None
    simulation: Mapping[str, Any] | None
    summary: Mapping[str, Any] | None
    step: NDArray[np.int64]
    structures: tuple[str, ...]
    model_version: NDArray[np.int64]
    target: Bools
    audit: Bools
    surrogate: Bools
    audit_probability: Floats
    distance: Floats
    times: Mapping[str, Floats]
    bounds: tuple[BoundData, ...]
    errors: Mapping[str, Floats]
    chain: ChainData | None

    @property
    def n_calls(self) -> int:
        """Number of calls written so far."""
        return len(self.step)

    @property
    def trusted(self) -> Bools:
        """Whether the surrogate was trusted, audited calls included."""
        return self.surrogate | self.audit

    @property
    def monte_carlo(self) -> Mapping[str, Any]:
        """Settings of a Monte Carlo run; empty for other runs."""
        return (self.simulation or {}).get("monte_carlo") or {}

    @property
    def exact(self) -> Mapping[str, Any]:
        """Settings of a run made with --exact; empty for other runs."""
        return (self.simulation or {}).get("exact") or {}

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.path.resolve().name


def read_run(path: str | Path) -> RunData:
    """Read a run directory: finished, interrupted, or still being written.

    Raises
    ------
    RunDirectoryError
        If it is not a run directory, holds no call, or is damaged.
    """
    path = Path(path)
    if not path.is_dir():
        what = "it is a file" if path.exists() else "there is no such folder"
        raise RunDirectoryError(f"{path} is not a run directory: {what}")
    saved = _read_json(path / "state.json")
    if saved is None:
        raise RunDirectoryError(f"{path} is not a run directory: it has no state.json")
    if not isinstance(saved.get("settings"), dict) or "run" not in saved:
        raise RunDirectoryError(f"{path / 'state.json'} is damaged: it has no settings or no run")
    settings = saved["settings"]
    columns = _Columns(path / "steps.csv")
    if not columns.n_rows:
        raise RunDirectoryError(f"{columns.path} holds no call yet: wait for the run to make one")
    decisions = np.array(columns.text("decision"))
    unknown = set(decisions.tolist()) - {decision.value for decision in Decision}
    if unknown:
        raise RunDirectoryError(f"{columns.path} is damaged: {sorted(unknown)[0]!r} is no decision")
    structures = tuple(columns.text("structure"))
    bounds = _read_bounds(columns, settings)
    return RunData(
        path=path,
        settings=settings,
        state=saved["run"],
        simulation=_read_json(path / "simulation.json"),
        summary=_read_json(path / "summary.json"),
        step=columns.integers("step"),
        structures=structures,
        model_version=columns.integers("model_version"),
        target=decisions == Decision.TARGET.value,
        audit=decisions == Decision.AUDIT.value,
        surrogate=decisions == Decision.SURROGATE.value,
        audit_probability=columns.numbers("audit_probability"),
        distance=columns.numbers("distance")
        if "distance" in columns.names
        else np.full(columns.n_rows, math.nan),
        times={name: columns.numbers(name) for name in TIMES},
        bounds=bounds,
        errors=_read_errors(columns, bounds),
        chain=_read_chain(path),
    )


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        data = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise RunDirectoryError(f"{path} is damaged: {error}") from error
    if not isinstance(data, dict):
        raise RunDirectoryError(f"{path} is damaged: it holds {type(data).__name__}, not named values")
    return data


def _read_chain(path: Path) -> ChainData | None:
    """Steps in chain.csv, without the line that a kill may have cut; None where there is none yet."""
    if not (path / "chain.csv").exists():
        return None
    columns = _Columns(path / "chain.csv")
    if not columns.n_rows:
        return None
    return ChainData(
        columns.integers("step"),
        columns.numbers("proposed_energy"),
        columns.integers("accepted") == 1,
        columns.numbers("energy"),
        columns.numbers("radius_of_gyration"),
    )


class _Columns:
    """Columns of a log, without the line that a kill may have cut, checked as they are asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            raise RunDirectoryError(
                f"{path.parent} has no {path.name}: it is not a run directory, or made no call"
            )
        try:
            content = io.BytesIO(whole_lines(path))
            self.table = pd.read_csv(content, dtype=str, keep_default_na=False)
        except pd.errors.EmptyDataError:
            self.table = pd.DataFrame()
        except (OSError, ValueError) as error:  # a ParserError is a ValueError
            raise RunDirectoryError(f"{path} is damaged: {error}") from error

    @property
    def n_rows(self) -> int:
        return len(self.table)

    @property
    def names(self) -> list[str]:
        return list(self.table.columns)

    def text(self, name: str) -> list[str]:
        if name not in self.table:
            raise RunDirectoryError(f"{self.path} has no column {name!r}: it has {', '.join(self.names)}")
        missing = self.table[name].isna()  # a short line leaves them; an empty field is an empty text
        if missing.any():
            line = int(missing.argmax()) + 2
            raise RunDirectoryError(f"{self.path} is damaged: line {line} has no {name!r}")
        return list(self.table[name])

    def numbers(self, name: str) -> Floats:
        values = pd.Series(self.text(name), dtype=str)
        numbers = pd.to_numeric(values, errors="coerce").to_numpy(float, copy=True)
        wrong = np.isnan(numbers) & ~values.str.lower().isin(("", "nan")).to_numpy()
        if wrong.any():
            i = int(wrong.argmax())
            problem = f"line {i + 2}: {name} must be a number, got {values[i]!r}"
            raise RunDirectoryError(f"{self.path} is damaged: {problem}")
        return numbers

    def integers(self, name: str) -> NDArray[np.int64]:
        numbers = self.numbers(name)
        if not np.isfinite(numbers).all():
            line = int(np.argmin(np.isfinite(numbers))) + 2
            raise RunDirectoryError(f"{self.path} is damaged: line {line} has no {name!r}")
        return numbers.astype(np.int64)


def _read_bounds(columns: _Columns, settings: Mapping[str, Any]) -> tuple[BoundData, ...]:
    """One entry a bound: plain column names for one, `name_metric` for several."""
    bound, metric = settings.get("error_bound"), settings.get("error_metric")
    bounds = (
        dict(bound) if isinstance(bound, Mapping) else {metric if isinstance(metric, str) else "error": bound}
    )
    several = "error" not in columns.names and len(bounds) > 1
    return tuple(
        BoundData(
            name,
            float(value) if isinstance(value, (int, float)) else math.nan,
            *(
                columns.numbers(f"{column}_{name}" if several else column)
                for column in ("uncertainty", "threshold", "alpha", "error")
            ),
        )
        for name, value in bounds.items()
    )


def _read_errors(columns: _Columns, bounds: tuple[BoundData, ...]) -> dict[str, Floats]:
    """Errors of every metric; a column of their own have those that are not the only bound's."""
    prefix = "error_"
    others = [name.removeprefix(prefix) for name in columns.names if name.startswith(prefix)]
    own = {bound.metric: bound.error for bound in bounds}
    return {**own, **{name: columns.numbers(prefix + name) for name in others if name not in own}}
