"""Targets: the expensive functions, by name."""

from ase_proxima.targets.parse import best_quantum_target, describe, parse_target

__all__ = ["best_quantum_target", "describe", "parse_target"]
