"""Surrogates: models that learn the target while the simulation runs."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from ase_proxima.surrogates.choice import BestOfSeveral
    from ase_proxima.surrogates.committee import Committee
    from ase_proxima.surrogates.deepmd_surrogate import DeepMD
    from ase_proxima.surrogates.gradient_gp.surrogate import GradientGP
    from ase_proxima.surrogates.joint.surrogate import JointGP
    from ase_proxima.surrogates.linear.surrogate import BayesianSoap
    from ase_proxima.surrogates.local import WithLocalTarget
    from ase_proxima.surrogates.none import NoSurrogate
    from ase_proxima.surrogates.prior import PriorMean, WithPrior
    from ase_proxima.surrogates.sklearn import SklearnSurrogate, default_regressor
    from ase_proxima.surrogates.soap_ridge import SoapRidge

__all__ = [
    "BayesianSoap",
    "BestOfSeveral",
    "Committee",
    "DeepMD",
    "GradientGP",
    "JointGP",
    "NoSurrogate",
    "PriorMean",
    "SklearnSurrogate",
    "SoapRidge",
    "WithLocalTarget",
    "WithPrior",
    "default_regressor",
]

__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "choice": ["BestOfSeveral"],
        "committee": ["Committee"],
        "deepmd_surrogate": ["DeepMD"],
        "gradient_gp.surrogate": ["GradientGP"],
        "joint.surrogate": ["JointGP"],
        "linear.surrogate": ["BayesianSoap"],
        "local": ["WithLocalTarget"],
        "none": ["NoSurrogate"],
        "prior": ["PriorMean", "WithPrior"],
        "sklearn": ["SklearnSurrogate", "default_regressor"],
        "soap_ridge": ["SoapRidge"],
    },
)
