"""The variational autoencoder of the scikit-learn ecosystem."""

import random

_stream = random.getstate()
from skvae.estimator import VAETransformer  # noqa: E402
from skvae.quality import QualityReport, quality_report  # noqa: E402

# scikit-learn's callbacks import rich, where it is installed, and that draws from Python's stream while being imported
random.setstate(_stream)

__version__ = "0.1.0"
__all__ = ["QualityReport", "VAETransformer", "__version__", "quality_report"]
