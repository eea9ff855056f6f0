"""The two models of a row: the autoencoder with its bounds, and the generator that draws."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Generator, Tensor, nn

from skvae.autoencoder import Autoencoder, normal_noise
from skvae.generators import generator_of
from skvae.rows import Part, Rows
from skvae.views import VIEWS

HIDDEN = 256, 256  # units of hidden layers unless the user says otherwise


class VAE(nn.Module):
    """The two models of a row: the autoencoder, and the generator that `sample` draws from.

    Parameters
    ----------
    specs : sequence of (str, object)
        Of each part, the key of `skvae.views.VIEWS`, and what it is.
    latent_dim, activation, prior, beta
        As `Autoencoder` takes them.
    hidden_layer_sizes : tuple of int or "auto"
        Those that are given make perceptrons of every part; the generator has its own.
    generator : str
        A key of `skvae.generators.GENERATORS`.
    rng : torch.Generator
        Draws the initial weights.
    """

    def __init__(
        self,
        specs: Sequence[tuple[str, Any]],
        latent_dim: int,
        hidden_layer_sizes: tuple[int, ...] | str,
        activation: str,
        prior: str,
        beta: float,
        generator: str,
        rng: Generator,
    ):
        super().__init__()
        network, sizes = ("auto", HIDDEN) if isinstance(hidden_layer_sizes, str) else ("mlp", hidden_layer_sizes)
        self.views = [VIEWS[kind](spec, network) for kind, spec in specs]
        # of its own, so that no parameter of the autoencoder changes the generator
        own_rng = Generator().manual_seed(int(torch.randint(2**31 - 1, (), generator=rng)))
        self.autoencoder = Autoencoder(self.views, latent_dim, sizes, activation, prior, beta, rng)
        self.generator_name = generator
        self.generator = generator_of(generator, [VIEWS[kind](spec) for kind, spec in specs], own_rng)
        self.widest = max(self.autoencoder.widest, self.generator.widest)
        self.widest_drawn = self.generator.widest_drawn or self.widest
        self.n_weights = sum(parameter.numel() for parameter in self.parameters())
        self._copies: dict[torch.dtype, VAE] = {}

    @property
    def dtype(self) -> torch.dtype:
        return self.autoencoder.shrinkage.dtype

    @property
    def device(self) -> torch.device:
        return self.autoencoder.shrinkage.device

    def in_type(self, dtype: torch.dtype) -> "VAE":
        """The model in a type: itself, or a copy that is kept as long as the model is."""
        if dtype == self.dtype:
            return self
        if dtype not in self._copies:
            self._copies[dtype] = deepcopy(self).to(dtype)
        return self._copies[dtype]

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_copies": {}}  # a copy may go on training

    def noise(self, model: str, n: int) -> Tensor:
        """Noise (n, latent_dim) for a bound of a model, "autoencoder" or "generator"."""
        own = self.generator.latent_dim if model == "generator" else None
        return normal_noise(n, own or self.autoencoder.latent_dim).to(self.device, self.dtype)

    def read_parts(self, parts: Sequence[Part]) -> tuple[Part, ...]:
        """Parts as they are kept in memory, as floats."""
        return tuple(view.read(part, self.dtype) for view, part in zip(self.views, parts, strict=True))

    def read(self, rows: Rows) -> Rows:
        """Rows as they are kept in memory, as floats."""
        return Rows(self.read_parts(rows.parts), rows.weight)

    def start(self, rows: Rows) -> None:
        """Begin both models where a linear one ends."""
        self.autoencoder.start(rows, self.read)
        self.start_stage(0, rows)

    def start_stage(self, at: int, rows: Rows) -> None:
        """Begin a stage of the generator where linear models end."""
        self.generator.stages[at].start(rows, self.autoencoder.feature_means(rows, self.read), self.read)
