"""Linear and logistic regressions of cells on the categories of others: what a chain of cells starts with."""

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import minimize
from torch import Tensor, nn

MAX_LEVELS_REGRESSED = 64  # of a category that takes part; others have too few rows a level; unmeasured
MAX_ROWS_LOGISTIC = 20_000  # unmeasured
LOGISTIC_PENALTY = 1.0  # half of it times the squared norm of coefficients, in nats beside those of the rows; unmeasured
MAX_ITER_LOGISTIC = 60
LEAST_RESIDUAL, MOST_LOG_SCALE = 1e-1, 2.0  # of a squared residual; of a log-scale, either way; unmeasured
MOST_INTERACTIONS = 256  # products of a code and a number, at most: of more, few tables tell anything; unmeasured
RIDGES = 10.0 ** np.arange(-3, 4.5, 0.5)  # rows that a coefficient of zero is worth, tried


class CodeRegressions(nn.Module):
    """Of every cell, linear functions of the codes of others: log-odds of its own; of a number, location and log-scale, and
    in what numbers before it correct it.

    Sources are the cells of few codes, each as its one-hot code less the mean of that, and booleans less their mean: so a
    cell that is not seen counts as the average one. Targets are the log-odds of those cells, and two of every number.

    Parameters
    ----------
    n_codes : sequence of int
        Of each cell of few codes, how many columns, and log-odds, it has: 1 of a boolean. The others are 0.
    n_numbers : int
        How many of the cells are numbers; they come first.

    Attributes
    ----------
    explained : (n_variables, n_numbers)
        The variance of what each cell adds to the location of each number: that of the number is so much larger where the
        cell is not seen.
    """

    of_source: Tensor
    of_target: Tensor
    sources: Tensor
    offsets: Tensor
    is_boolean: Tensor
    means: Tensor
    explained: Tensor

    def __init__(self, n_codes: Sequence[int], n_numbers: int):
        super().__init__()
        self.n_numbers = n_numbers
        self.n_codes = list(n_codes)
        of_code = torch.arange(len(self.n_codes)).repeat_interleave(torch.tensor(self.n_codes))
        self.register_buffer("of_source", of_code, persistent=False)
        self.register_buffer("of_target", torch.cat([of_code, *[torch.arange(n_numbers)] * 2]), persistent=False)
        self.widths = [len(of_code), n_numbers, n_numbers]
        sources = torch.tensor([j for j, n in enumerate(self.n_codes) if n], dtype=torch.long)
        offsets = torch.tensor([0, *self.n_codes]).cumsum(0)[:-1]
        self.register_buffer("sources", sources, persistent=False)
        self.register_buffer("offsets", offsets[sources], persistent=False)
        self.register_buffer("is_boolean", torch.tensor(self.n_codes)[sources] == 1, persistent=False)
        self.register_buffer("means", torch.zeros(len(self.of_source)))
        self.register_buffer("explained", torch.zeros(len(self.n_codes), n_numbers))
        self.weight = nn.Parameter(torch.zeros(len(self.of_source), len(self.of_target)))
        # by how much a number corrects another, and by how much more with each code: classes may differ in correlations
        few = len(self.of_source) if len(self.of_source) * n_numbers <= MOST_INTERACTIONS else 0
        self.slopes = nn.Parameter(torch.zeros(n_numbers, n_numbers))
        self.interactions = nn.Parameter(torch.zeros(few, n_numbers, n_numbers))

    def design(self, codes: Tensor, x: Tensor, known: Tensor | None = None) -> Tensor:
        """What regressions see of rows, (n, n_sources): zero of cells that are not known.

        codes : (n_variables, n), int; x : (n, n_variables), the cells; known : the same, bool, or None if all are.
        """
        places = self.offsets[:, None] + codes[self.sources]
        value = torch.where(self.is_boolean, x[:, self.sources], 1.0)
        out = x.new_zeros(len(x), len(self.of_source)).scatter(1, places.T, value) - self.means
        return out if known is None else out * known[:, self.of_source]

    def columns_of(self, j: int) -> tuple[int, int]:
        """The first column of cell j in a design, and the one after its last."""
        start = sum(self.n_codes[:j])
        return start, start + self.n_codes[j]

    def design_of(self, j: int, codes: Tensor, x: Tensor) -> Tensor:
        """The columns of cell j in a design, (n, its codes). codes, int, and x, the cells : (n,)."""
        start, end = self.columns_of(j)
        out = x[:, None] if end - start == 1 else F.one_hot(codes, end - start).to(x)
        return out - self.means[start:end]

    def forward(self, design: Tensor, before: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log-odds (n, n_logits), and locations and scales of numbers, (n, n_numbers) each.

        design : (n, n_sources); before : (n_variables, n_variables), one where the cell of the row sees that of the column.
        """
        seen = before[self.of_target][:, self.of_source].T
        logits, location, log_scale = (design @ (self.weight * seen)).split(self.widths, 1)
        return logits, location, _scale(log_scale)

    def logits(self, design: Tensor, j: int) -> Tensor:
        """Log-odds of cell j, (n, its number of them). design : (n, n_sources)."""
        return design @ self.weight[:, slice(*self.columns_of(j))]

    def normals(self, design: Tensor) -> tuple[Tensor, Tensor]:
        """Locations and scales of numbers, (n, n_numbers) each. design : (n, n_sources)."""
        location, log_scale = (design @ self.weight[:, self.widths[0] :]).split(self.widths[1:], 1)
        return location, _scale(log_scale)

    def corrections(self, design: Tensor, residuals: Tensor, before: Tensor) -> Tensor:
        """By how many standard deviations numbers are elsewhere than the normal distribution has them: (n, n_numbers).

        design : (n, n_sources); residuals : (n, n_numbers), zero where missing; before : as in `forward`.
        """
        k = self.n_numbers
        shared = F.linear(residuals, self.slopes * before[:k, :k])
        if not len(self.interactions):
            return shared
        seen = before[:k][:, self.of_source].T.unsqueeze(-1) * before[:k, :k]
        slopes = (design @ (self.interactions * seen).flatten(1)).unflatten(1, (k, k))
        return shared + (slopes * residuals.unsqueeze(1)).sum(-1)

    def correction(self, design: Tensor, residuals: Tensor, j: int) -> Tensor:
        """Of number j: (n,). design : (n, n_sources); residuals : (n, n_numbers), zero where not known."""
        shared = residuals @ self.slopes[j]
        if not len(self.interactions):
            return shared
        return shared + ((design @ self.interactions[:, j]) * residuals).sum(-1)

    @torch.no_grad()
    def start(
        self, codes: Tensor, x: Tensor, numbers: Tensor, observed: Tensor | None, weight: Tensor, order: Tensor
    ) -> Tensor:
        """Fit all of them, shrunken; returns the constants of the log-odds, (n_logits,).

        codes : (n_variables, n), int; x : (n, n_variables); numbers : (n, n_numbers); observed : (n, n_variables), bool, or
        None; weight : (n,); order : (n_variables,), in which cells see those before them.
        """
        self.means.zero_()
        raw = self.design(codes, x, observed)
        seen = torch.ones_like(raw) if observed is None else observed[:, self.of_source].to(raw)
        self.means.copy_((weight @ raw) / (weight @ seen).clamp(min=1e-12))
        design = self.design(codes, x, observed).double()
        n_logits = self.widths[0]
        if len(self.of_source) and self.n_numbers:
            is_number = self.of_target.new_tensor([n == 0 for n in self.n_codes[: self.n_numbers]], dtype=torch.bool)
            there = None if observed is None else observed[:, : self.n_numbers]
            slopes = _ridge(design, numbers.double(), there, weight.double()) * is_number
            self.weight[:, n_logits : n_logits + self.n_numbers] = slopes.to(self.weight)
            for j in self.sources.tolist():
                columns = slice(*self.columns_of(j))
                added = design[:, columns] @ slopes[columns]
                self.explained[j] = (weight.double() @ added.square() / weight.sum()).to(self.explained)
        if not n_logits:
            return self.weight.new_zeros(0)
        place = order.argsort()
        mask = place[self.of_target[:n_logits]] > place[self.of_source][:, None]
        some = slice(MAX_ROWS_LOGISTIC)
        targets = self._targets(codes[:, some], x[some], None if observed is None else observed[some])
        groups = self.of_target[:n_logits].cpu().numpy()
        slopes, constants = _logistic(design[some], targets, mask, weight[some].double(), groups)
        self.weight[:, :n_logits] = torch.as_tensor(slopes).to(self.weight)
        return torch.as_tensor(constants).to(self.weight)

    @torch.no_grad()
    def start_interactions(
        self, design: Tensor, residuals: Tensor, deviations: Tensor, observed: Tensor | None, weight: Tensor, order: Tensor
    ) -> None:
        """Fit by how much more numbers correct each other with each code: ridge regressions on products of both.

        residuals : (n, n_numbers), zero where missing; order : (n_numbers,), of numbers; the others as in `start_scales`.
        """
        if not self.interactions.numel():
            return
        x, weight = design.double(), weight.double()
        for at, j in enumerate(order.tolist()):
            if at == 0 or self.n_codes[j]:
                continue
            rows = slice(None) if observed is None else observed[:, j]
            products = (x[rows, :, None] * residuals[rows][:, None, order[:at]].double()).flatten(1)
            slopes = _ridge_of_complete(products, deviations[rows, j : j + 1].double(), weight[rows])
            self.interactions[:, j, order[:at]] = slopes.view(-1, at).to(self.interactions)

    @torch.no_grad()
    def start_scales(self, design: Tensor, deviations: Tensor, observed: Tensor | None, weight: Tensor) -> None:
        """Fit the scales of numbers: half of the log of a squared deviation is the log-scale plus noise (Harvey, 1976).

        design : (n, n_sources); deviations : (n, n_numbers), of numbers from what else is known of them, in standard
        deviations; observed : the same, bool, or None; weight : (n,).
        """
        if not len(self.of_source) or not self.n_numbers:
            return
        log_sizes = 0.5 * (deviations.double().square() + LEAST_RESIDUAL).log()
        slopes = _ridge(design.double(), log_sizes, observed, weight.double())
        slopes[:, [n > 0 for n in self.n_codes[: self.n_numbers]]] = 0.0
        self.weight[:, -self.n_numbers :] = slopes.to(self.weight)

    def _targets(self, codes: Tensor, x: Tensor, observed: Tensor | None) -> np.ndarray:
        """One-hot codes of every cell with log-odds, (n, n_logits), of a boolean itself; NaN where missing."""
        parts = []
        for j, n in enumerate(self.n_codes):
            if n:
                part = x[:, j : j + 1] if n == 1 else F.one_hot(codes[j].clamp(max=n - 1), n)
                part = part.double()
                parts.append(part if observed is None else part.masked_fill(~observed[:, j : j + 1], math.nan))
        return torch.cat(parts, 1).cpu().numpy()


def _scale(log_scale: Tensor) -> Tensor:
    """Scales (...), not too far from 1, of their logarithms."""
    return log_scale.clamp(-MOST_LOG_SCALE, MOST_LOG_SCALE).exp()


def _ridge(design: Tensor, targets: Tensor, observed: Tensor | None, weight: Tensor) -> Tensor:
    """Coefficients (p, k) of ridge regressions, each with the penalty of least generalised cross-validation error (Golub,
    Heath & Wahba, 1979). design : (n, p); targets : (n, k); observed : the same, bool, or None; weight : (n,).
    """
    if observed is None or bool(observed.all()):
        return _ridge_of_complete(design, targets, weight)
    columns = []
    for j in range(targets.shape[1]):
        rows = observed[:, j]
        columns.append(_ridge_of_complete(design[rows], targets[rows, j : j + 1], weight[rows]))
    return torch.cat(columns, 1)


def _ridge_of_complete(design: Tensor, targets: Tensor, weight: Tensor) -> Tensor:
    """As `_ridge`, of targets that are all there."""
    total = weight.sum().clamp(min=1e-12)
    x, y = design - (weight @ design) / total, targets - (weight @ targets) / total
    values, vectors = torch.linalg.eigh((x * weight[:, None]).T @ x)
    values, across = values.clamp(min=0), vectors.T @ ((x * weight[:, None]).T @ y)
    squares, n = (weight[:, None] * y.square()).sum(0), total
    best, chosen = torch.full_like(squares, math.inf), torch.zeros_like(across)
    for penalty in RIDGES:
        shrunken = across / (values + penalty)[:, None]
        error = squares - (2 * across * shrunken - values[:, None] * shrunken.square()).sum(0)
        freedom = (values / (values + penalty)).sum()
        figure = error / (n - freedom - 1).clamp(min=1e-6).square()
        better = figure < best
        best, chosen = torch.where(better, figure, best), torch.where(better, shrunken, chosen)
    return vectors @ chosen


def _logistic(design: Tensor, targets: np.ndarray, mask: Tensor, weight: Tensor, groups: np.ndarray):
    """Penalised multinomial regressions of all targets at once: coefficients (p, t) and constants (t,).

    design : (n, p); targets : (n, t), one-hot codes or a boolean, NaN where missing; mask : (p, t), which coefficients may
    differ from zero; weight : (n,); groups : (t,), which cell a target belongs to: those of one cell stand side by side.
    """
    x, allowed, weights = design.cpu().numpy(), mask.cpu().numpy().astype(float), weight.cpu().numpy()[:, None]
    starts = np.flatnonzero(np.append(True, np.diff(groups) != 0))
    sizes = np.diff(np.append(starts, len(groups)))
    single = (sizes == 1).repeat(sizes)
    there = ~np.isnan(targets)
    y, counted = np.where(there, targets, 0.0), weights * there
    shape = allowed.shape
    first = np.zeros(len(groups))  # each cell's log-normaliser is counted once: at its first target
    first[starts] = 1.0

    def loss(flat):
        slopes, constants = flat[: allowed.size].reshape(shape) * allowed, flat[allowed.size :]
        eta = x @ slopes + constants
        top = np.where(single, np.maximum(eta, 0), np.maximum.reduceat(eta, starts, axis=1).repeat(sizes, axis=1))
        odds = np.exp(eta - top)
        total = np.add.reduceat(odds, starts, axis=1).repeat(sizes, axis=1) + np.where(single, np.exp(-top), 0.0)
        gap = counted * (odds / total - y)
        value = (counted * (first * (np.log(total) + top) - y * eta)).sum()
        value += 0.5 * LOGISTIC_PENALTY * (slopes**2).sum() + 0.5 * (constants**2).sum() * 0.01
        by_slope = (x.T @ gap + LOGISTIC_PENALTY * slopes) * allowed
        return value, np.concatenate([by_slope.ravel(), gap.sum(0) + 0.01 * constants])

    share = counted * y
    mean = (share.sum(0) + 0.5) / (counted.sum(0) + 1.0)
    begin = np.where(single, np.log(mean) - np.log1p(-mean.clip(max=1 - 1e-6)), np.log(mean))
    found = minimize(
        loss,
        np.concatenate([np.zeros(allowed.size), begin]),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": MAX_ITER_LOGISTIC if allowed.any() else 0},
    ).x
    return found[: allowed.size].reshape(shape) * allowed, found[allowed.size :]
