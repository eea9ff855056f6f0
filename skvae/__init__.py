"""A variational autoencoder for scikit-learn."""

import random as _random
from importlib import import_module as _import_module
from typing import TYPE_CHECKING

from skvae._version import __version__

if TYPE_CHECKING:
    from skvae.estimator import VAETransformer
    from skvae.files import load, save
    from skvae.latent_space_display import LatentSpaceDisplay
    from skvae.loss_curve_display import LossCurveDisplay
    from skvae.manifold_display import ManifoldDisplay
    from skvae.outliers import VAEOutlierDetector
    from skvae.quality import QualityReport, quality_report
    from skvae.reconstruction_display import ReconstructionDisplay
    from skvae.samples_display import SamplesDisplay
    from skvae.traversal_display import TraversalDisplay

__all__ = [
    "LatentSpaceDisplay",
    "LossCurveDisplay",
    "ManifoldDisplay",
    "QualityReport",
    "ReconstructionDisplay",
    "SamplesDisplay",
    "TraversalDisplay",
    "VAEOutlierDetector",
    "VAETransformer",
    "__version__",
    "load",
    "quality_report",
    "save",
]

# where each name lives; imported when it is first asked for, so that `skvae --help` need not wait for torch
_MODULES = {
    "LatentSpaceDisplay": "latent_space_display",
    "LossCurveDisplay": "loss_curve_display",
    "ManifoldDisplay": "manifold_display",
    "QualityReport": "quality",
    "ReconstructionDisplay": "reconstruction_display",
    "SamplesDisplay": "samples_display",
    "TraversalDisplay": "traversal_display",
    "VAEOutlierDetector": "outliers",
    "VAETransformer": "estimator",
    "load": "files",
    "quality_report": "quality",
    "save": "files",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # scikit-learn's callbacks import rich, where it is installed, and that draws from Python's stream while being imported
    state = _random.getstate()
    value = getattr(_import_module(f"skvae.{_MODULES[name]}"), name)
    _random.setstate(state)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
