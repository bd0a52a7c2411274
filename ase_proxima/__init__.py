"""Error-bounded machine-learned surrogates for ASE calculators and for functions."""

from importlib.metadata import version

from ase_proxima.calculator import ProximaCalculator
from ase_proxima.confirmation import confirm
from ase_proxima.decorator import proxima
from ase_proxima.errors import (
    InputError,
    NotWorthwhileWarning,
    ProximaError,
    ProximaWarning,
    RunDirectoryError,
    TargetError,
)
from ase_proxima.types import Decision, Stats

__all__ = [
    "Decision",
    "InputError",
    "NotWorthwhileWarning",
    "ProximaCalculator",
    "ProximaError",
    "ProximaWarning",
    "RunDirectoryError",
    "Stats",
    "TargetError",
    "confirm",
    "proxima",
]

__version__ = version("ase-proxima")
