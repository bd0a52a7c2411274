"""Performance of GPU kernels on another GPU, predicted from profiler metrics."""

from gpu_xarch.errors import CollectError, InputError, XarchError
from gpu_xarch.metrics import find_metric, published, registry
from gpu_xarch.profiles.ingestion import ingest
from gpu_xarch.profiles.readers import read_runs
from gpu_xarch.specs import find_gpu, gpus
from gpu_xarch.tables.memory_bound import label_runs
from gpu_xarch.tables.pairs import load_pairs, pair_runs, pair_values, write_pairs
from gpu_xarch.tables.runs import load_runs

__all__ = [
    "CollectError",
    "InputError",
    "XarchError",
    "find_gpu",
    "find_metric",
    "gpus",
    "ingest",
    "label_runs",
    "load_pairs",
    "load_runs",
    "pair_runs",
    "pair_values",
    "published",
    "read_runs",
    "registry",
    "write_pairs",
]
