"""A variational autoencoder for scikit-learn."""

import random as _random
from importlib import import_module as _import_module
from typing import TYPE_CHECKING

from skvae._version import __version__

if TYPE_CHECKING:
    from skvae.displays import (
        LatentSpaceDisplay,
        LossCurveDisplay,
        ManifoldDisplay,
        ReconstructionDisplay,
        SamplesDisplay,
        TraversalDisplay,
    )
    from skvae.estimator import VAETransformer
    from skvae.files import load, save
    from skvae.outliers import VAEOutlierDetector
    from skvae.quality import QualityReport, quality_report

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
_ROOMS = {
    **dict.fromkeys((name for name in __all__ if name.endswith("Display")), "displays"),
    **dict.fromkeys(("QualityReport", "quality_report"), "quality"),
    **dict.fromkeys(("load", "save"), "files"),
    "VAEOutlierDetector": "outliers",
    "VAETransformer": "estimator",
}


def __getattr__(name: str) -> object:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # scikit-learn's callbacks import rich, where it is installed, and that draws from Python's stream while being imported
    state = _random.getstate()
    value = getattr(_import_module(f"skvae.{_ROOMS[name]}"), name)
    _random.setstate(state)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
