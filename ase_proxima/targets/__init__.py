"""Targets: the expensive functions, by name."""

from ase_proxima.targets.electrons import ElectronicState, resolve_state, target_state, with_state
from ase_proxima.targets.parse import best_quantum_target, describe, parse_target
from ase_proxima.targets.priors import check_prior, refuse_same

__all__ = [
    "ElectronicState",
    "best_quantum_target",
    "check_prior",
    "describe",
    "parse_target",
    "refuse_same",
    "resolve_state",
    "target_state",
    "with_state",
]
