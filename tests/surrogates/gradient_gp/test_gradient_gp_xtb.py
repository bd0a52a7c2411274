import numpy as np
import pytest
from ase.build import molecule
from ase.units import kB

from ase_proxima.surrogates.gradient_gp.surrogate import GradientGP
from ase_proxima.types import Frame


@pytest.mark.xtb
@pytest.mark.parametrize(("name", "most"), [("CH4", 20), ("H2O", 20), ("NH3", 25)])
def test_few_frames_hold_two_milli_electronvolts_on_a_metropolis_walk(name, most):
    tblite = pytest.importorskip("tblite.ase", reason="tblite is not installed")
    atoms = molecule(name)
    atoms.calc = tblite.TBLite(verbosity=0)
    rng = np.random.default_rng(0)
    model, frames, pairs = GradientGP(), [], []
    current, energy = atoms.positions.copy(), None
    for step in range(300):
        atoms.positions = current + 0.01 * rng.normal(size=current.shape)
        exact = atoms.get_potential_energy()
        prediction = model.predict(atoms) if frames else None
        if prediction and prediction.std["energy"] < 0.004:
            pairs.append((abs(prediction.results["energy"] - exact), prediction.std["energy"]))
        else:
            results = {"energy": exact, "forces": atoms.get_forces()}
            frames.append(Frame(atoms.copy(), results, step))
            model.fit(frames)
        if energy is None or rng.random() < np.exp(min(0.0, (energy - exact) / (kB * 500))):
            current, energy = atoms.positions.copy(), exact
    errors, stds = np.array(pairs).T
    assert len(frames) <= most
    assert np.mean(errors) < 0.002
    assert 0.05 < np.mean(errors) / np.mean(stds) < 1.0
