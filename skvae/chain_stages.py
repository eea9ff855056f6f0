"""A stage of a generator that trains a chain over cells, whatever rows it makes of the parts."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Generator

from skvae.abstract_generator import AbstractStage
from skvae.autoregressive import Chain
from skvae.rows import Budget, Part, Rows


class AbstractChainStage(AbstractStage):
    """A chain over cells that a subclass makes of the parts of rows.

    Attributes
    ----------
    chain : Chain
    """

    budget = Budget(7e5, 11e6)
    chain: Chain

    @abstractmethod
    def cells(self, parts: Sequence[Part], rng: Generator | None = None) -> Part:
        """What the chain sees of n rows. rng : draws what is random in it; without it, that is always the same."""

    def cells_of(self, rows: Rows, read: Any) -> Part:
        """As `cells`, for many rows as they are kept in memory. read : turns these into rows of floats."""
        return self.cells(read(rows).parts)

    def log_prob(self, parts, autoencoder, noise):
        return self.chain.log_prob(self.cells(parts)).sum(-1)

    def loss(self, rows, rng=None):
        with torch.no_grad():
            cells = self.cells(rows.parts, rng)
        order = None if rng is None else self.chain.order(rng)
        return -(self.chain.log_prob(cells, order, rng).sum(-1) * rows.weight).mean()

    def sharpen(self, held_out):
        self.chain.calibrate_scales(self.cells_of(held_out, lambda rows: rows), held_out.weight)

    def expect_rows(self, n_rows):
        self.chain.n_rows = n_rows
