"""What all tests share."""

import json
import signal
from pathlib import Path

import pytest
from hypothesis import settings

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

settings.register_profile("default", deadline=None)
settings.load_profile("default")


def pytest_configure():
    """Started in the background of a shell, a process and all its children ignore Ctrl-C, which some tests send."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    if SHARED_DATA.is_dir():
        return
    skip = pytest.mark.skip(reason=f"there is no folder {SHARED_DATA}")
    for item in items:
        if "shared_data" in item.keywords:
            item.add_marker(skip)


@pytest.fixture
def shared_data():
    """Folder of real profiles; for tests marked `shared_data`."""
    return SHARED_DATA


@pytest.fixture(scope="session")
def needs_psi4():
    """Skips the test where there is no Psi4."""
    from ase_proxima.errors import InputError
    from ase_proxima.targets.psi4 import Psi4Calculator

    with Psi4Calculator("HF", "STO-3G") as calculator:
        try:
            calculator.validate()
        except InputError as error:
            pytest.skip(str(error))


STEPS_COLUMNS = (
    "step,structure,model_version,n_trained,uncertainty,threshold,alpha,error,decision,audit_probability,"
    "time_target,time_surrogate,time_uncertainty,time_training,time_decision"
)
RECORDED_SETTINGS = {
    "error_bound": 0.002,
    "error_metric": "energy",
    "bound_over": "trusted",
    "controller": "fixed:0.3",
    "audit_rate": 0.02,
}
# Uncertainty, alpha, error, decision and audit probability of each call: a first call without a surrogate, a
# flagged, a trusted and an audited one.
RECORDED_CALLS = (
    (float("nan"), float("nan"), "", "target", 1.0),
    (0.8, 0.002, 0.004, "target", 1.0),
    (0.2, 0.005, "", "surrogate", 0.5),
    (0.2, 0.005, 0.002, "audit", 0.5),
)


@pytest.fixture
def write_run(tmp_path):
    """Writes a run directory with known contents; with energies, one of a Monte Carlo run that took every step."""

    def write(name="run", calls=RECORDED_CALLS, energies=None, **settings):
        path = tmp_path / name
        path.mkdir()
        (path / "state.json").write_text(json.dumps({"settings": RECORDED_SETTINGS | settings, "run": None}))
        lines = [STEPS_COLUMNS]
        for step, (uncertainty, alpha, error, decision, probability) in enumerate(calls):
            before = (
                f"{step},s{step},{step},{step},{uncertainty},0.3,{alpha},{error},{decision},{probability}"
            )
            lines.append(f"{before},0.5,0.01,0.02,0.03,0.04")
        (path / "steps.csv").write_text("\n".join(lines) + "\n")
        if energies is not None:
            simulation = {"molecule": "CH4", "temperature_K": 300.0, "target": "emt", "strategy": "fixed"}
            data = {"monte_carlo": simulation, "n_steps": len(energies) - 1}
            (path / "simulation.json").write_text(json.dumps(data))
            header = "step,proposed_energy,accepted,energy,radius_of_gyration"
            rows = [f"{step},{energy},1,{energy},0.7" for step, energy in enumerate(energies)]
            (path / "chain.csv").write_text("\n".join([header, *rows]) + "\n")
        return path

    return write
