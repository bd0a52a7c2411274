"""The calculator that stands round another one."""

from ase_proxima.calculator.proxima import ProximaCalculator

__all__ = ["ProximaCalculator"]
