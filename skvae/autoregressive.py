"""A chain over the cells of a table: each given those before it, in any order; exact densities, draws, completions."""

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import groupby
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from skvae.abstract_likelihood import AbstractLikelihood
from skvae.constraint_specs import Identity
from skvae.constraints import OUT_OF_REACH, Identities, Supports
from skvae.contexts import plain_derivatives
from skvae.decoders import Blocks
from skvae.mixtures import NormalMixture, log_odds, one_normal
from skvae.networks import side_by_side
from skvae.regressions import MAX_LEVELS_REGRESSED, CodeRegressions
from skvae.rows import Part
from skvae.scalings import Variable
from skvae.sizes import N_COVARIANCES_AT_ONCE

N_ROWS_START, N_CELLS_START = 100_000, 5_000_000  # rows that the start looks at, and cells of them; unmeasured
N_CALIBRATION = 20_000  # rows drawn at most for calibration: they know shares within .3 %
# candidates a row, where known cells come late in the chain: so many, and so many more until their effective number suffices
# (Kong, 1992), which is that of the rows and some more; and of a condition at least; and cells of candidates in memory;
# unmeasured
CANDIDATES, LEAST_EFFECTIVE, LEAST_CANDIDATES, N_CELLS_OF_CANDIDATES = (4, 12, 48), 10, 24, 4_000_000
SCALE_SHIFTS = -0.05, -0.1, -0.15, -0.2, -0.3, 0.05, 0.1  # of log-scales, tried after training; unmeasured
SHIFT_GAIN = 0.5  # nats of all held-out rows that a shift must gain; unmeasured
NOISE = 0.03  # standard deviation of the noise on numbers in training (Magic, benchmarks/tables.py)
DROPOUT, FEW_ROWS = (0.1, 0.2), 3000  # share of hidden units dropped: of many rows, and of as few; unmeasured


