"""The variational autoencoder of the scikit-learn ecosystem."""

import random as _random

_state = _random.getstate()
from skvae._version import __version__  # noqa: E402
from skvae.displays import (  # noqa: E402
    LatentSpaceDisplay,
    LossCurveDisplay,
    ManifoldDisplay,
    ReconstructionDisplay,
    SamplesDisplay,
    TraversalDisplay,
)
from skvae.estimator import VAETransformer  # noqa: E402
from skvae.outliers import VAEOutlierDetector  # noqa: E402
from skvae.quality import QualityReport, quality_report  # noqa: E402

# scikit-learn's callbacks import rich, where it is installed, and that draws from Python's stream while being imported
_random.setstate(_state)
del _random, _state

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
    "quality_report",
]
