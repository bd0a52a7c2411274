"""Performance of GPU kernels on another GPU, predicted from profiler metrics.

The names below are found when they are first asked for, so that ``import gpu_xarch`` loads nothing heavy.

Examples
--------
>>> import gpu_xarch
>>> gpu_xarch.find_gpu("Tesla P100").sms
56
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpu_xarch.errors import CollectError as CollectError
    from gpu_xarch.errors import InputError as InputError
    from gpu_xarch.errors import XarchError as XarchError
    from gpu_xarch.learning.evaluation import evaluate as evaluate
    from gpu_xarch.learning.persistence import load_model as load_model
    from gpu_xarch.learning.persistence import save_model as save_model
    from gpu_xarch.learning.prediction import predict_table as predict  # noqa: F401
    from gpu_xarch.learning.rows import training_data as training_data
    from gpu_xarch.learning.training import train as train
    from gpu_xarch.metrics import find_metric as find_metric
    from gpu_xarch.metrics import published as published
    from gpu_xarch.metrics import registry as registry
    from gpu_xarch.metrics.relations import reveals as reveals
    from gpu_xarch.models.problem import make_problem as make_problem
    from gpu_xarch.profiles.ingestion import ingest as ingest
    from gpu_xarch.profiles.readers import read_runs as read_runs
    from gpu_xarch.simulator.files import write_simulation as write_simulation
    from gpu_xarch.simulator.model import plan_runs as plan_runs
    from gpu_xarch.simulator.own_data import own_pairs as own_pairs
    from gpu_xarch.specs import find_gpu as find_gpu
    from gpu_xarch.specs import gpus as gpus
    from gpu_xarch.specs.own import add_gpus as add_gpus
    from gpu_xarch.tables.compare import compare_runs as compare_runs
    from gpu_xarch.tables.export import export_csv as export_csv
    from gpu_xarch.tables.inspection import describe as describe
    from gpu_xarch.tables.load import load_table as load_table
    from gpu_xarch.tables.memory_bound import label_runs as label_runs
    from gpu_xarch.tables.pairs import load_pairs as load_pairs
    from gpu_xarch.tables.pairs import pair_runs as pair  # noqa: F401
    from gpu_xarch.tables.pairs import pair_values as pair_values
    from gpu_xarch.tables.pairs import write_pairs as write_pairs
    from gpu_xarch.tables.roofline import roofline_figure as roofline_figure
    from gpu_xarch.tables.roofline import roofline_points as roofline_points
    from gpu_xarch.tables.runs import load_runs as load_runs
    from gpu_xarch.tables.runs import write_runs as write_runs

#: module: the public names that live there
_HOMES = {
    "errors": ("CollectError", "InputError", "XarchError"),
    "learning.evaluation": ("evaluate",),
    "learning.persistence": ("load_model", "save_model"),
    "learning.prediction": ("predict_table",),
    "learning.rows": ("training_data",),
    "learning.training": ("train",),
    "metrics": ("find_metric", "published", "registry"),
    "metrics.relations": ("reveals",),
    "models.problem": ("make_problem",),
    "profiles.ingestion": ("ingest",),
    "profiles.readers": ("read_runs",),
    "simulator.files": ("write_simulation",),
    "simulator.model": ("plan_runs",),
    "simulator.own_data": ("own_pairs",),
    "specs": ("find_gpu", "gpus"),
    "specs.own": ("add_gpus",),
    "tables.compare": ("compare_runs",),
    "tables.export": ("export_csv",),
    "tables.inspection": ("describe",),
    "tables.load": ("load_table",),
    "tables.memory_bound": ("label_runs",),
    "tables.pairs": ("load_pairs", "pair_runs", "pair_values", "write_pairs"),
    "tables.roofline": ("roofline_figure", "roofline_points"),
    "tables.runs": ("load_runs", "write_runs"),
}
#: what is called by a shorter name from outside
_SHORT = {"pair_runs": "pair", "predict_table": "predict"}
_HOME = {_SHORT.get(name, name): (module, name) for module, names in _HOMES.items() for name in names}

__version__: str
__all__ = ["__version__", *sorted(_HOME)]


def __getattr__(name: str) -> object:
    """Import a public name where it lives, at its first use."""
    if name == "__version__":
        found: object = import_module("importlib.metadata").version("ase-proxima")
    elif name in _HOME:
        module, there = _HOME[name]
        found = getattr(import_module(f"{__name__}.{module}"), there)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """Return the public names."""
    return __all__
