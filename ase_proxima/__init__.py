"""Error-bounded machine-learned surrogates for ASE calculators and for functions.

The names below are loaded when they are first used, so that `import ase_proxima` and the help of a command are quick.
"""

from importlib.metadata import version
from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from ase_proxima.apps.confirmation import confirm
    from ase_proxima.calculator import ProximaCalculator
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

__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "calculator": ["ProximaCalculator"],
        "apps.confirmation": ["confirm"],
        "decorator": ["proxima"],
        "errors": [
            "InputError",
            "NotWorthwhileWarning",
            "ProximaError",
            "ProximaWarning",
            "RunDirectoryError",
            "TargetError",
        ],
        "types": ["Decision", "Stats"],
    },
)

__version__ = version("ase-proxima")
