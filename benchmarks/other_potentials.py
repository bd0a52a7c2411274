"""Fit a potential of another project to frames in a file, ask it, and print errors and times as JSON.

`side_by_side.py` runs this with the interpreter of an environment of its own, as these packages want other versions of
what they rest on:

    python -m venv others && others/bin/pip install quippy-ase sgdml python-ace
    others/bin/python benchmarks/other_potentials.py gap train.extxyz test.extxyz --cutoff 5

GAP is fitted by its own `gap_fit`: functions of pairs and SOAP. Linear ACE is that of `python-ace`, solved by ridge
regression with the package's own settings. sGDML takes the length scale with the smallest error on
the very frames that are asked, which favours it.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ase.io import read

SIGMAS = (5, 10, 20, 40, 80, 160)
"""Length scales of sGDML that are tried."""
SPARSE = 1000
"""Surroundings on which GAP's SOAP part rests, shared out over the species."""
NOISE = "{0.0005 0.02 0.02 0.0}"
"""Errors that GAP expects: energy eV an atom, force eV/Å, virial eV."""

ACE_FUNCTIONS = 300
"""Functions of ACE for each species, up to body order 5."""

Predict = Callable[[Any], np.ndarray]


def gap(train: Path, cutoff: float) -> Predict:
    """Fit GAP by its command."""
    from quippy.potential import Potential

    species = {int(z) for atoms in read(train, ":") for z in atoms.numbers}
    model = Path(tempfile.mkdtemp()) / "gap.xml"
    common = f"cutoff={cutoff} cutoff_transition_width=0.5 add_species=T"
    pairs = f"distance_2b {common} n_sparse=20 delta=1.0 covariance_type=ard_se theta_uniform=1.0"
    soap = f"soap {common} n_sparse={SPARSE // len(species)} delta=0.5 covariance_type=dot_product zeta=4"
    soap += " l_max=6 n_max=8 atom_sigma=0.4 sparse_method=cur_points"
    command = [
        str(Path(sys.executable).parent / "gap_fit"),
        f"at_file={train}",
        f"gap={{{pairs} sparse_method=uniform : {soap}}}",
        f"default_sigma={NOISE}",
        "e0_method=average",
        "energy_parameter_name=energy",
        "force_parameter_name=forces",
        "sparse_jitter=1e-8",
        "do_copy_at_file=F",
        "sparse_separate_file=F",
        f"gp_file={model}",
    ]
    subprocess.run(command, check=True, capture_output=True)
    potential = Potential(param_filename=str(model))

    def predict(atoms: Any) -> np.ndarray:
        asked = atoms.copy()
        asked.calc = potential
        return np.asarray(asked.get_forces())

    return predict


def ace(train: Path, cutoff: float) -> Predict:
    """Fit a linear ACE by ridge regression, energies counted from their mean an atom."""
    import pandas as pd
    from pyace import PyACECalculator, create_multispecies_basis_config
    from pyace.linearacefit import LinearACEDataset, LinearACEFit

    frames = read(train, ":")
    species = sorted({symbol for atoms in frames for symbol in atoms.get_chemical_symbols()})
    sizes = np.array([len(atoms) for atoms in frames])
    energies = np.array([atoms.get_potential_energy() for atoms in frames])
    basis = create_multispecies_basis_config(
        {
            "deltaSplineBins": 0.001,
            "elements": species,
            "embeddings": {"ALL": {"npot": "FinnisSinclair", "fs_parameters": [1, 1], "ndensity": 1}},
            "bonds": {
                "ALL": {
                    "radbase": "SBessel",
                    "radparameters": [5.25],
                    "rcut": cutoff,
                    "dcut": 0.01,
                    "NameOfCutoffFunction": "cos",
                }
            },
            "functions": {
                "number_of_functions_per_element": ACE_FUNCTIONS,
                "ALL": {"nradmax_by_orders": [15, 6, 3, 2], "lmax_by_orders": [0, 4, 3, 2]},
            },
        }
    )
    table = pd.DataFrame(
        {
            "ase_atoms": frames,
            "energy_corrected": energies - sizes * (energies / sizes).mean(),
            "forces": [atoms.get_forces() for atoms in frames],
        }
    )
    data = LinearACEDataset(basis, table)
    data.construct_design_matrix(max_workers=1)
    fit = LinearACEFit(train_dataset=data)
    fit.fit()
    potential = PyACECalculator(fit.get_bbasis())

    def predict(atoms: Any) -> np.ndarray:
        asked = atoms.copy()
        asked.calc = potential
        return np.asarray(asked.get_forces())

    return predict


def sgdml(train: Path, test: list[Any]) -> Predict:
    """Fit sGDML with each of `SIGMAS`; return the best."""
    from sgdml.predict import GDMLPredict
    from sgdml.train import GDMLTrain
    from sgdml.utils import io

    def dataset(frames: list[Any], name: str) -> dict[str, Any]:
        made: dict[str, Any] = {
            "type": "d",
            "code_version": "side by side",
            "name": name,
            "theory": "target",
            "z": frames[0].numbers,
            "R": np.array([atoms.positions for atoms in frames]),
            "E": np.array([atoms.get_potential_energy() for atoms in frames]),
            "F": np.array([atoms.get_forces() for atoms in frames]),
            "r_unit": "Ang",
            "e_unit": "eV",
        }
        made = {key: np.array(value) for key, value in made.items()}
        return {**made, "md5": np.array(io.dataset_md5(made))}

    learnt, asked = dataset(read(train, ":"), "train"), dataset(test, "test")
    trainer, found = GDMLTrain(max_processes=1), []
    for sigma in SIGMAS:
        task = trainer.create_task(learnt, len(learnt["E"]), asked, len(test), sig=sigma, lam=1e-10)
        predictor = GDMLPredict(trainer.train(task), max_processes=1)
        forces = predictor.predict(asked["R"].reshape(len(test), -1))[1]
        found.append((np.abs(forces.reshape(asked["F"].shape) - asked["F"]).mean(), predictor))
    best = min(found, key=lambda option: option[0])[1]
    return lambda atoms: np.asarray(best.predict(atoms.positions.reshape(1, -1))[1]).reshape(-1, 3)


def main() -> None:
    """Fit, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=["gap", "ace", "sgdml"])
    parser.add_argument("train", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("--cutoff", type=float, default=5.0, help="Å, of GAP and ACE.")
    given = parser.parse_args()
    test = read(given.test, ":")
    fits = {
        "gap": lambda: gap(given.train, given.cutoff),
        "ace": lambda: ace(given.train, given.cutoff),
        "sgdml": lambda: sgdml(given.train, test),
    }
    predict = fits[given.model]()
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    trained, errors, took = own.ru_utime + children.ru_utime, [], []
    for atoms in test:
        begin = time.process_time()
        forces = predict(atoms)
        took.append(time.process_time() - begin)
        errors.append(np.abs(forces - atoms.get_forces()).mean())
    print(json.dumps({"force_mae": np.mean(errors), "call_ms": 1e3 * min(took), "train_s": trained}))


if __name__ == "__main__":
    main()
