"""Controllers: the pure rules by which the threshold moves."""

from ase_proxima.controllers.baseline import BaselineController
from ase_proxima.controllers.fixed import FixedController
from ase_proxima.controllers.linear import LinearController
from ase_proxima.controllers.risk import RiskController
from ase_proxima.controllers.risk_total import TotalRiskController

__all__ = [
    "BaselineController",
    "FixedController",
    "LinearController",
    "RiskController",
    "TotalRiskController",
]