class Chain(nn.Module):
    """p(x) as a product over cells: each cell given those before it, in any order (Uria et al., 2014).

    It begins in closed form: categories at logistic regressions on those before them; numbers, in the features' space, at
    ridge regressions on categories and at a normal distribution of what remains (of small tables, a mixture; in bins,
    logistic distributions of the same mean and spread). What training adds is a perceptron for each cell, which sees every
    earlier one, and changes of the coefficients.
    Orders vary in training, so that any cells can be drawn given any others; the indicator of a missing cell comes before
    the cell.

    Parameters
    ----------
    variables : sequence of Variable
        In packed order.
    rng : torch.Generator
        Draws the weights.
    relations : object or None
        `identities`, `supports`, `exclusions`, `dependents` and `n_rows` of a `TableSpec`: what always holds between cells.
    last : int
        How many of the first variables come last in the fixed order, in which rows are scored and drawn.
    """

    width, random_orders = 64, 0.5
    n_rows = math.inf  # that it trains on: the fewer, the more dropout

    indicators: Tensor
    fixed_order: Tensor
    log_odds_places: Tensor

    def __init__(self, variables: Sequence[Variable], rng: Generator, relations: Any = None, last: int = 0):
        super().__init__()
        self.blocks = Blocks(variables, relative=True)
        self.n_variables, self.n_numbers = len(variables), sum(not v.coded for v in variables)  # numbers come first
        outputs, start = [], 0
        self.block_of: list[tuple[int, int]] = []  # of each variable, its block and its place there
        for at, likelihood in enumerate(self.blocks):
            for columns, width, basis in likelihood.rectangles:
                outputs.append(([start + j for j in columns], width, None if basis is None else Basis(*basis)))
            self.block_of += [(at, j) for j in range(likelihood.n_variables)]
            start += likelihood.n_variables
        n_codes = [n for likelihood in self.blocks for n in likelihood.n_codes]
        self.network = CellPerceptrons(n_codes, self.n_numbers, outputs, self.width, rng)
        self.normal = NormalMixture(self.n_numbers)
        self.register_buffer("indicators", torch.tensor([v.indicator for v in variables]), persistent=False)
        starts = torch.tensor([0, *self.blocks.n_params]).cumsum(0).tolist()
        self._constrain(relations, starts)
        self.log_odds_at = [  # of each variable, in theta
            [start + at for at in places] if len(places) <= MAX_LEVELS_REGRESSED else []
            for start, likelihood in zip(starts, self.blocks, strict=False)
            for places in likelihood.log_odds_at
        ]
        for gate in self.identities.gates:  # no cell sees them, and each looks from a place of its own
            self.log_odds_at[gate] = []
        self.regressions = CodeRegressions([len(places) for places in self.log_odds_at], self.n_numbers)
        places = torch.tensor([at for places in self.log_odds_at for at in places], dtype=torch.long)
        self.register_buffer("log_odds_places", places, persistent=False)
        ranks = self._ranks()
        ranks[:last] = ranks.max() + 1
        order = self.identities.in_order(ranks.argsort(stable=True).tolist())
        self.register_buffer("fixed_order", torch.tensor(order), persistent=False)

    def _constrain(self, relations: Any, starts: Sequence[int]) -> None:
        """Take in what always holds between cells; starts : of each block in theta."""
        names = "identities", "supports", "exclusions", "n_rows", "dependents"
        identities, supports, exclusions, n_rows, dependents = (getattr(relations, name, ()) for name in names)
        self.identities_of: dict[int, list[int]] = {}
        for at, one in enumerate(identities):
            for j in one.solvable:
                self.identities_of.setdefault(j, []).append(at)
        self.identities = Identities(identities, self.indicators.tolist(), n_rows or 1, dependents)
        self.supports = Supports(supports, exclusions, [self.likelihood(j) for j in range(self.n_variables)], n_rows or 1)
        self.code_places = [  # of each variable, in theta
            [start + at for at in places]
            for start, likelihood in zip(starts, self.blocks, strict=False)
            for places in likelihood.code_places
        ]

    def _ranks(self) -> Tensor:
        """By which cells are ordered, (n_variables,): few categories, numbers, many categories.

        Numbers given their class are simple, a class given thirty numbers is not.
        """
        numbers = [likelihood.chain_rank for likelihood in self.blocks for _ in likelihood.variables]
        pairs = zip(self.log_odds_at, numbers, strict=True)
        last = max(numbers) + 2
        ranks = [0 if places else last if j >= self.n_numbers else 1 + rank for j, (places, rank) in enumerate(pairs)]
        return torch.tensor(ranks).to(torch.uint8)

    @torch.no_grad()
    def start(self, part: Part, weight: Tensor, means: Tensor) -> None:
        """Fit the regressions and the normal distribution; of many categories, begin at the marginals.

        part : n rows, with weight (n,); means : (n_features,), of numbers and of one-hot codes.
        """
        k, x = self.n_numbers, part.x
        codes, numbers = self._codes_and_numbers(x)
        constants = self.regressions.start(codes, x, numbers.T, part.observed, weight, self.fixed_order)
        design = self.regressions.design(codes, x, part.observed)
        locations, _ = self.regressions.normals(design)
        residuals, explained = numbers.T - locations, weight @ locations.square() / weight.sum()
        continuous = [likelihood.takes_mixture for likelihood in self.blocks for _ in range(likelihood.n_variables)][:k]
        seen = None if part.observed is None else part.observed[:, :k]
        clustered = torch.tensor(continuous, dtype=torch.bool, device=x.device)
        self.normal.fit(residuals, seen, weight, clustered, explained)
        self._start_on_base(design, residuals, part.observed, weight)
        biases = iter(self.network.biases_of_outputs())
        theta = self._marginal_theta(means).index_copy(0, self.log_odds_places, constants)
        for likelihood, bias in self.blocks.split((theta, self.blocks.n_params)):
            for numbers in bias.split([len(columns) * width for columns, width, _ in likelihood.rectangles]):
                rectangle = next(biases)
                rectangle.copy_(numbers.view_as(rectangle))

    def _start_on_base(self, design: Tensor, residuals: Tensor, observed: Tensor | None, weight: Tensor) -> None:
        """Learn from how far numbers are from the normal distribution: by which codes more, and how often very far.

        design : (n, n_sources), what regressions see; residuals : (n, n_numbers).
        """
        k = self.n_numbers
        if k == 0:
            return
        seen = None if observed is None else observed[:, :k]
        order = self.fixed_order[self.fixed_order < k]
        mean, scale = one_normal(*self.normal.in_order(residuals, seen, order))
        deviations, told = (residuals - mean) / scale, residuals if seen is None else residuals * seen
        self.regressions.start_interactions(design, told, deviations, seen, weight, order)
        deviations = deviations - self.regressions.corrections(design, told, _before(self.fixed_order, residuals))
        self.regressions.start_scales(design, deviations, seen, weight)
        _, scales = self.regressions.normals(design)
        deviations = deviations / scales
        deviations = deviations if seen is None else deviations.masked_fill(~seen, math.nan)
        blocks = [likelihood for likelihood in self.blocks if likelihood.n_variables]
        while sum(likelihood.n_variables for likelihood in blocks) > k:
            blocks.pop()
        if len(self.normal.log_weight) == 1:  # several normals may have tails of their own
            for likelihood, part in zip(blocks, deviations.split([b.n_variables for b in blocks], 1), strict=True):
                likelihood.start_on_base(part, weight)

    def _marginal_theta(self, means: Tensor) -> Tensor:
        """Theta (n_params,) of cells that know nothing of each other; zeros where it is relative to the normal distribution.

        means : as in `start`.
        """
        parts = []
        for likelihood, mean in self.blocks.split((means, self.blocks.n_features)):
            bias = means.new_zeros(likelihood.n_params)
            if not likelihood.takes_base:
                bias, _ = likelihood.start(mean, mean.new_zeros(len(mean), 0), means.new_ones(()))
            parts.append(bias)
        return torch.cat(parts)

    @property
    def n_rows_start(self) -> int:
        """How many rows `start` needs to see."""
        return min(N_ROWS_START, max(2000, N_CELLS_START // sum(self.blocks.n_features)))

    def order(self, rng: Generator) -> Tensor | None:
        """An order to train in, (n_variables,): half of the time None, which is that of scores and draws."""
        if torch.rand((), generator=rng, device=rng.device) > self.random_orders:
            return None
        place = torch.rand(self.n_variables, generator=rng, device=rng.device)
        with_indicator = (self.indicators >= 0).nonzero()[:, 0]
        at = self.indicators[with_indicator]
        place[at] = torch.minimum(place[at], place[with_indicator]) - 1e-6
        return place.argsort()

    def log_prob(self, part: Part, order: Tensor | None = None, rng: Generator | None = None) -> Tensor:
        """Nats of each cell given those before it, zero where missing; summed over a row, log p(x).

        part : n rows; order : (n_variables,), or None for the first; rng : of noise and dropout, which there are none
        without. Returns (n, n_variables).
        """
        x, observed, blocks = part.x, part.observed, self.blocks
        order = self.fixed_order if order is None else order
        codes, numbers = self._codes_and_numbers(x)
        place = order.argsort().tolist()
        before = self.identities.see(_before(order, x), place)
        blurred, dropped = self._disturbed(numbers, rng)
        theta = self.network(codes, blurred, before, None if observed is None else observed.T, dropped)
        design = self.regressions.design(codes, x, observed)
        logits, locations, scales = self.regressions(design, before)
        theta = theta.index_add(1, self.log_odds_places, logits)
        limits = list(self.supports.narrow(codes, x, observed, before))
        if limits:
            places = theta.new_tensor([at for j, *_ in limits for at in self.code_places[j]], dtype=torch.long)
            theta = theta.index_add(1, places, torch.cat([bias for _, bias, _ in limits], 1))
        in_order = self._normals_in_order(numbers.T, locations, scales, design, observed, order, before)
        normals = [(normal, blocks.widths) for normal in in_order]
        split = blocks.split((theta, blocks.n_params), (x, blocks.widths), *normals)
        log_probs = side_by_side([_log_prob(*arguments) for arguments in split])
        if limits:
            log_probs = log_probs.index_add(
                1, x.new_tensor([j for j, *_ in limits], dtype=torch.long), torch.stack([nats for *_, nats in limits], 1)
            )
        if self.identities:
            log_probs = self.identities.count(log_probs, self._of_no_offset(theta, x), x, observed, place)
        return blocks.count(log_probs, part, theta)

    def _of_no_offset(self, theta: Tensor, x: Tensor) -> Tensor:
        """Nats of gates that say that rows do not keep an equation, (n, n_variables), anything of other cells."""
        x = x.clone()
        for one in self.identities.identities:
            if one.gate >= 0:
                x[:, one.gate] = one.n_offsets
        out = torch.zeros_like(x)
        start = 0
        for likelihood, part, cells in self.blocks.split((theta, self.blocks.n_params), (x, self.blocks.widths)):
            width = cells.shape[1]
            if any(start <= gate < start + width for gate in self.identities.gates):
                out[:, start : start + width] = likelihood.log_prob(cells, part)
            start += width
        return out

    def _codes_and_numbers(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Codes, int, (n_variables, n), and features of numbers, (n_numbers, n)."""
        codes = side_by_side([likelihood.codes(cells) for likelihood, cells in self.blocks.split((x, self.blocks.widths))])
        return codes.T, self.blocks.features(x)[:, : self.n_numbers].T

    def _disturbed(self, numbers: Tensor, rng: Generator | None) -> tuple[Tensor, Tensor | None]:
        """Numbers (n_numbers, n) with noise, as weight decay of a kind (Bishop, 1995), and factors of the hidden units,
        (n, width); without rng, the numbers as they are.
        """
        if rng is None:
            return numbers, None
        least, most = DROPOUT
        share = least + (most - least) * min(1.0, FEW_ROWS / self.n_rows) ** 2
        noise = torch.empty_like(numbers).normal_(std=NOISE, generator=rng)
        kept = numbers.new_empty(numbers.shape[1], self.width).uniform_(generator=rng) > share
        return numbers + noise, kept.to(numbers.dtype) / (1 - share)

    def _normals_in_order(
        self,
        numbers: Tensor,
        locations: Tensor,
        scales: Tensor,
        design: Tensor,
        observed: Tensor | None,
        order: Tensor,
        before: Tensor,
    ) -> tuple[Tensor, ...]:
        """Log-weights, means and standard deviations of each cell's normals, any of categories: (m, n, n_variables) each.

        numbers, and locations and scales that they have by regressions : (n, n_numbers); design : (n, n_sources); before :
        (n_variables, n_variables), one where the cell of the row sees that of the column.
        """
        k, rest = self.n_numbers, self.n_variables - self.n_numbers
        if k == 0:
            zero = numbers.new_zeros(1, len(numbers), rest)
            return zero, zero, zero + 1
        seen = None if observed is None else observed[:, :k]
        residuals = numbers - locations
        log_weight, location, scale = self.normal.in_order(residuals, seen, order[order < k])
        seen_residuals = residuals if seen is None else residuals * seen
        unseen = ((1 - before[:k]) * self.regressions.explained.T).sum(1)
        scale = (scale.square() + unseen).sqrt()
        location = location + scale * self.regressions.corrections(design, seen_residuals, before)
        location, scale = locations + location, scales * scale
        parts = torch.broadcast_tensors(log_weight, location, scale)
        return tuple(F.pad(part, (0, rest), value=value) for part, value in zip(parts, (0.0, 0.0, 1.0), strict=True))

    def sample(self, x: Tensor, known: Tensor, rng: Generator) -> Tensor:
        """Rows whose unknown cells are drawn given the known ones.

        The chain in its fixed order, which scores and free draws have, is the model. Where a known cell comes late in it,
        candidates are drawn that see the known cells from the start, and taken as often as the fixed order makes the whole
        row likelier than they were drawn (sampling-importance-resampling: Rubin, 1988).

        x : (n, n_variables), unknown cells anything in the support; known : the same, bool. A cell that is known to be
        missing is not known, but that it is missing is. Returns (n, n_variables).
        """
        if not self._known_after_unknown(x, known):
            return self._draw_in_order(_PartialRows(self, x, known), rng).x
        return self._resampled(self._draw_in_order, x, known, rng)

    def _resampled(self, draw: Callable, x: Tensor, known: Tensor, rng: Generator) -> Tensor:
        """Rows of the fixed order given what is known, by candidates, which rows of which the same is known share.

        draw : fills in a `_PartialRows`; the others as in `sample`.
        """
        told = torch.cat([torch.where(known, x, 0.0), known.to(x.dtype)], 1)
        _, condition, wanted = told.unique(dim=0, return_inverse=True, return_counts=True)
        rows = condition.argsort(stable=True)  # those of a condition side by side
        first = rows[wanted.cumsum(0) - wanted]
        out = x.clone()
        for n in wanted.unique().tolist():
            which = (wanted == n).nonzero()[:, 0]
            ends = wanted.cumsum(0)[which]
            places = rows[ends[:, None] - n + torch.arange(n, device=x.device)]
            # few conditions at once, so that memory stays small
            size = max(1, N_CELLS_OF_CANDIDATES // (n * CANDIDATES[0] * self.n_variables))
            for part, at in zip(first[which].split(size), places.split(size), strict=True):
                out[at] = self._pick(draw, x[part], known[part], n, rng)
        return out

    def _pick(self, draw: Callable, x: Tensor, known: Tensor, n: int, rng: Generator) -> Tensor:
        """n rows of each of c conditions: (c, n, n_variables). x, known : (c, n_variables)."""
        pool, log_weight = x.new_zeros(len(x), 0, self.n_variables), x.new_zeros(len(x), 0)
        needy, out = torch.arange(len(x), device=x.device), x.new_zeros(len(x), n, self.n_variables)
        for more in CANDIDATES:
            m = max(more * n, LEAST_CANDIDATES)
            state = _PartialRows(self, x[needy].repeat_interleave(m, 0), known[needy].repeat_interleave(m, 0), scored=True)
            state = draw(state, rng)
            state.settle_gates()
            part = Part(state.x, None if state.decided.all() else state.decided)
            told = (self.log_prob(part).sum(-1) - state.log_prob + self._unlike_measures(state)).view(-1, m)
            pool = torch.cat([pool, state.x.view(len(needy), m, -1)], 1)
            log_weight = torch.cat([log_weight, told], 1)
            share = log_weight.softmax(1)
            done = 1 / share.square().sum(1) >= LEAST_EFFECTIVE + n
            done |= torch.full_like(done, more == CANDIDATES[-1])
            if done.any():
                chosen = torch.multinomial(share[done], n, replacement=True, generator=rng)
                out[needy[done]] = pool[done].gather(1, chosen.unsqueeze(-1).expand(-1, -1, self.n_variables))
            if done.all():
                break
            needy, pool, log_weight = needy[~done], pool[~done], log_weight[~done]
        return out

    def _unlike_measures(self, state: "_PartialRows") -> Tensor:
        """Nats, (n,), between densities of the cells that the fixed order counts and of those that were drawn.

        Of a sum of which the total is known, the last part follows where it is drawn, but the total where rows are scored.
        """
        if not self.identities:
            return state.log_prob.new_zeros(len(state.x))
        counted = state.decided.clone()
        for one in self.identities.identities:
            counted[:, one.members[0]] &= ~self.identities.kept(one, state.x, state.decided)
        drawn = state.decided & ~state.followed
        nats = self.identities.log_jacobian(state.x, counted.to(state.x) - drawn.to(state.x))
        for one in self.identities.identities:
            for j, log_width in zip(one.members, one.log_widths, strict=True):
                follows = ~counted[:, j] if j == one.members[0] else torch.zeros_like(counted[:, j])
                nats = nats + log_width * (state.followed[:, j].to(nats) - follows.to(nats))
        return nats

    def _known_after_unknown(self, x: Tensor, known: Tensor) -> bool:
        """Whether a known cell comes after one that is to be drawn. x, known : as in `sample`."""
        with_indicator = self.indicators >= 0
        decided, at = known | self.identities.hidden, self.indicators[with_indicator]
        decided[:, with_indicator] |= known[:, at] & (x[:, at] > 0.5)
        for gap, missing in self.identities.members_missing.items():
            decided[:, gap] |= (known[:, missing] & (x[:, missing] > 0.5)).any(1)
        known = known & ~self.identities.hidden
        after_gap = (~decided)[:, self.fixed_order].cumsum(1) > 0
        return bool((known[:, self.fixed_order] & after_gap).any())

    def _draw_in_order(self, state: "_PartialRows", rng: Generator) -> "_PartialRows":
        """Draw what is not known, in the fixed order."""
        conditioned = bool(state.known.any())
        for j in self.fixed_order.tolist():
            if conditioned:
                self._follow_backwards(state, rng)
            if not self.identities.hidden[j]:
                self._draw(j, state, ~state.decided[:, j] & ~state.is_missing(j), rng)
        return state

    def _follow_backwards(self, state: "_PartialRows", rng: Generator) -> None:
        """Set what follows from known cells that come later in the fixed order: the last part of a known total, say."""
        found = True
        while found:
            found = False
            for at, one in enumerate(self.identities.identities):
                for j in one.solvable:
                    if j != one.members[0] and (rows := state.follows(at, j) & ~state.is_missing(j)).any():
                        found |= bool(self._follow(at, j, state, rows, rng).any())

    def _follow(self, at: int, j: int, state: "_PartialRows", rows: Tensor, rng: Generator) -> Tensor:
        """Set variable j of some rows (n,) to what follows by an identity; returns where it does, (n,)."""
        one = self.identities.identities[at]
        codes = state.x.new_zeros(len(state.x))
        if one.gate >= 0:
            likelihood, _, thetas = self._conditional(one.gate, state)
            if one.exact:
                thetas = thetas.clone()
                thetas[..., likelihood.code_places[0][-1]] -= OUT_OF_REACH
            codes = likelihood.sample(thetas[0], rng)[:, 0]
            state.set_gate(one.gate, codes, rows)
            if state.scored:
                state.log_prob += rows * likelihood.log_prob(codes[:, None], thetas[0])[:, 0]
        state.tried[:, at] |= rows
        rows = rows & (codes < one.n_offsets) if one.gate >= 0 else rows
        if rows.any():
            cells, valid = self.identities.solve(at, j, state.x[rows], codes[rows])
            whole = state.x[:, j].clone()
            whole[rows] = cells
            valid = valid & self._is_allowed(j, whole, state)[rows]
            impossible, rows = rows.clone(), rows.clone()
            rows[impossible] = valid
            self._give_up(one, state, impossible & ~rows)
            state.set_(j, torch.where(rows, whole, state.x[:, j]), rows)
            state.followed[:, j] |= rows
        return rows

    def impute(self, x: Tensor, known: Tensor, rng: Generator) -> Tensor:
        """Rows whose unknown cells are drawn given the known ones, also those that are known to be missing.

        x, known, and what is returned : as in `sample`. The seldom missing come first, and a cell counts as missing until
        its turn: a house without pool or alley shall not have both when the width of its plot is drawn.
        """
        out, holed = x.clone(), (~known).any(1)
        with_indicator = self.indicators >= 0
        told_missing = ~known[:, with_indicator] & known[:, self.indicators[with_indicator]]
        several = told_missing.sum(1) > 1
        if (rows := (holed & several).nonzero()[:, 0]).numel():
            out[rows] = self._impute_cell_by_cell(x[rows], known[rows], rng)
        if (rows := (holed & ~several).nonzero()[:, 0]).numel():
            out[rows] = self._resampled(self._fill, x[rows], known[rows], rng)
        return out

    def _impute_cell_by_cell(self, x: Tensor, known: Tensor, rng: Generator) -> Tensor:
        """As `impute`: each cell given the known ones and those before it, the others missing. Written in place."""
        for j in self._by_missing_share():
            if (rows := (~known[:, j]).nonzero()[:, 0]).numel():
                x[rows] = self._resampled(partial(self._fill, only=j), x[rows], known[rows], rng)
                known[rows, j] = True
                at = int(self.indicators[j])
                if at >= 0:
                    x[rows, at], known[rows, at] = 0.0, True
        return x

    def _by_missing_share(self) -> list[int]:
        """Variables, those that are seldom missing first."""
        # the mean of the indicator is the share of missing cells
        means = F.pad(self.normal.log_weight.exp() @ self.normal.mean, (0, 1))
        return torch.where(self.indicators < 0, -torch.inf, means[self.indicators]).argsort(stable=True).tolist()

    def _fill(self, state: "_PartialRows", rng: Generator, only: int | None = None) -> "_PartialRows":
        """Draw what is not known, also what is known to be missing; only : the variable to draw, if not all."""
        for j in self._by_missing_share() if only is None else [only]:
            drawn = ~state.known[:, j]
            if drawn.any():
                state.mark_present(j, drawn)
                self._draw(j, state, drawn, rng)
        return state

    def _is_allowed(self, j: int, cells: Tensor, state: "_PartialRows") -> Tensor:
        """Whether variable j may be such cells (n,), given the codes that it sees."""
        if j not in self.supports.targets:
            return torch.ones_like(cells, dtype=torch.bool)
        return ~self.supports.breaks(j, cells, self.likelihood(j).to(cells).codes(cells[:, None])[:, 0], state.forbidden(j))

    @staticmethod
    def _give_up(one: Identity, state: "_PartialRows", rows: Tensor) -> None:
        """Let some rows (n,), of which no cell can follow, not keep an equation; if all rows keep it, see at the end."""
        if one.gate >= 0 and not one.exact:
            state.set_gate(one.gate, torch.full_like(state.log_prob, one.n_offsets), rows)
        elif one.gate >= 0:
            state.decided[:, one.gate] &= ~rows

    def _draw(self, j: int, state: "_PartialRows", drawn: Tensor, rng: Generator) -> None:
        """Draw variable j of some rows, (n,), or set it where it follows from others."""
        for at in self.identities_of.get(j, ()):
            if (rows := drawn & state.follows(at, j)).any():
                drawn = drawn & ~self._follow(at, j, state, rows, rng)
        if drawn.any():
            self._draw_from(*self._conditional(j, state), j, state, drawn, rng)

    @staticmethod
    def _draw_from(likelihood, log_weight, thetas, j: int, state: "_PartialRows", drawn: Tensor, rng: Generator) -> None:
        """Draw variable j of some rows, (n,), from what `_conditional` returned."""
        component = torch.multinomial(log_weight.exp().T, 1, generator=rng)[:, 0] if len(thetas) > 1 else 0
        x = likelihood.sample(thetas[component, torch.arange(len(state.x), device=thetas.device)], rng)
        if state.scored:
            state.log_prob += drawn * _mixture_log_prob(likelihood, x, log_weight[..., None], thetas)[:, 0]
        state.set_(j, torch.where(drawn, x[:, 0], state.x[:, j]), drawn)

    @torch.no_grad()
    def calibrate(self, part: Part, weight: Tensor, rng: Generator) -> None:
        """Shift the biases until codes are as frequent in draws as in the data, one variable after the other.

        What training leaves behind (dropout moves every mean a little, and errors of earlier cells add up in later ones)
        held-out scores hardly see, but every marginal of a large sample shows it. The scores of held-out rows of Adult and
        Magic rose by .002 and .005 nats.

        part : n rows, with weight (n,).
        """
        x, observed = part.x, part.observed
        widest = max(max(likelihood.n_codes) for likelihood in self.blocks)
        if observed is not None:  # rows may have as many covariances
            widest = max(widest, self.n_numbers**2 // 4)
        n_rows = min(N_CALIBRATION, max(1000, 4 * len(x)), N_COVARIANCES_AT_ONCE // widest)
        drawn = x.new_zeros(n_rows, self.n_variables)
        state = _PartialRows(self, drawn, torch.zeros_like(drawn, dtype=torch.bool))
        for j in self.fixed_order.tolist():
            there = ~state.is_missing(j) & ~self.identities.hidden[j]
            counted = weight if observed is None else weight * observed[:, j]
            for at in self.identities_of.get(j, ()):
                if (rows := there & state.follows(at, j)).any():
                    self._calibrate_gate(at, state, rows, part, weight)
                    there = there & ~self._follow(at, j, state, rows, rng)
                    counted = counted * ~self.identities.kept(self.identities.identities[at], x, observed)
            if there.any():
                likelihood, log_weight, thetas = self._conditional(j, state)
                shift = likelihood.calibration(thetas[0, there], x[:, j : j + 1], counted)
                self.network.shift(j, shift, [width for _, width, _ in likelihood.rectangles])
                self._draw_from(likelihood, log_weight, thetas + shift, j, state, there, rng)

    def _calibrate_gate(self, at: int, state: "_PartialRows", rows: Tensor, part: Part, weight: Tensor) -> None:
        """Shift the biases of a gate until offsets are as frequent in some rows (n,) as in a part."""
        gate = self.identities.identities[at].gate
        if gate >= 0:
            likelihood, _, thetas = self._conditional(gate, state)
            counted = weight if part.observed is None else weight * part.observed[:, gate]
            shift = likelihood.calibration(thetas[0, rows], part.x[:, gate : gate + 1], counted)
            self.network.shift(gate, shift, [width for _, width, _ in likelihood.rectangles])

    @torch.no_grad()
    def calibrate_scales(self, part: Part, weight: Tensor) -> None:
        """Shift the log-scales of numbers to where rows are likeliest.

        In training, dropout and noise make locations vary, and scales learn to cover that; without them, they are too wide.

        part : n rows that it was not trained on, with weight (n,).
        """
        likelihoods = [self.likelihood(j) for j in range(self.n_numbers)]
        done = best = weight.new_zeros(self.n_numbers)
        gained = weight @ self.log_prob(part)[:, : self.n_numbers]
        for shift in SCALE_SHIFTS:
            self._shift_scales(likelihoods, shift - done)
            done = torch.full_like(done, shift)
            told = weight @ self.log_prob(part)[:, : self.n_numbers]
            better = told > gained + SHIFT_GAIN
            best, gained = torch.where(better, done, best), torch.where(better, told, gained)
        self._shift_scales(likelihoods, best - done)

    def _shift_scales(self, likelihoods: Sequence[AbstractLikelihood], by: Tensor) -> None:
        """Add to the log-scales of numbers, each with a likelihood by itself. by : (n_numbers,)."""
        for j, likelihood in enumerate(likelihoods):
            shift = by.new_zeros(likelihood.n_params)
            shift[likelihood.log_scales_at] = by[j]
            self.network.shift(j, shift, [width for _, width, _ in likelihood.rectangles])

    def centre(self, x: Tensor, known: Tensor) -> Tensor:
        """Rows whose unknown cells are the centres of their distributions given the known ones.

        Categories come first, each by itself, and numbers are given these: a number of which the class is not known would be
        told by the others as if rows of all classes were alike.

        x, known : as in `sample`; a cell that is known to be missing is filled in as if that were not known.
        """
        out, x, known = x.clone(), x.clone(), known.clone()
        unknown = (~known).any(0).nonzero()[:, 0].tolist()
        by_bayes = [j for j in unknown if self.log_odds_at[j]]
        holes = {j: (~known[:, j]).nonzero()[:, 0] for j in unknown}
        for j in by_bayes:
            out[holes[j], j] = self._centre_of_codes(j, x[holes[j]], known[holes[j]])
        for j in by_bayes:
            at = int(self.indicators[j])
            if at < 0:  # where cells may be missing, others may depend on their being so
                x[holes[j], j], known[holes[j], j] = out[holes[j], j].round(), True
        for j in unknown:
            if j not in by_bayes:
                state = _PartialRows(self, x[holes[j]], known[holes[j]], present=j)
                likelihood, log_weight, thetas = self._conditional(j, state)
                out[holes[j], j] = (log_weight.exp() * likelihood.centre(thetas)[..., 0]).sum(0)
        return out

    def _centre_of_codes(self, j: int, x: Tensor, known: Tensor) -> Tensor:
        """The most probable code of variable j, or of two codes the probability of the second: (n,).

        Bayes' rule over the codes, with densities of the fixed order: there categories come before numbers, and the chain
        has learned in that order what numbers tell of categories. x, known : as in `sample`.
        """
        likelihood, places = self.likelihood(j), len(self.code_places[j])
        is_boolean = not likelihood.variables[0].coded
        observed = known.clone()
        observed[:, j] = True
        at = int(self.indicators[j])
        x = x.clone()
        if at >= 0:
            x[:, at], observed[:, at] = 0.0, True
        nats = []
        for level in range(2 if is_boolean else places):
            x[:, j] = level
            nats.append(self.log_prob(Part(x, observed)).sum(-1))
        share = torch.stack(nats, 1).softmax(1)
        return share[:, 1] if is_boolean else share.argmax(1).to(x)

    def _conditional(self, j: int, state: "_PartialRows") -> tuple[AbstractLikelihood, Tensor, Tensor]:
        """The likelihood of variable j by itself, log-weights (m, n) of its mixture, and thetas (m, n, n_params) of that,
        given what is known of each row.
        """
        likelihood = state.likelihood(j)
        theta = self.network.single(j, state.context, [width for _, width, _ in likelihood.rectangles])
        if self.log_odds_at[j]:
            at = theta.new_tensor(likelihood.log_odds_at[0], dtype=torch.long)
            theta = theta.index_add(1, at, self.regressions.logits(state.design, j))
        if j in self.supports.targets:
            at = theta.new_tensor(likelihood.code_places[0], dtype=torch.long)
            theta = theta.index_add(1, at, self.supports.bias(j, state.forbidden(j)))
        normals = (part[..., None] for part in state.normals(j))
        log_weight, location, scale = _mixture_for(likelihood, *normals)
        return likelihood, log_weight[..., 0], likelihood.on_base(theta.expand(len(location), -1, -1), location, scale)

    def likelihood(self, j: int) -> AbstractLikelihood:
        """The likelihood of variable j by itself."""
        block, place = self.block_of[j]
        return cast(AbstractLikelihood, self.blocks.likelihoods[block]).single(place)


def _before(order: Tensor, like: Tensor) -> Tensor:
    """One where the cell of the row sees that of the column, (n_variables, n_variables); order : (n_variables,)."""
    place = order.argsort()
    return (place[:, None] > place[None, :]).to(like)


def _mixture_for(likelihood: AbstractLikelihood, log_weight: Tensor, location: Tensor, scale: Tensor) -> tuple[Tensor, ...]:
    """The mixture (m, ...) if the likelihood goes with one, else one normal of its mean and spread, (1, ...)."""
    if likelihood.takes_mixture or len(location) == 1:
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
    thetas = likelihood.on_base(theta.expand(len(location), -1, -1), location, scale)
    return _mixture_log_prob(likelihood, x, log_weight, thetas)


def _mixture_log_prob(likelihood: AbstractLikelihood, x: Tensor, log_weight: Tensor, thetas: Tensor) -> Tensor:
    """Nats of cells x (n, k) of a mixture of log-weights (m, n, k) and thetas (m, n, n_params): (n, k)."""
    log_probs = likelihood.log_prob(x.expand(len(thetas), -1, -1), thetas)
    return log_probs[0] if len(log_probs) == 1 else (log_weight + log_probs).logsumexp(0)


class _PartialRows:
    """Rows of a `Chain` that are being filled in.

    x, known : as in `sample`; present : a variable that counts as not missing, although it may be known to be; scored :
    whether to add up how likely the cells are that are drawn.

    Attributes
    ----------
    context : (n, width), the sum of the messages of the known cells.
    decided : (n, n_variables), which cells are there.
    numbers : (n, k), features of the numbers.
    design : (n, n_sources), what regressions see of the known cells; locations, scales : (n, k), of numbers by them.
    log_weight : (m, n), of the normals, given the numbers that are there.
    log_prob : (n,), nats of what was drawn, where scored.
    """

    def __init__(self, chain: Chain, x: Tensor, known: Tensor, present: int | None = None, scored: bool = False):
        self.chain, self.x, self.known = chain, x.clone(), known
        self.scored, self.log_prob = scored, x.new_zeros(len(x))
        self._likelihoods: dict[int, AbstractLikelihood] = {}
        at = -1 if present is None else int(chain.indicators[present])
        if at >= 0:
            self.x[:, at] = 0.0
        self.table = chain.network.table()
        codes, numbers = chain._codes_and_numbers(self.x)
        seen = known & ~chain.identities.hidden
        self.context = chain.network.messages(self.table, codes, numbers, seen.T).sum(0)
        self.numbers = numbers.T.clone(memory_format=torch.contiguous_format)  # features may be the cells themselves
        self.decided = known.clone()
        self.followed = torch.zeros_like(known)
        self.tried = known.new_zeros(len(x), len(chain.identities.identities))
        self.codes = codes.clone()
        self.design = chain.regressions.design(codes, self.x, known)
        self.locations, self.scales = chain.regressions.normals(self.design)
        self.log_weight = chain.normal.weigh(self._residuals, self._numbers_decided)

    @property
    def _numbers_decided(self) -> Tensor:
        return self.decided[:, : self.chain.n_numbers]

    def likelihood(self, j: int) -> AbstractLikelihood:
        """That of variable j by itself."""
        if j not in self._likelihoods:
            self._likelihoods[j] = self.chain.likelihood(j).to(self.x)
        return self._likelihoods[j]

    def is_missing(self, j: int) -> Tensor:
        """Which rows, (n,), have variable j missing."""
        at = int(self.chain.indicators[j])
        missing = self.chain.identities.members_missing.get(j, [at] if at >= 0 else [])
        return (self.x[:, missing] > 0.5).any(1) if missing else torch.zeros_like(self.known[:, j])

    def follows(self, at: int, j: int) -> Tensor:
        """Which rows, (n,), have all members of an identity but j, and j may follow from them."""
        members = self.chain.identities.identities[at].members
        others = self.decided[:, [other for other in members if other != j]].all(1)
        return others & ~self.decided[:, j] & ~self.tried[:, at]

    def set_gate(self, gate: int, codes: Tensor, rows: Tensor) -> None:
        """Take codes (n,) of some rows (n,) for a gate."""
        self.x[:, gate] = torch.where(rows, codes, self.x[:, gate])
        self.decided[:, gate] |= rows

    def settle_gates(self) -> None:
        """Set the gates and gaps of identities whose members all are there, but were not set by it."""
        for at, one in enumerate(self.chain.identities.identities):
            own = one.gate if one.gate >= 0 else one.members[-1]
            rows = self.decided[:, [j for j in one.members if j != own]].all(1) & ~self.decided[:, own]
            if rows.any():
                cells = self.chain.identities.repack(at, self.x[rows])
                self.x[rows, own] = cells.nan_to_num()
                self.decided[rows, own] = ~cells.isnan()

    def forbidden(self, j: int) -> Tensor:
        """Which codes variable j may not have, (n, n_codes), given the cells that are there."""
        return self.chain.supports.forbidden(j, self.codes, self.x, self.decided.to(self.x))

    def normals(self, j: int) -> tuple[Tensor, Tensor, Tensor]:
        """Log-weights, means and standard deviations of the normals of variable j, any of a category: (m, n) each."""
        if j >= self.chain.n_numbers:
            zero = torch.zeros_like(self.x[None, :, 0])
            return zero, zero, zero + 1
        location, scale = self._normal(j)
        residuals = self._residuals * self._numbers_decided
        corrected = location + scale * self.chain.regressions.correction(self.design, residuals, j)
        return self.log_weight, self.locations[:, j] + corrected, self.scales[:, j] * scale

    @property
    def _residuals(self) -> Tensor:
        """Numbers less their locations, (n, k)."""
        return self.numbers - self.locations

    def _normal(self, j: int) -> tuple[Tensor, Tensor]:
        """Means and standard deviations of the residual of number j before the correction, (m, n) each."""
        mean, scale = self.chain.normal.given(self._residuals, self._numbers_decided, j)
        unseen = (~self.decided).to(scale) @ self.chain.regressions.explained[:, j]
        return mean, (scale.square() + unseen).sqrt()

    def set_(self, j: int, values: Tensor, drawn: Tensor) -> None:
        """Take values (n,) for variable j, known from now on where drawn, (n,)."""
        self.x[:, j] = values
        message, numbers = self._message(j)
        self.context = self.context + message * drawn.unsqueeze(-1)
        if j < self.chain.n_numbers:
            if len(self.log_weight) > 1:
                residual = numbers - self.locations[:, j]
                seen = log_odds((self.log_weight, *self._normal(j)), residual)
                self.log_weight = torch.where(drawn, seen, self.log_weight)
            self.numbers[:, j] = torch.where(drawn, numbers, self.numbers[:, j])
        self.decided[:, j] |= drawn
        if self.chain.supports:
            self.codes[j] = self.likelihood(j).codes(self.x[:, j : j + 1])[:, 0]
        if self.chain.log_odds_at[j]:
            self._see_code(j, drawn)

    def _see_code(self, j: int, drawn: Tensor) -> None:
        """Regressions see the category of variable j from now on where drawn, (n,)."""
        regressions, likelihood = self.chain.regressions, self.likelihood(j)
        seen = regressions.design_of(j, likelihood.codes(self.x[:, j : j + 1])[:, 0], self.x[:, j])
        columns = slice(*regressions.columns_of(j))
        self.design = self.design.clone()
        self.design[:, columns] = torch.where(drawn.unsqueeze(-1), seen, self.design[:, columns])
        self.locations, self.scales = regressions.normals(self.design)

    def mark_present(self, j: int, drawn: Tensor) -> None:
        """Variable j counts as not missing from now on, where drawn, (n,)."""
        at = int(self.chain.indicators[j])
        if at >= 0:
            self.context = self.context - self._message(at)[0] * (drawn & self.known[:, at]).unsqueeze(-1)
            self.set_(at, torch.where(drawn, 0.0, self.x[:, at]), drawn)
            self.log_weight = self.chain.normal.weigh(self._residuals, self._numbers_decided)

    def _message(self, j: int) -> tuple[Tensor, Tensor]:
        """The message of variable j, (n, width), and its features, (n,)."""
        likelihood, cells = self.likelihood(j), self.x[:, j : j + 1]
        numbers = likelihood.features(cells)[:, 0]
        return self.chain.network.message(j, self.table, likelihood.codes(cells)[:, 0], numbers), numbers


class _CellLayers(torch.autograd.Function):
    """The hidden layers of `CellPerceptrons`, differentiated by hand: a third of the passes over memory.

    table, slopes, biases, hidden, hidden_biases : the parameters; rows : (n_cells, n), int, of the table; numbers : (k, n),
    of the first k cells; before : (n_cells, n_cells), one where the cell of the row sees that of the column; observed :
    (n_cells, n), one or zero, or None; dropped : (n, width). Returns (n_cells, n, width).
    """

    @staticmethod
    def messages(table, slopes, rows, numbers, observed):
        """The messages of cells, (n_cells, n, width)."""
        messages = F.embedding(rows, table)
        messages[: len(numbers)].addcmul_(numbers.unsqueeze(-1), slopes)
        return messages if observed is None else messages.mul_(observed.unsqueeze(-1))

    @staticmethod
    def plain(table, slopes, biases, hidden, hidden_biases, rows, numbers, before, observed, dropped):
        """The same by operations that torch differentiates."""
        messages, rest = F.embedding(rows, table), len(rows) - len(numbers)
        messages = messages + F.pad(numbers.unsqueeze(-1) * slopes, (0, 0, 0, 0, 0, rest))
        messages = messages if observed is None else messages * observed.unsqueeze(-1)
        first = torch.einsum("ij,jnw->inw", before, messages) + biases
        hidden_first = F.silu(first) * dropped
        second = torch.baddbmm(hidden_biases, hidden_first, hidden)
        return F.silu(second) * dropped + hidden_first

    @staticmethod
    def forward(ctx, table, slopes, biases, hidden, hidden_biases, rows, numbers, before, observed, dropped):
        messages = _CellLayers.messages(table, slopes, rows, numbers, observed)
        first = (before @ messages.flatten(1)).view_as(messages).add_(biases)
        seen = F.silu(first).mul_(dropped)
        second = torch.baddbmm(hidden_biases, seen, hidden)
        ctx.save_for_backward(hidden, rows, numbers, before, observed, dropped, first, seen, second)
        ctx.n_codes = len(table)
        return F.silu(second).mul_(dropped).add_(seen)

    @staticmethod
    def backward(ctx, gradient):
        hidden, rows, numbers, before, observed, dropped, first, seen, second = ctx.saved_tensors
        of_second = torch.ops.aten.silu_backward(gradient * dropped, second)
        of_seen = torch.baddbmm(gradient, of_second, hidden.mT).mul_(dropped)
        of_first = torch.ops.aten.silu_backward(of_seen, first)
        of_messages = (before.T @ of_first.flatten(1)).view_as(first)
        if observed is not None:
            of_messages.mul_(observed.unsqueeze(-1))
        of_table = torch.ops.aten.embedding_dense_backward(of_messages, rows, ctx.n_codes, -1, False)
        of_slopes = numbers.unsqueeze(1) @ of_messages[: len(numbers)]
        of_biases, of_hidden_biases = of_first.sum(1, keepdim=True), of_second.sum(1, keepdim=True)
        return of_table, of_slopes, of_biases, seen.mT @ of_second, of_hidden_biases, *[None] * 5


class Basis(nn.Module):
    """Numbers of k cells mixed of functions, and of one by itself for each number.

    Parameters
    ----------
    functions : Tensor (k, n_functions, numbers)
    alone : Tensor (k, numbers)
        How much each number by itself counts.
    """

    functions: Tensor
    alone: Tensor

    def __init__(self, functions: Tensor, alone: Tensor):
        super().__init__()
        self.register_buffer("functions", functions, persistent=False)
        self.register_buffer("alone", alone[:, None], persistent=False)
        self.n_inner = sum(functions.shape[1:])

    def forward(self, weight: Tensor, row: int | slice = slice(None)) -> Tensor:
        """weight : (k, m, n_inner), or of one cell (m, n_inner); returns (k, m, numbers), or (m, numbers)."""
        functions, alone = self.functions[row], self.alone[row]
        shared, own = weight.split([functions.shape[-2], alone.shape[-1]], -1)
        return shared @ functions + own * alone


class _Output(nn.Module):
    """What k cells of `CellPerceptrons` put out: rectangles, (k, numbers) each.

    Parameters
    ----------
    cells : list of int
    rectangles : sequence of (int, Basis or None)
        How many numbers, and what they are mixed of.
    """

    def __init__(self, cells: list[int], rectangles: Sequence[tuple], width: int, rng: Generator):
        super().__init__()
        self.cells, self.widths = cells, [n for n, _ in rectangles]
        self.bases = nn.ModuleList([nn.Identity() if basis is None else basis for _, basis in rectangles])
        self.inner = [n if basis is None else basis.n_inner for n, basis in rectangles]
        shape = len(cells), width, sum(self.inner)
        self.weight = nn.Parameter(torch.empty(shape).normal_(std=0.01 / math.sqrt(width), generator=rng))
        self.bias = nn.Parameter(torch.zeros(len(cells), 1, sum(self.widths)))

    def mixed(self, row: int | slice = slice(None)) -> Tensor:
        """Weights of all cells, or of one: (..., width, numbers)."""
        parts = zip(self.bases, self.weight[row].split(self.inner, -1), strict=True)
        mixed = [basis(part, row) if isinstance(basis, Basis) else part for basis, part in parts]
        return side_by_side(mixed)

    def forward(self, hidden: Tensor) -> list[Tensor]:
        """hidden : (k, n, width); returns a (n, k * numbers) of each rectangle."""
        out = torch.baddbmm(self.bias, hidden, self.mixed())
        return [part.transpose(0, 1).flatten(1) for part in out.split(self.widths, -1)]


class CellPerceptrons(nn.Module):
    """For every cell of a row a perceptron of the cells that it may see: NADE (Larochelle & Murray, 2011).

    The message of a cell is a vector: that of its code plus its number times a slope. A cell sees the sum of the messages of
    others, so any mask of who sees whom is possible. Each cell has weights of its own, as batched products.

    Parameters
    ----------
    n_codes : sequence of int
        How many codes each cell may have.
    n_numbers : int
        How many of the cells are numbers; they come first.
    outputs : sequence of (list of int, int, Basis or None)
        Rectangles of the output: k cells, how many numbers each of them puts out, and the basis that these are mixed of;
        None where they are free. Cells with a basis put out a number a code, and the messages of their codes are mixed of
        the same functions: neighbours have like messages. Every cell is in one rectangle, or in several that stand side by
        side and have the same cells.
    width : int
        Length of the vectors.
    """

    offsets: Tensor
    places: Tensor

    def __init__(self, n_codes: Sequence[int], n_numbers: int, outputs: Sequence[tuple], width: int, rng: Generator):
        super().__init__()
        n_cells, self.n_numbers, self.width = len(n_codes), n_numbers, width

        def normal(*shape, std):
            return nn.Parameter(torch.empty(shape).normal_(std=std, generator=rng))

        # rows of the table of codes: the free ones, then those of each basis
        mixed = [output for output in outputs if output[2] is not None]
        n_free = [0 if any(j in cells for cells, *_ in mixed) else n for j, n in enumerate(n_codes)]
        offsets, start = torch.tensor([0, *n_free[:-1]]).cumsum(0), sum(n_free)
        for cells, n, _ in mixed:
            offsets[cells] = start + n * torch.arange(len(cells))
            start += n * len(cells)
        self.register_buffer("offsets", offsets[:, None], persistent=False)
        self.codes = normal(sum(n_free), width, std=0.3)
        self.bases = nn.ModuleList([basis for *_, basis in mixed])
        self.mixes = nn.ParameterList([normal(len(cells), width, basis.n_inner, std=0.3) for cells, _, basis in mixed])
        self.slopes = normal(n_numbers, 1, width, std=0.3)
        self.biases = normal(n_cells, 1, width, std=0.1)
        self.hidden = normal(n_cells, width, width, std=1 / math.sqrt(width))
        self.hidden_biases = nn.Parameter(torch.zeros(n_cells, 1, width))
        groups = [(cells, [tuple(rest) for _, *rest in group]) for cells, group in groupby(outputs, lambda part: part[0])]
        self.outputs = nn.ModuleList([_Output(cells, parts, width, rng) for cells, parts in groups])
        self.register_buffer("places", torch.tensor([j for cells, _ in groups for j in cells]), persistent=False)
        self.in_order = self.places.tolist() == list(range(n_cells))

    def table(self) -> Tensor:
        """The message of every code: (n, width)."""
        mixed = [basis(mix).mT.flatten(0, 1) for basis, mix in zip(self.bases, self.mixes, strict=True)]
        return torch.cat([self.codes, *mixed])

    @torch.no_grad()
    def messages(self, table: Tensor, codes: Tensor, numbers: Tensor, observed: Tensor) -> Tensor:
        """The messages of cells, (n_cells, n, width). table : `table()`; the others as in `forward`."""
        return _CellLayers.messages(table, self.slopes, codes + self.offsets, numbers, observed)

    def message(self, j: int, table: Tensor, codes: Tensor, numbers: Tensor) -> Tensor:
        """The message of cell j, (n, width). table : `table()`; codes, int, and numbers, of a number only : (n,)."""
        message = F.embedding(codes + self.offsets[j], table)
        return message if j >= self.n_numbers else message + numbers[:, None] * self.slopes[j]

    def biases_of_outputs(self) -> list[Tensor]:
        """Those of each rectangle, (k, numbers), to be set."""
        outputs = cast(Iterable[_Output], self.outputs)
        return [part.detach() for output in outputs for part in output.bias[:, 0].split(output.widths, -1)]

    def forward(
        self, codes: Tensor, numbers: Tensor, before: Tensor, observed: Tensor | None = None, dropped: Tensor | None = None
    ) -> Tensor:
        """Outputs of all cells.

        codes : (n_cells, n), int; numbers : (n_numbers, n); before : (n_cells, n_cells), one where the cell of the row sees
        that of the column, else zero; observed : (n_cells, n), bool, or None; dropped : (n, width), factors of the hidden
        units, for dropout. Returns (n, n_outputs).
        """
        dropped = numbers.new_ones(1, self.width) if dropped is None else dropped
        observed = None if observed is None else observed.to(before)
        parameters = self.table(), self.slopes, self.biases, self.hidden, self.hidden_biases
        layers = _CellLayers.plain if plain_derivatives() else _CellLayers.apply
        hidden = layers(*parameters, codes + self.offsets, numbers, before, observed, dropped)
        hidden = hidden if self.in_order else hidden[self.places]
        outputs = cast(Iterable[_Output], self.outputs)
        parts = zip(outputs, hidden.split([len(output.cells) for output in outputs]), strict=True)
        return torch.cat([out for output, part in parts for out in output(part)], 1)

    def single(self, j: int, context: Tensor, widths: Sequence[int]) -> Tensor:
        """Outputs of cell j, (n, sum(widths)).

        context : (n, width), the sum of the messages that it sees; widths : how many numbers to keep of each rectangle with
        the cell.
        """
        hidden = F.silu(context + self.biases[j])
        hidden = hidden + F.silu(torch.addmm(self.hidden_biases[j], hidden, self.hidden[j]))
        output, row = self._output(j)
        parts = torch.addmm(output.bias[row], hidden, output.mixed(row)).split(output.widths, -1)
        return torch.cat([part[:, :width] for part, width in zip(parts, widths, strict=True)], 1)

    @torch.no_grad()
    def shift(self, j: int, by: Tensor, widths: Sequence[int]) -> None:
        """Add to the outputs of cell j, for every row. by : (sum(widths),); widths : as in `single`."""
        output, row = self._output(j)
        for bias, part in zip(output.bias[row, 0].split(output.widths), by.split(list(widths)), strict=True):
            bias[: len(part)] += part

    def _output(self, j: int) -> tuple[_Output, int]:
        """The output with cell j, and its row there."""
        for output in cast(Iterable[_Output], self.outputs):
            if j in output.cells:
                return output, output.cells.index(j)
        raise IndexError(j)
