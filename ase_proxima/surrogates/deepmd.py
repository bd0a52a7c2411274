"""Committees of DeePMD-kit models."""

from __future__ import annotations

import hashlib
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ase_proxima.errors import InputError
from ase_proxima.surrogates.committee import Committee

__all__ = ["MODELS", "check_installed", "import_deepmd", "load_committee", "load_model"]

MODELS = "model-*.pb"
"""Names of the compressed models in a folder that `proxima train deepmd` made."""


def import_deepmd() -> Any:
    """Return the module `deepmd.calculator`, imported on the first call since it brings TensorFlow along.

    Raises
    ------
    InputError
        If DeePMD-kit is not installed.
    """
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # whose kernels sum in an order of their own
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        import deepmd.calculator
    except ImportError as error:
        raise InputError(
            f"DeePMD-kit cannot be imported ({error}): pip install 'ase-proxima[deepmd]'"
        ) from error
    return deepmd.calculator


def check_installed() -> None:
    """Raise an `InputError` where DeePMD-kit with TensorFlow is not installed, without importing them."""
    missing = [name for name in ("deepmd", "tensorflow") if find_spec(name) is None]
    if missing:
        raise InputError(
            f"training needs DeePMD-kit with TensorFlow, but there is no {' and no '.join(missing)}: "
            "pip install 'ase-proxima[deepmd]'"
        )


def load_model(path: Path) -> Any:
    """Load one frozen, and best compressed, model as an ASE calculator.

    Raises
    ------
    InputError
        If there is no such file, or it is no model.
    """
    if not path.is_file():
        raise InputError(f"there is no model {path}: train one with proxima train deepmd")
    calculators = import_deepmd()
    try:
        calculator = calculators.DP(model=path)
    except Exception as error:  # foreign code: whatever it raises, the file is named
        raise InputError(f"{path} is no model that DeePMD-kit reads: {error}") from error
    calculator.fingerprint = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    return calculator


def load_committee(folder: Path) -> Committee:
    """Load the models of a folder as a committee.

    Raises
    ------
    InputError
        If there are fewer than two.
    """
    paths = sorted(folder.glob(MODELS))
    if len(paths) < 2:
        raise InputError(f"{folder} must hold at least 2 models {MODELS}, found {len(paths)}: train some")
    return Committee(load_model(path) for path in paths)
