"""States, observations and settings are values: nobody changes them, and many of them are kept."""

import dataclasses
import importlib

import pytest

MODULES = [
    *(
        f"controllers.{name}"
        for name in (
            "baseline",
            "calibration",
            "confidence",
            "fixed",
            "linear",
            "risk",
            "risk_state",
            "risk_total",
        )
    ),
    "executor.costs",
    "apps.statistics",
]
CLASSES = [
    kind
    for name in MODULES
    for kind in vars(importlib.import_module(f"ase_proxima.{name}")).values()
    if dataclasses.is_dataclass(kind) and kind.__module__ == f"ase_proxima.{name}"
]


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_a_value_cannot_be_changed(kind):
    assert kind.__dataclass_params__.frozen
    assert kind.__dataclass_params__.eq
    if not kind.__name__.endswith("Controller"):
        assert "__slots__" in vars(kind), "thousands of them may live: they have slots"


def test_these_are_the_values():
    assert {kind.__name__ for kind in CLASSES} == {
        *(
            "BaselineController",
            "FixedController",
            "LinearController",
            "RiskController",
            "TotalRiskController",
        ),
        *("BaselineState", "FixedState", "LinearState", "RiskState", "TotalRiskState", "Outliers"),
        *("Ratio", "MeanError", "Costs", "MeanOfChain"),
    }
