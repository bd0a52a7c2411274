"""Which runs of a table to profile on the other GPU next, and what that should bring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpu_xarch.advice.curation import Gain, acquisition_forest, expected_gain, query
from gpu_xarch.errors import InputError
from gpu_xarch.specs import canonical_device
from gpu_xarch.tables.pairs import DEFAULT_ON, DEST, SOURCE, pair_runs, pair_values

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["MIN_PAIRS", "NextRuns", "next_runs"]

#: pairs below which a forest says nothing about what to profile
MIN_PAIRS = 20


@dataclass(frozen=True)
class NextRuns:
    """Runs to profile next.

    Parameters
    ----------
    runs : pandas.DataFrame
        Best first: the key columns, "file", "line", "utility", and with enough pairs "predicted" and "std" in the
        unit of the metric.
    n_pairs, n_candidates : int
        Runs that are on both GPUs, and on the source alone.
    metrics : int
        Metrics that were learned from.
    left_out : tuple of str
        Metrics that some run of the source lacks.
    simulated : int
        Runs of the source that a model made.
    gain : Gain, optional
        What the whole batch should bring; None without enough pairs.
    """

    runs: pd.DataFrame
    n_pairs: int
    n_candidates: int
    metrics: int
    left_out: tuple[str, ...]
    simulated: int
    gain: Gain | None


def next_runs(
    frame: pd.DataFrame,
    *,
    source: str,
    dest: str,
    metric: str,
    n: int = 20,
    strategy: str = "variance",
    on: Sequence[str] = DEFAULT_ON,
    seed: int = 0,
    n_jobs: int | None = None,
) -> NextRuns:
    """Choose among the runs that are on the source GPU and not yet on the other.

    Repeated runs of one key count by their mean.

    Parameters
    ----------
    frame : pandas.DataFrame
        A table of runs.
    source, dest : str
        The GPU at hand and the GPU to profile on.
    metric : str
        What is to be predicted there.
    n : int
        How many runs.
    strategy : str
        See `gpu_xarch.advice.curation.query`. "diversity" and "random" need no runs on `dest` at all.
    on : sequence of str
        Columns that make two runs the same.
    seed : int
        Of forests and random picks.
    n_jobs : int, optional
        Threads.

    Raises
    ------
    InputError
        If a GPU or the metric is not in the table, nothing is left to profile, or the strategy needs more
        pairs than there are.
    """
    import numpy as np

    source, dest = canonical_device(source), canonical_device(dest)
    ours, candidates, pairs = _split(frame, source, dest, on)
    values, answers = ours.iloc[:0], np.empty(0)
    if pairs is not None and len(pairs):
        values, answers = _known(pairs, metric)
    enough = len(answers) >= MIN_PAIRS
    if not enough and strategy in ("variance", "density"):
        raise InputError(
            f"{strategy} needs {MIN_PAIRS} runs with {metric} on both GPUs, there are {len(answers)}:"
            " profile some first, those that --strategy diversity names"
        )
    used = [name for name in frame.attrs.get("units", {}) if candidates[name].notna().any()]
    full = _without_gaps(used, candidates, values if len(answers) else None)
    X = np.concatenate([values[full].to_numpy(float), candidates[full].to_numpy(float)])
    y = np.concatenate([answers, np.full(len(candidates), np.nan)])
    picks, utilities = query(strategy, X, y, batch_size=n, seed=seed, n_jobs=n_jobs)
    chosen = candidates.iloc[picks - len(answers)]
    runs = chosen[[*(name for name in DEFAULT_ON if name in chosen), "file", "line"]].reset_index(drop=True)
    runs["utility"] = utilities[picks]
    gain = None
    if enough:
        from gpu_xarch.advice.forest_variance import forest_std

        forest = acquisition_forest(seed=seed, n_jobs=n_jobs).fit(X[: len(answers)], answers)
        runs["predicted"] = forest.predict(X[picks])
        runs["std"] = forest_std(forest, X[picks], n_jobs=n_jobs)
        gain = expected_gain(X, y, picks, seed=seed, n_jobs=n_jobs)
    return NextRuns(
        runs=runs,
        n_pairs=len(answers),
        n_candidates=len(candidates),
        metrics=len(full),
        left_out=tuple(sorted(set(used) - set(full))),
        simulated=int(ours["simulated"].sum()),
        gain=gain,
    )


def _split(
    frame: pd.DataFrame, source: str, dest: str, on: Sequence[str]
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame | None]:
    """Runs of the source, those of them that `dest` lacks, and the pairs; None where `dest` has no run at all."""
    ours = frame[frame["device"] == source]
    if ours.empty:
        names = ", ".join(sorted(str(name) for name in frame["device"].unique()))
        raise InputError(f"no runs of the GPU {source!r} in the table, it has {names}")
    pairs = None
    if (frame["device"] == dest).any():
        pairing = pair_runs(frame, source=source, dest=dest, on=on, repeats="mean")
        pairs = pairing.pairs
        if pairing.means_meet_singles and pairs.empty:
            raise InputError(f"no run of {source} is known on {dest}{pairing.hint()}")
        place = ours["file"].astype(str) + ":" + ours["line"].astype(str)
        free = {item["example"] for item in pairing.unmatched if item["side"] == "source"}
        candidates = ours[place.isin(free) & ~place.duplicated()]
    else:
        candidates = ours[~ours.duplicated([name for name in on if name in ours.columns])]
    if candidates.empty:
        raise InputError(f"every run of {source} is on {dest} already: there is nothing left to profile")
    return ours, candidates, pairs


def _known(pairs: pd.DataFrame, metric: str) -> tuple[pd.DataFrame, NDArray[np.float64]]:
    """Metrics of the pairs that have the answer, and the answers."""
    if DEST + metric not in pairs.columns:
        pair_values(pairs, DEST, [metric])  # says what the pairs have
    pairs = pairs[pairs[DEST + metric].notna()]
    return pair_values(pairs, SOURCE), pairs[DEST + metric].to_numpy(float)


def _without_gaps(used: Sequence[str], candidates: pd.DataFrame, known: pd.DataFrame | None) -> list[str]:
    """Those of the metrics that every candidate has, and every pair."""
    full = [
        name
        for name in used
        if candidates[name].notna().all()
        and (known is None or (name in known.columns and known[name].notna().all()))
    ]
    if not full:
        raise InputError(
            "no metric is there for every run of the source: profile them with one set of metrics"
        )
    return full
