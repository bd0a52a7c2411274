"""Fakes and contract checks for your own targets, surrogates, uncertainties, controllers and policies."""

from ase_proxima.testing.checks import (
    check_controller,
    check_surrogate,
    check_trained_surrogate,
    check_training_policy,
    check_uncertainty,
)
from ase_proxima.testing.fakes import HarmonicWells, NearestFrame, random_walk

__all__ = [
    "HarmonicWells",
    "NearestFrame",
    "check_controller",
    "check_surrogate",
    "check_trained_surrogate",
    "check_training_policy",
    "check_uncertainty",
    "random_walk",
]
