"""The metric registry: what a metric is called, in which unit it is kept, where else it is found.

The canonical names are those of nvprof for P100 and V100. The entries live in ``data/metrics.psv`` (the 116
metrics that the two GPUs share, `published`) and ``data/metrics_more.psv``. Each expression for Nsight
Compute was compared with NVIDIA's "Metric Comparison" table (nvprof transition guide, Nsight Compute CLI
manual); the notes say where the definitions differ. Values are kept in SI units: bytes, bytes/s, seconds;
fractions where the tools print percent; utilisation levels as 0 to 10.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from gpu_xarch.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "DERIVED_FROM",
    "Metric",
    "canonical_name",
    "derive",
    "evaluate_ncu",
    "find_metric",
    "label_names",
    "ncu_names",
    "published",
    "registry",
    "units",
]


#: greatest value of a unit; a metric whose definition allows more says so in a field of its own
_MOST = {"fraction": 1.0, "label": 1.0, "level": 10.0}


@dataclass(frozen=True)
class Metric:
    """One entry of the registry.

    Parameters
    ----------
    name : str
        Canonical name.
    unit : str
        Unit of the stored value: "count", "ratio", "fraction", "bytes", "bytes/s", "s", "level", "1/cycle",
        ...
    kind : str
        Family: "ipc", "stall", "cache", "occupancy", "instruction mix", ...
    labels : tuple of str
        Descriptions that nvprof prints beside the name, and as column titles of the per-launch mode.
    aliases : tuple of str
        Other names in nvprof, by architecture or age.
    ncu : tuple of tuple
        Alternatives for Nsight Compute, each a sum of (factor, metric) terms.
    description, note : str
        What it measures; where definitions differ between tools or architectures.
    most : float
        Greatest value that the definition allows; infinite where there is none.
    """

    name: str
    unit: str
    kind: str
    labels: tuple[str, ...]
    aliases: tuple[str, ...]
    ncu: tuple[tuple[tuple[float, str], ...], ...]
    description: str
    note: str
    most: float

    @property
    def ncu_expression(self) -> str:
        """The first Nsight Compute expression as text; empty where there is none."""
        if not self.ncu:
            return ""
        return " + ".join(name if factor == 1 else f"{factor:g} * {name}" for factor, name in self.ncu[0])


def _expression(text: str) -> tuple[tuple[float, str], ...]:
    terms = []
    for term in text.split("+"):
        factor, star, name = term.rpartition("*")
        terms.append((float(factor) if star else 1.0, name))
    return tuple(terms)


def _list(text: str) -> tuple[str, ...]:
    return tuple(part for part in text.split(";") if part)


@cache
def _load(file: str) -> tuple[Metric, ...]:
    text = resources.files("gpu_xarch").joinpath("data", file).read_text(encoding="utf-8")
    metrics = []
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, unit, kind, labels, aliases, ncu, description, note, *most = line.split("|")
            alternatives = tuple(_expression(part) for part in _list(ncu))
            metrics.append(
                Metric(
                    *(name, unit, kind, _list(labels), _list(aliases), alternatives, description, note),
                    most=float(most[0]) if most else _MOST.get(unit, math.inf),
                )
            )
    return tuple(metrics)


@cache
def registry() -> Mapping[str, Metric]:
    """Return every registered metric by its canonical name.

    Examples
    --------
    >>> registry()["ipc"].unit
    '1/cycle'
    """
    return {metric.name: metric for file in ("metrics.psv", "metrics_more.psv") for metric in _load(file)}


@cache
def published() -> tuple[str, ...]:
    """Return the names of the 116 nvprof metrics that P100 and V100 share.

    Examples
    --------
    >>> len(published())
    116
    """
    return tuple(metric.name for metric in _load("metrics.psv"))


@cache
def _aliases() -> dict[str, str]:
    names = {name: name for name in registry()}
    for metric in registry().values():
        for alias in (*metric.aliases, *metric.labels, *(_slug(label) for label in metric.labels)):
            names.setdefault(alias, metric.name)
    return names


def _slug(label: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", label.lower()).strip("_")


@cache
def label_names(label: str) -> frozenset[str]:
    """Return the canonical names of the metrics that nvprof labels so; empty for a label unknown here.

    Examples
    --------
    >>> label_names("Executed IPC")
    frozenset({'ipc'})
    """
    return frozenset(metric.name for metric in registry().values() if label in metric.labels)


def canonical_name(name: str) -> str | None:
    """Return the canonical name for a name, alias or label of nvprof, or None for an unknown one.

    Examples
    --------
    >>> canonical_name("executed_ipc"), canonical_name("Multiprocessor Activity")
    ('ipc', 'sm_efficiency')
    >>> canonical_name("new_metric") is None
    True
    """
    return _aliases().get(name)


def find_metric(name: str) -> Metric:
    """Return the registered metric of that name, alias, label or Nsight Compute name.

    Raises
    ------
    InputError
        If there is none; the message names the nearest ones.

    Examples
    --------
    >>> find_metric("sm_activity").name
    'sm_efficiency'
    """
    known = canonical_name(name)
    if known is not None:
        return registry()[known]
    for metric in registry().values():
        if any(len(terms) == 1 and terms[0][1] == name for terms in metric.ncu):
            return metric
    near = get_close_matches(name, registry(), n=3, cutoff=0.5)
    hint = f": did you mean {', '.join(near)}?" if near else ": `xarch metrics` lists all"
    raise InputError(f"unknown metric {name!r}{hint}")


@cache
def ncu_names() -> frozenset[str]:
    """Return every Nsight Compute metric that an expression of the registry needs."""
    return frozenset(name for metric in registry().values() for terms in metric.ncu for _, name in terms)


def evaluate_ncu(values: Mapping[str, float]) -> dict[str, float]:
    """Compute the canonical metrics that Nsight Compute values allow.

    Parameters
    ----------
    values : mapping of str to float
        Nsight Compute metrics in SI units, percentages as fractions.

    Examples
    --------
    >>> evaluate_ncu({"smsp__inst_executed.avg.per_cycle_active": 0.5})["ipc"]
    2.0
    """
    result = {}
    for metric in registry().values():
        for terms in metric.ncu:
            if all(name in values for _, name in terms):
                result[metric.name] = float(sum(factor * values[name] for factor, name in terms))
                break
    return result


#: what `derive` looks at
DERIVED_FROM = (
    *("dram_read_throughput", "dram_write_throughput", "dram_throughput"),
    *("dram_read_bytes", "dram_write_bytes", "duration"),
)


def derive(values: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """Return the metrics that follow from others: device-memory throughputs, from bytes and time, and their sum.

    What was measured stays as it is.

    Parameters
    ----------
    values : mapping of str to ndarray, shape (n_runs,)
        Metrics, NaN where they were not measured.

    Examples
    --------
    >>> import numpy as np
    >>> runs = {"dram_read_throughput": np.array([2.0, np.nan]), "dram_write_throughput": np.array([1.0, 1.0])}
    >>> derive(runs)["dram_throughput"].tolist()
    [3.0, nan]
    >>> runs |= {"dram_read_bytes": np.array([np.nan, 12.0]), "duration": np.array([np.nan, 3.0])}
    >>> derive(runs)["dram_throughput"].tolist()
    [3.0, 5.0]
    """
    import numpy as np

    found: dict[str, NDArray[np.float64]] = {}

    def fill(name: str, worked_out: NDArray[np.float64]) -> None:
        own = values.get(name)
        found[name] = worked_out if own is None else np.where(np.isnan(own), worked_out, own)

    time = values.get("duration")
    for side in ("read", "write"):
        moved = values.get(f"dram_{side}_bytes")
        if moved is not None and time is not None:
            with np.errstate(divide="ignore", invalid="ignore"):
                fill(f"dram_{side}_throughput", np.where(time > 0, moved / time, np.nan))
    sides = [found.get(name, values.get(name)) for name in ("dram_read_throughput", "dram_write_throughput")]
    if sides[0] is not None and sides[1] is not None:
        fill("dram_throughput", sides[0] + sides[1])
    return found


def units(names: Iterable[str]) -> dict[str, str]:
    """Return the unit of each name; an unknown metric has the unit "unknown".

    Examples
    --------
    >>> units(["ipc", "mine"])
    {'ipc': '1/cycle', 'mine': 'unknown'}
    """
    known = registry()
    return {name: known[name].unit if name in known else "unknown" for name in names}
