"""Uncertainties: cheap numbers that rank the surrogate's error."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from ase_proxima.uncertainty.coulomb import CoulombDistance
    from ase_proxima.uncertainty.distance import InputDistance
    from ase_proxima.uncertainty.ensemble import EnsembleUncertainty
    from ase_proxima.uncertainty.posterior import PosteriorUncertainty

__all__ = ["CoulombDistance", "EnsembleUncertainty", "InputDistance", "PosteriorUncertainty"]

__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "coulomb": ["CoulombDistance"],
        "distance": ["InputDistance"],
        "ensemble": ["EnsembleUncertainty"],
        "posterior": ["PosteriorUncertainty"],
    },
)
