"""The distribution of a row: from latents, its cells independent; or cell by cell, each given others."""

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import cast

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from skvae.likelihoods import LIKELIHOODS, AbstractLikelihood
from skvae.mixtures import NormalMixture, log_odds, one_normal
from skvae.networks import MLP, Basis, CellPerceptrons, Linear, side_by_side

N_CALIBRATION = 20_000  # rows drawn at most, of which shares are known within .3 %
N_NUMBERS_CALIBRATED = 2**22  # at most, of these rows' widest cell or covariances
N_CANDIDATES = 8  # rows that one is taken from, where known cells come late in the chain
NOISE = 0.03  # standard deviation, on the numbers that perceptrons see in training: else these tell rows apart by them
DROPOUT, FEW_ROWS = (0.1, 0.2), 3000  # share of hidden units: with many rows, and with as few


class _Decoder(nn.Module):
    """What decoders share: a likelihood for each block of like variables.

    Parameters
    ----------
    variables : sequence of Variable
        In packed order: variables of one likelihood side by side.
    located : bool
        As likelihoods take it.
    """

    def __init__(self, variables: Sequence, located: bool):
        super().__init__()
        blocks = [(name, list(block)) for name, block in groupby(variables, lambda v: v.likelihood)]
        likelihoods = [LIKELIHOODS[name](block, located) for name, block in blocks]
        self.likelihoods = nn.ModuleList(likelihoods)
        self.widths = [len(block) for _, block in blocks]  # packed columns a block
        self.n_params = [likelihood.n_params for likelihood in likelihoods]
        self.n_features = [sum(v.size if v.coded else 1 for v in block) for _, block in blocks]

    @property
    def _every(self) -> Iterable[AbstractLikelihood]:
        """The likelihoods, block after block."""
        return cast(Iterable[AbstractLikelihood], self.likelihoods)

    def _blocks(self, *tensors_and_widths: tuple[Tensor, list[int]]) -> Iterator[tuple]:
        """Each likelihood with its part of every tensor (..., k), given with the blocks' widths of its last axis."""
        parts = [tensor.split(widths, -1) for tensor, widths in tensors_and_widths]
        return zip(self._every, *parts, strict=True)

    def features(self, x: Tensor) -> Tensor:
        """What networks see of cells. x : (..., n_variables); returns the same."""
        return side_by_side([likelihood.features(cells) for likelihood, cells in self._blocks((x, self.widths))])


class FactorisedDecoder(_Decoder):
    """Given z, the cells are independent: log p(x | z) is a sum over cells.

    Parameters
    ----------
    variables : sequence of Variable
        In packed order: variables of one likelihood side by side.
    latent_dim : int
    hidden_layer_sizes : tuple of int
    activation : str
    generator : torch.Generator
    """

    def __init__(
        self,
        variables: Sequence,
        latent_dim: int,
        hidden_layer_sizes: Sequence[int],
        activation: str,
        generator: Generator,
    ):
        super().__init__(variables, located=False)
        total = sum(self.n_params)
        first = Linear(latent_dim, hidden_layer_sizes[0], generator) if hidden_layer_sizes else None
        path = Linear(latent_dim, total, generator)
        self.network = MLP(path, first, hidden_layer_sizes, total, activation, generator)

    def log_prob(self, x: Tensor, z: Tensor) -> Tensor:
        """Nats of each cell. x : (n, n_variables), missing cells anything in the support; z : (..., n, latent_dim)."""
        blocks = self._blocks((self.network(z), self.n_params), (x, self.widths))
        return side_by_side([likelihood.log_prob(cells, theta) for likelihood, theta, cells in blocks])

    def sample(self, z: Tensor, generator: Generator) -> Tensor:
        """One draw of each row. z : (n, latent_dim); returns (n, n_variables)."""
        blocks = self._blocks((self.network(z), self.n_params))
        return side_by_side([likelihood.sample(theta, generator) for likelihood, theta in blocks])

    def centre(self, z: Tensor) -> Tensor:
        """The mean, or the most probable category, of each cell. z : (n, latent_dim); returns (n, n_variables)."""
        blocks = self._blocks((self.network(z), self.n_params))
        return side_by_side([likelihood.centre(theta) for likelihood, theta in blocks])

    @torch.no_grad()
    def start(self, mean: Tensor, loadings: Tensor, noise: Tensor) -> None:
        """Set the linear path to a linear-Gaussian model of the features.

        mean : (n_features,); loadings : (n_features, latent_dim); noise : (), the residual standard deviation.
        """
        blocks = self._blocks((mean, self.n_features), (loadings.T, self.n_features))
        parts = [likelihood.start(m, slope.T, noise) for likelihood, m, slope in blocks]
        path = cast(Linear, self.network.path)
        path.bias.copy_(torch.cat([bias for bias, _ in parts]))
        path.weight.copy_(torch.cat([weight for _, weight in parts]))


