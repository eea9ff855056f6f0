"""The variational autoencoder of the scikit-learn ecosystem."""

from skvae.estimator import VAETransformer

__version__ = "0.1.0"
__all__ = ["VAETransformer", "__version__"]
