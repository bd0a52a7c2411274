"""Models on disk: skops files, in which nothing but known types is ever loaded."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from gpu_xarch.errors import InputError

if TYPE_CHECKING:
    from gpu_xarch.learning.training import Trained

__all__ = ["TRUSTED", "load_model", "save_model"]

FORMAT = "gpu_xarch model 6"
#: types beyond those that skops trusts itself; all are ours or plain parts of scikit-learn estimators
TRUSTED = frozenset(
    {
        "gpu_xarch.models.auto.Auto",
        "gpu_xarch.models.auto.Boosting",
        "gpu_xarch.models.baselines.DataSheetScaled",
        "gpu_xarch.models.baselines.MeanValue",
        "gpu_xarch.models.baselines.OldIsNew",
        "gpu_xarch.models.baselines.Roofline",
        "gpu_xarch.models.forest.BoundClassifier",
        "gpu_xarch.models.forest.Forest",
        "gpu_xarch.models.mechanism.Mechanism",
        "gpu_xarch.models.mlp.Mlp",
        "gpu_xarch.models.mlp.bend",
        "gpu_xarch.models.nas.Nas",
        "gpu_xarch.models.problem.Problem",
        "gpu_xarch.learning.training.Trained",
        "sklearn._loss.link.IdentityLink",
        "sklearn._loss.link.Interval",
        "sklearn._loss.loss.AbsoluteError",
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.tree._tree.Tree",
    }
)


def save_model(trained: Trained, path: Path | str) -> None:
    """Write a trained model; the file is replaced as a whole or not at all.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    import skops.io

    file = Path(path)
    partial = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        skops.io.dump({"format": FORMAT, "trained": trained}, partial)
        partial.replace(file)
    except OSError as error:
        raise InputError(f"cannot write the model {file}: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)


def load_model(path: Path | str) -> Trained:
    """Read a model that `save_model` wrote.

    Raises
    ------
    InputError
        If the file is missing, is no model of this package, or holds types that are not trusted.
    """
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    from gpu_xarch.learning.training import Trained

    file = Path(path)
    try:
        foreign = sorted(set(skops.io.get_untrusted_types(file=file)) - TRUSTED)
        if foreign:
            raise InputError(
                f"{file} holds types that are not trusted ({', '.join(foreign[:4])}): "
                "only models written by `xarch train` are read"
            )
        content = skops.io.load(file, trusted=sorted(TRUSTED))
    except OSError as error:
        raise InputError(f"cannot read the model {file}: {error.strerror or error}") from error
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, AttributeError, ImportError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{file} is no model written by `xarch train`") from error
    except UntrustedTypesFoundException as error:
        raise InputError(f"{file} holds types that are not trusted: {error}") from error
    trained = content.get("trained") if isinstance(content, dict) else None
    if not isinstance(trained, Trained):
        raise InputError(f"{file} is no model written by `xarch train`")
    if content.get("format") != FORMAT:
        raise InputError(f"{file} was written by another version of `xarch train`: train the model again")
    return trained
