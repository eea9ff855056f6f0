"""The training loop. It knows no autoencoder: a module, a loss of a batch of tensors, a score to watch."""

import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor, nn

MAX_ROLLBACKS = 5


@dataclass
class History:
    """What happened, an entry an epoch; an epoch that was rolled back leaves none."""

    losses: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    start_score: float = -math.inf
    best_score: float = -math.inf
    interrupted: bool = False


class DivergedError(ArithmeticError):
    """The loss stayed infinite or NaN although the step was lowered again and again."""


def train(
    module: nn.Module,
    loss: Callable[..., Tensor],
    data: tuple[Tensor | None, ...],
    *,
    score: Callable[[], float] | None = None,
    n_epochs: int,
    batch_size: int,
    learning_rate: float,
    patience: float = math.inf,
    tol: float = 0.0,
    generator: Generator,
    on_epoch_end: Callable[[History], bool] | None = None,
) -> History:
    """Minimise a loss over batches, and leave the module at the best weights that were seen.

    AdamW with a short warm-up and a cosine decay over the planned epochs. A loss that turns infinite or NaN takes the
    module back to its best weights and halves the step; an interrupt from the keyboard ends the training as if it were done.

    Parameters
    ----------
    module : nn.Module
        What is trained.
    loss : callable
        Of a batch (each tensor of `data` at the same rows), the mean loss of its rows: a scalar tensor.
    data : tuple of tensors (n, ...) or None
        In memory; batches are picked by index.
    score : callable, optional
        Of nothing, a float, greater is better: computed before the first epoch and after each. Without it, the last
        weights are the best.
    patience : int
        Stop after as many epochs without a score better than the last improvement by `tol`.
    generator : torch.Generator
        Draws the order of the rows.
    on_epoch_end : callable, optional
        Of the `History`, whether to stop.

    Returns
    -------
    History
    """
    history = History()
    run = _Run(module, loss, data, n_epochs, batch_size, learning_rate, generator)
    best, mark, waited, rollbacks = _weights(module), -math.inf, 0, 0
    if score is not None:
        history.start_score = history.best_score = mark = score()
    try:
        while len(history.losses) < n_epochs:
            mean_loss = run.epoch(len(history.losses))
            value = -mean_loss if score is None else score()
            if not (math.isfinite(mean_loss) and math.isfinite(value)):
                rollbacks += 1
                if rollbacks > MAX_ROLLBACKS:
                    raise DivergedError
                module.load_state_dict(best)
                run.restart(0.5**rollbacks)
                continue
            history.losses.append(mean_loss)
            if score is not None:
                history.scores.append(value)
            if score is None or value > history.best_score:
                history.best_score, best = value, _weights(module)
            waited = 0 if value > mark + tol else waited + 1
            mark = max(mark, value) if waited == 0 else mark
            if (score is not None and waited >= patience) or (on_epoch_end is not None and on_epoch_end(history)):
                break
    except KeyboardInterrupt:
        history.interrupted = True
    module.load_state_dict(best)
    return history


class _Run:
    """The optimiser's side of `train`: one call an epoch."""

    def __init__(self, module, loss, data, n_epochs, batch_size, learning_rate, generator):
        self.module, self.loss, self.data, self.generator = module, loss, data, generator
        self.batch_size, self.learning_rate = batch_size, learning_rate
        self.n_rows = len(data[0])
        self.n_batches = math.ceil(self.n_rows / batch_size)
        self.n_steps = n_epochs * self.n_batches
        self.n_warm = max(1, min(100, self.n_steps // 20))
        self.restart(1.0)

    def restart(self, factor):
        """A fresh optimiser, its step multiplied by `factor`: what diverged is not carried on in its moments."""
        self.factor = factor
        self.optimiser = torch.optim.AdamW(self.module.parameters(), lr=0.0, weight_decay=1e-4, fused=True)

    def epoch(self, number):
        """Train on every row once; returns the mean loss a row."""
        device = self.data[0].device
        total = torch.zeros((), device=device)
        order = torch.randperm(self.n_rows, generator=self.generator, device=self.generator.device).to(device)
        for at, rows in enumerate(order.split(self.batch_size)):
            self._set_step(number * self.n_batches + at)
            value = self.loss(*(None if tensor is None else tensor[rows] for tensor in self.data))
            self.optimiser.zero_grad(set_to_none=True)
            value.backward()
            torch.nn.utils.clip_grad_norm_(self.module.parameters(), 100.0)
            self.optimiser.step()
            total += value.detach() * len(rows)  # no .item() here: it would wait for the device at every step
        return total.item() / self.n_rows

    def _set_step(self, step):
        decay = 0.5 * (1 + math.cos(math.pi * step / self.n_steps))
        rate = self.factor * self.learning_rate * min((step + 1) / self.n_warm, decay)
        for group in self.optimiser.param_groups:
            group["lr"] = rate


def _weights(module: nn.Module) -> dict[str, Tensor]:
    return deepcopy(module.state_dict())