class AutoregressiveDecoder(_Decoder):
    """p(x) cell by cell: each cell given those before it, in any order (Uria et al., 2014).

    The distribution of a cell is that of a normal distribution of the numbers (of small tables, of a mixture of them), with
    the corrections of a linear path from the earlier numbers, as a least-squares mean is seldom the likeliest, and of a
    perceptron that sees every earlier cell: training begins at the data's means and covariances, in the features' space (in
    bins, at logistic distributions of the same mean and spread).
    Orders vary in training, so that any cells can be drawn given any others; whether a cell is missing comes before it.

    Parameters
    ----------
    variables : sequence of Variable
        In packed order.
    generator : torch.Generator
    """

    width, random_orders = 64, 0.5
    n_rows = math.inf  # that it trains on: the fewer, the more dropout

    missing_at: Tensor
    first_order: Tensor

    def __init__(self, variables: Sequence, generator: Generator):
        super().__init__(variables, located=True)
        self.n_variables, self.n_numbers = len(variables), sum(not v.coded for v in variables)  # numbers come first
        outputs, start = [], 0
        self.home: list[tuple[int, int]] = []  # of each variable, its block and its place there
        for at, likelihood in enumerate(self._every):
            for columns, width, basis in likelihood.rectangles:
                outputs.append(([start + j for j in columns], width, None if basis is None else Basis(*basis)))
            self.home += [(at, j) for j in range(likelihood.n_variables)]
            start += likelihood.n_variables
        n_codes = [n for likelihood in self._every for n in likelihood.n_codes]
        self.network = CellPerceptrons(n_codes, self.n_numbers, outputs, self.width, generator)
        self.normal = NormalMixture(self.n_numbers)
        self.slopes = nn.Parameter(torch.zeros(self.n_numbers, self.n_numbers))
        self.register_buffer("missing_at", torch.tensor([v.missing_at for v in variables]), persistent=False)
        # a rigid likelihood is the better, the more a cell is given
        rigid = torch.tensor([likelihood.rigid for likelihood in self._every for _ in likelihood.variables])
        self.register_buffer("first_order", rigid.to(torch.uint8).argsort(stable=True), persistent=False)

    @torch.no_grad()
    def start(self, x: Tensor, observed: Tensor | None, weight: Tensor, means: Tensor) -> None:
        """Fit the normal distribution; elsewhere, begin at the marginals.

        x : (n, n_variables); observed : the same, bool, or None; weight : (n,); means : (n_features,), of numbers and of
        one-hot codes.
        """
        k = self.n_numbers
        continuous = [likelihood.mixes for likelihood in self._every for _ in range(likelihood.n_variables)][:k]
        seen = None if observed is None else observed[:, :k]
        self.normal.fit(self.features(x)[:, :k], seen, weight, torch.tensor(continuous, dtype=torch.bool, device=x.device))
        biases = iter(self.network.biases_of_outputs())
        for likelihood, mean in self._blocks((means, self.n_features)):
            bias = means.new_zeros(likelihood.n_params)
            if not likelihood.locates:
                bias, _ = likelihood.start(mean, mean.new_zeros(len(mean), 0), means.new_ones(()))
            for part in bias.split([len(columns) * width for columns, width, _ in likelihood.rectangles]):
                rectangle = next(biases)
                rectangle.copy_(part.view_as(rectangle))

    def order(self, generator: Generator) -> Tensor | None:
        """An order to train in, (n_variables,): half of the time None, which is that of scores and draws."""
        if torch.rand((), generator=generator, device=generator.device) > self.random_orders:
            return None
        place = torch.rand(self.n_variables, generator=generator, device=generator.device)
        has = (self.missing_at >= 0).nonzero()[:, 0]
        at = self.missing_at[has]
        place[at] = torch.minimum(place[at], place[has]) - 1e-6
        return place.argsort()

    def log_prob(
        self, x: Tensor, observed: Tensor | None = None, order: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Nats of each cell given those before it, zero where missing; summed over a row, log p(x).

        x : (n, n_variables), missing cells anything in the support; observed : the same, bool, or None; order :
        (n_variables,), or None for the first; generator : of noise and dropout, which there are none without.
        """
        order = self.first_order if order is None else order
        codes, numbers = self._codes_and_numbers(x)
        place = order.argsort()
        before = (place[:, None] > place[None, :]).to(x.dtype)
        blurred, dropped = self._disturbed(numbers, generator)
        theta = self.network(codes, blurred, before, None if observed is None else observed.T, dropped)
        normals = [(part, self.widths) for part in self._normals_in_order(numbers.T, observed, order, before)]
        blocks = self._blocks((theta, self.n_params), (x, self.widths), *normals)
        cells = side_by_side([_log_prob(likelihood, part, cells, *rest) for likelihood, part, cells, *rest in blocks])
        return cells if observed is None else cells * observed

    def _codes_and_numbers(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Codes, int, (n_variables, n), and features of numbers, (n_numbers, n)."""
        codes = side_by_side([likelihood.codes(cells) for likelihood, cells in self._blocks((x, self.widths))])
        return codes.T, self.features(x)[:, : self.n_numbers].T

    def _disturbed(self, numbers: Tensor, generator: Generator | None) -> tuple[Tensor, Tensor | None]:
        """Numbers (n_numbers, n) with noise, as weight decay of a kind (Bishop, 1995), and factors of the hidden units,
        (n, width); without generator, the numbers as they are.
        """
        if generator is None:
            return numbers, None
        least, most = DROPOUT
        share = least + (most - least) * min(1.0, FEW_ROWS / self.n_rows) ** 2
        noise = torch.empty_like(numbers).normal_(std=NOISE, generator=generator)
        kept = numbers.new_empty(numbers.shape[1], self.width).uniform_(generator=generator) > share
        return numbers + noise, kept.to(numbers.dtype) / (1 - share)

    def _normals_in_order(
        self, numbers: Tensor, observed: Tensor | None, order: Tensor, before: Tensor
    ) -> tuple[Tensor, ...]:
        """Log-weights, means and standard deviations of each cell's normals, any of categories: (m, n, n_variables) each.

        numbers : (n, n_numbers); before : (n_variables, n_variables), one where the cell of the row sees that of the column.
        """
        k, rest = self.n_numbers, self.n_variables - self.n_numbers
        if k == 0:
            zero = numbers.new_zeros(1, len(numbers), rest)
            return zero, zero, zero + 1
        seen = None if observed is None else observed[:, :k]
        log_weight, location, scale = self.normal.in_order(numbers, seen, order[order < k])
        seen_numbers = numbers if seen is None else numbers * seen
        location = location + scale * F.linear(seen_numbers, self.slopes * before[:k, :k])
        parts = torch.broadcast_tensors(log_weight, location, scale)
        return tuple(F.pad(part, (0, rest), value=value) for part, value in zip(parts, (0.0, 0.0, 1.0), strict=True))

    def sample(self, x: Tensor, known: Tensor, generator: Generator) -> Tensor:
        """Rows whose unknown cells are drawn given the known ones.

        The chain in its first order, which scores and free draws have, knows best how cells depend on each other. Where a
        known cell comes late in it, rows are drawn that see the known cells from the start, several a row; one of these is
        taken by how much likelier the first order makes the whole row (sampling-importance-resampling: Rubin, 1988).

        x : (n, n_variables), unknown cells anything in the support; known : the same, bool. A cell that is known to be
        missing is not known, but that it is missing is. Returns (n, n_variables).
        """
        if not self._has_late(x, known):
            return self._chain(_Row(self, x, known), generator).x
        rows = _Row(self, x.repeat_interleave(N_CANDIDATES, 0), known.repeat_interleave(N_CANDIDATES, 0), scored=True)
        rows = self._chain(rows, generator)
        log_weight = self.log_prob(rows.x, None if rows.decided.all() else rows.decided).sum(-1) - rows.log_prob
        chosen = torch.multinomial(log_weight.view(-1, N_CANDIDATES).softmax(1), 1, generator=generator)[:, 0]
        return rows.x.view(len(x), N_CANDIDATES, -1)[torch.arange(len(x), device=x.device), chosen]

    def _has_late(self, x: Tensor, known: Tensor) -> bool:
        """Whether a known cell comes after one that is to be drawn. x, known : as in `sample`."""
        has = self.missing_at >= 0
        settled, at = known.clone(), self.missing_at[has]
        settled[:, has] |= known[:, at] & (x[:, at] > 0.5)
        after_gap = (~settled)[:, self.first_order].cumsum(1) > 0
        return bool((known[:, self.first_order] & after_gap).any())

    def _chain(self, state: "_Row", generator: Generator) -> "_Row":
        """Draw what is not known, in the first order."""
        for j in self.first_order.tolist():
            self._draw(j, state, ~state.known[:, j] & ~state.is_missing(j), generator)
        return state

    def impute(self, x: Tensor, known: Tensor, generator: Generator) -> Tensor:
        """Rows whose unknown cells are drawn given the known ones, also those that are known to be missing.

        x, known, and what is returned : as in `sample`. The seldom missing come first, and a cell counts as missing until
        its turn: a house without pool or alley shall not have both when the width of its plot is drawn.
        """
        state = _Row(self, x, known)
        # the mean of the indicator is the share of missing cells
        means = F.pad(self.normal.log_weight.exp() @ self.normal.mean, (0, 1))
        share = torch.where(self.missing_at < 0, -torch.inf, means[self.missing_at])
        for j in share.argsort(stable=True).tolist():
            drawn = ~known[:, j]
            if drawn.any():
                state.turn_up(j, drawn)
                self._draw(j, state, drawn, generator)
        return state.x

    def _draw(self, j: int, state: "_Row", drawn: Tensor, generator: Generator) -> None:
        """Draw variable j of some rows, (n,)."""
        if drawn.any():
            self._draw_from(*self._alone(j, state), j, state, drawn, generator)

    @staticmethod
    def _draw_from(likelihood, log_weight, thetas, j: int, state: "_Row", drawn: Tensor, generator: Generator) -> None:
        """Draw variable j of some rows, (n,), from what `_alone` returned."""
        component = torch.multinomial(log_weight.exp().T, 1, generator=generator)[:, 0] if len(thetas) > 1 else 0
        x = likelihood.sample(thetas[component, torch.arange(len(state.x), device=thetas.device)], generator)
        if state.scored:
            state.log_prob += drawn * _mixture_log_prob(likelihood, x, log_weight[..., None], thetas)[:, 0]
        state.set_(j, torch.where(drawn, x[:, 0], state.x[:, j]), drawn)

    @torch.no_grad()
    def calibrate(self, x: Tensor, observed: Tensor | None, weight: Tensor, generator: Generator) -> None:
        """Shift the biases until codes are as frequent in draws as in the data, one variable after the other.

        What training leaves behind (dropout moves every mean a little, and errors of earlier cells add up in later ones)
        held-out scores hardly see, but every marginal of a large sample shows it. The scores of held-out rows of Adult and
        Magic rose by .002 and .005 nats.

        x : (n, n_variables); observed : the same, bool, or None; weight : (n,).
        """
        widest = max(max(likelihood.n_codes) for likelihood in self._every)
        if observed is not None:  # rows may have as many covariances
            widest = max(widest, self.n_numbers**2 // 4)
        n_rows = min(N_CALIBRATION, max(1000, 4 * len(x)), N_NUMBERS_CALIBRATED // widest)
        drawn = x.new_zeros(n_rows, self.n_variables)
        state = _Row(self, drawn, torch.zeros_like(drawn, dtype=torch.bool))
        for j in self.first_order.tolist():
            there = ~state.is_missing(j)
            if there.any():
                likelihood, log_weight, thetas = self._alone(j, state)
                counted = weight if observed is None else weight * observed[:, j]
                shift = likelihood.calibration(thetas[0, there], x[:, j : j + 1], counted)
                self.network.shift(j, shift, [width for _, width, _ in likelihood.rectangles])
                self._draw_from(likelihood, log_weight, thetas + shift, j, state, there, generator)

    def centre(self, x: Tensor, known: Tensor) -> Tensor:
        """Rows whose unknown cells are the centres of their distributions given the known ones, each by itself.

        x, known : as in `sample`; a cell that is known to be missing is filled in as if that were not known.
        """
        out = x.clone()
        for j in (~known).any(0).nonzero()[:, 0].tolist():
            rows = (~known[:, j]).nonzero()[:, 0]
            state = _Row(self, x[rows], known[rows], present=j)
            likelihood, log_weight, thetas = self._alone(j, state)
            out[rows, j] = (log_weight.exp() * likelihood.centre(thetas)[..., 0]).sum(0)
        return out

    def _alone(self, j: int, state: "_Row") -> tuple[AbstractLikelihood, Tensor, Tensor]:
        """The likelihood of variable j alone, log-weights (m, n) of its mixture, and thetas (m, n, n_params) of that, given
        what is seen of each row.
        """
        likelihood = state.likelihood(j)
        theta = self.network.of(j, state.seen, [width for _, width, _ in likelihood.rectangles])
        normals = (part[..., None] for part in state.normals(j))
        log_weight, location, scale = _mixture_for(likelihood, *normals)
        return likelihood, log_weight[..., 0], likelihood.placed(theta.expand(len(location), -1, -1), location, scale)

    def alone(self, j: int) -> AbstractLikelihood:
        """The likelihood of variable j, of no other."""
        block, place = self.home[j]
        return cast(AbstractLikelihood, self.likelihoods[block]).of(place)


def _mixture_for(likelihood: AbstractLikelihood, log_weight: Tensor, location: Tensor, scale: Tensor) -> tuple[Tensor, ...]:
    """The mixture (m, ...) if the likelihood goes with one, else one normal of its mean and spread, (1, ...)."""
    if likelihood.mixes or len(location) == 1:
        return log_weight, location, scale
    location, scale = one_normal(log_weight, location, scale)
    return torch.zeros_like(location)[None], location[None], scale[None]


def _log_prob(
    likelihood: AbstractLikelihood, theta: Tensor, x: Tensor, log_weight: Tensor, location: Tensor, scale: Tensor
) -> Tensor:
    """Nats of a block's cells: (n, k).

    theta : (n, n_params); x : (n, k); log_weight, location, scale : (m, n, k), of the normals that theta is around.
    """
    log_weight, location, scale = _mixture_for(likelihood, log_weight, location, scale)
    thetas = likelihood.placed(theta.expand(len(location), -1, -1), location, scale)
    return _mixture_log_prob(likelihood, x, log_weight, thetas)


def _mixture_log_prob(likelihood: AbstractLikelihood, x: Tensor, log_weight: Tensor, thetas: Tensor) -> Tensor:
    """Nats of cells x (n, k) of a mixture of log-weights (m, n, k) and thetas (m, n, n_params): (n, k)."""
    log_probs = likelihood.log_prob(x.expand(len(thetas), -1, -1), thetas)
    return log_probs[0] if len(log_probs) == 1 else (log_weight + log_probs).logsumexp(0)


class _Row:
    """Rows of an `AutoregressiveDecoder` that are being filled in.

    x, known : as in `sample`; present : a variable that counts as not missing, although it may be known to be; scored :
    whether to add up how likely the cells are that are drawn.

    Attributes
    ----------
    seen : (n, width), what the known cells tell.
    decided : (n, n_variables), which cells are there.
    numbers : (n, k), features of the numbers.
    log_weight : (m, n), of the normals, given the numbers that are there.
    log_prob : (n,), nats of what was drawn, where scored.
    """

    def __init__(
        self, decoder: AutoregressiveDecoder, x: Tensor, known: Tensor, present: int | None = None, scored: bool = False
    ):
        self.decoder, self.x, self.known = decoder, x.clone(), known
        self.scored, self.log_prob = scored, x.new_zeros(len(x))
        self._likelihoods: dict[int, AbstractLikelihood] = {}
        at = -1 if present is None else int(decoder.missing_at[present])
        if at >= 0:
            self.x[:, at] = 0.0
        self.table = decoder.network.table()
        codes, numbers = decoder._codes_and_numbers(self.x)
        self.seen = decoder.network.told(self.table, codes, numbers, known.T).sum(0)
        self.numbers = numbers.T.clone(memory_format=torch.contiguous_format)  # features may be the cells themselves
        self.decided = known.clone()
        self.log_weight = decoder.normal.weigh(self.numbers, self._numbers_decided)

    @property
    def _numbers_decided(self) -> Tensor:
        return self.decided[:, : self.decoder.n_numbers]

    def likelihood(self, j: int) -> AbstractLikelihood:
        """That of variable j alone."""
        if j not in self._likelihoods:
            self._likelihoods[j] = self.decoder.alone(j).to(self.x)
        return self._likelihoods[j]

    def is_missing(self, j: int) -> Tensor:
        """Which rows, (n,), have variable j missing."""
        at = int(self.decoder.missing_at[j])
        return self.x[:, at] > 0.5 if at >= 0 else torch.zeros_like(self.known[:, j])

    def normals(self, j: int) -> tuple[Tensor, Tensor, Tensor]:
        """Log-weights, means and standard deviations of the normals of variable j, any of a category: (m, n) each."""
        if j >= self.decoder.n_numbers:
            zero = torch.zeros_like(self.x[None, :, 0])
            return zero, zero, zero + 1
        location, scale = self._normal(j)
        return self.log_weight, location + scale * ((self.numbers * self._numbers_decided) @ self.decoder.slopes[j]), scale

    def _normal(self, j: int) -> tuple[Tensor, Tensor]:
        """Means and standard deviations of number j before the correction, (m, n) each."""
        return self.decoder.normal.given(self.numbers, self._numbers_decided, j)

    def set_(self, j: int, values: Tensor, drawn: Tensor) -> None:
        """Take values (n,) for variable j, seen from now on where drawn, (n,)."""
        self.x[:, j] = values
        told, numbers = self._told(j)
        self.seen = self.seen + told * drawn.unsqueeze(-1)
        if j < self.decoder.n_numbers:
            if len(self.log_weight) > 1:
                self.log_weight = torch.where(drawn, log_odds((self.log_weight, *self._normal(j)), numbers), self.log_weight)
            self.numbers[:, j] = torch.where(drawn, numbers, self.numbers[:, j])
        self.decided[:, j] |= drawn

    def turn_up(self, j: int, drawn: Tensor) -> None:
        """Variable j counts as not missing from now on, where drawn, (n,)."""
        at = int(self.decoder.missing_at[j])
        if at >= 0:
            self.seen = self.seen - self._told(at)[0] * (drawn & self.known[:, at]).unsqueeze(-1)
            self.set_(at, torch.where(drawn, 0.0, self.x[:, at]), drawn)
            self.log_weight = self.decoder.normal.weigh(self.numbers, self._numbers_decided)

    def _told(self, j: int) -> tuple[Tensor, Tensor]:
        """What the cells of variable j tell, (n, width), and their features, (n,)."""
        likelihood, cells = self.likelihood(j), self.x[:, j : j + 1]
        numbers = likelihood.features(cells)[:, 0]
        return self.decoder.network.tell(j, self.table, likelihood.codes(cells)[:, 0], numbers), numbers
