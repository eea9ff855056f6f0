"""The training loop. It knows no autoencoder: a module, a loss of a batch of tensors, a score to watch."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor, nn
from torch.autograd import grad
from torch.nn.utils import get_total_norm
from torch.optim.adam import adam

from skvae.sizes import MIN_PRODUCT_BFLOAT16, MIN_WIDTH_BFLOAT16

MAX_ROLLBACKS = 5  # to the best weights, each with half the learning rate; unmeasured
# Adam's beta1, beta2 and epsilon; the second was chosen on the classic example and on tables (benchmarks/speed.py)
BETA1, BETA2, EPSILON = 0.9, 0.99, 1e-8
# Nesterov's momentum: how much of the former gradient is taken off the present one, and by how much the step is longer, so
# that it is as long as Adam's where gradients are noise
LOOK_AHEAD, LONGER = BETA1 / (1 + BETA1), math.hypot(1 + BETA1, BETA1)
AVERAGED = 0.998  # decay a step of the running mean of weights (Adult and Magic, benchmarks/tables.py)
MAX_GRADIENT = 100.0  # norm that greater gradients are cut to; unmeasured
# moments that move no weight, and after how many steps they are dropped: before they are subnormal numbers, which are slow
TINY, DROP_EVERY = 1e-20, 256
N_CONSTANT = 1000  # steps of a stream before its learning rate falls; unmeasured

Loss = Callable[..., Tensor]
GradientHook = Callable[[Sequence[Tensor]], Sequence[Tensor]]
Data = tuple[Tensor | None, ...]


@dataclass
class History:
    """What happened, an entry an epoch; an epoch that was rolled back leaves none."""

    losses: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    start_score: float = -math.inf
    best_score: float = -math.inf
    interrupted: bool = False


@dataclass
class Moments:
    """What steps know of former ones: running means of the gradient and of its square, as vectors; how many steps there
    were; and the last gradient, of each parameter.
    """

    mean: Tensor
    square: Tensor
    n_steps: Tensor
    rate_factor: float = 1.0  # of the learning rate, lowered where the loss diverged
    gradients: tuple[Tensor, ...] | None = None

    @classmethod
    def from_arrays(cls, arrays: dict, device: str) -> "Moments":
        """Those that `to_arrays` returned."""
        tensors = {name: torch.tensor(arrays[name], device=device) for name in ("mean", "square", "n_steps")}
        gradients = tuple(torch.tensor(array, device=device) for array in arrays["gradients"])
        return cls(**tensors, rate_factor=arrays["rate_factor"], gradients=gradients or None)

    def drop_tiny(self) -> None:
        """Those that only decay become zero before they are subnormal numbers, which take ten times as long."""
        for moments in (self.mean, self.square):
            moments.masked_fill_(moments.abs() < TINY, 0.0)

    def to_arrays(self) -> dict:
        """Its fields by name, as arrays, for a pickle."""
        tensors = {"mean": self.mean, "square": self.square, "n_steps": self.n_steps}
        arrays = {name: tensor.float().cpu().numpy() for name, tensor in tensors.items()}
        gradients = [gradient.float().cpu().numpy() for gradient in self.gradients or ()]
        return {**arrays, "rate_factor": self.rate_factor, "gradients": gradients}


class DivergedError(ArithmeticError):
    """The loss stayed infinite or NaN although the step was lowered again and again."""


def train(
    module: nn.Module,
    loss: Loss,
    data: Data,
    *,
    score: Callable[[], float] | None = None,
    n_epochs: int,
    batch_size: int,
    learning_rate: float,
    patience: float = math.inf,
    tol: float = 0.0,
    rng: Generator,
    on_epoch_end: Callable[[History], bool] | None = None,
    on_gradients: GradientHook | None = None,
    averaged: bool = False,
) -> History:
    """Minimise a loss over batches, and leave the module at the best weights that were seen.

    Adam with Nesterov's momentum, a short warm-up and a linear decay to zero over the planned epochs. A loss that turns
    infinite or NaN takes the module back to its best weights and halves the step; an interrupt from the keyboard ends the
    training as if it were done.
    Weights that modules multiply their inputs with (of names in a module's `products`) are bfloat16 in the loss, where the
    processor multiplies that natively and they are large enough to gain from it; what steps change, and what is scored and
    kept, remains in the module's own type.

    Parameters
    ----------
    module : nn.Module
        What is trained; all its parameters of one type and on one device.
    loss : callable
        Of a batch (each tensor of `data` at the same rows), the mean loss of its rows: a scalar tensor.
    data : tuple of tensors (n, ...) or None
        In memory; batches are picked by index.
    score : callable, optional
        Of nothing, a float, greater is better: computed before the first epoch and after each. Without it, the last
        weights are the best.
    patience : int
        Stop after as many epochs without a score better than the last improvement by `tol`.
    rng : torch.Generator
        Draws the order of the rows.
    on_epoch_end : callable, optional
        Of the `History`, whether to stop.
    on_gradients : callable, optional
        Of the gradients of a batch, one tensor a trained parameter in the order of `module.parameters()`, those to take the
        step with: their means over several machines, say, or with noise for privacy. It is called before they are cut to
        the largest norm.
    averaged : bool
        Whether the weights that are scored and kept are running means over steps (Polyak & Juditsky, 1992): calibrated even
        where training stops while steps are still large.

    Returns
    -------
    History
    """
    history = History()
    best, mark, waited, rollbacks = _weights(module), -math.inf, 0, 0
    try:
        if score is not None:
            history.start_score = history.best_score = mark = score()
        with _vector(module) as weights:
            passes = _Passes(module, loss, data, batch_size, rng, weights, averaged, on_gradients)
            rate = _warm_up_and_decay(learning_rate, n_epochs * passes.n_batches)
            while len(history.losses) < n_epochs:
                mean_loss = passes.once(rate, len(history.losses) * passes.n_batches)
                with passes.means():
                    value = -mean_loss if score is None else score()
                    finite = math.isfinite(mean_loss) and math.isfinite(value)
                    if finite and (score is None or value > history.best_score):
                        _keep(module, best)
                if not finite:
                    rollbacks += 1
                    if rollbacks > MAX_ROLLBACKS:
                        raise DivergedError
                    module.load_state_dict(best)
                    passes.start(_at_rest(weights, 0.5**rollbacks))
                    continue
                history.losses.append(mean_loss)
                if score is not None:
                    history.scores.append(value)
                history.best_score = max(value, history.best_score)
                improved = value > mark + tol
                waited = 0 if improved else waited + 1
                mark = value if improved else mark
                stop = on_epoch_end is not None and on_epoch_end(history)
                if stop or (score is not None and waited >= patience):
                    break
    except KeyboardInterrupt:
        history.interrupted = True
    module.load_state_dict(best)
    return history


def train_further(
    module: nn.Module,
    loss: Loss,
    data: Data,
    moments: Moments | None,
    *,
    batch_size: int,
    learning_rate: float,
    rng: Generator,
    on_gradients: GradientHook | None = None,
) -> tuple[float, Moments]:
    """One pass over a part of a stream, whose end is not known.

    As `train`, but the step falls with the square root of the number of steps, once there were a thousand. Where the loss
    turns infinite or NaN, the pass starts again from where it began, at half the step.

    Parameters
    ----------
    moments : Moments or None
        What the previous call returned.

    Returns
    -------
    mean_loss : float
    moments : Moments
        For the next call.
    """
    before = _weights(module)
    with _vector(module) as weights:
        passes = _Passes(module, loss, data, batch_size, rng, weights, on_gradients=on_gradients)
        for rollbacks in range(MAX_ROLLBACKS + 1):
            passes.start(deepcopy(moments) if moments is not None else _at_rest(weights))
            passes.moments.rate_factor *= 0.5**rollbacks
            rate = _warm_up_and_fall(learning_rate)
            mean_loss = passes.once(rate, int(passes.moments.n_steps))
            if math.isfinite(mean_loss) and bool(weights.isfinite().all()):
                return mean_loss, passes.moments
            module.load_state_dict(before)
    raise DivergedError


class _Passes:
    """Passes over the rows: batches by index, gradients, steps of Adam (Kingma & Ba, 2015) with Nesterov's momentum.

    The moments are of g + beta1 (g - the gradient before), as in lemma 1 of Adan (Xie et al., 2022), over 1 + beta1.

    Parameters
    ----------
    weights : Tensor
        Those of the module, as a vector that shares their memory.
    averaged : bool
        Whether to keep a running mean of the weights.
    on_gradients : callable, optional
        As `train` takes it.
    """

    def __init__(self, module, loss, data, batch_size, rng, weights, averaged=False, on_gradients=None):
        self.on_gradients = on_gradients
        self.loss, self.data, self.rng = loss, data, rng
        self.weights, self.batch_size, self.averaged = weights, batch_size, averaged
        self.parameters, self.gradient = _trained(module), torch.zeros_like(weights)
        self.parts = _parts(self.gradient, self.parameters)
        self.n_rows = len(data[0])
        self.n_batches = math.ceil(self.n_rows / batch_size)
        self.start(_at_rest(weights))
        self.halved = _gain_from_bfloat16(module, batch_size, weights.device)

    def start(self, moments: Moments) -> None:
        """Know no more of former steps than the moments."""
        self.moments = moments
        self.mean = self.weights.clone() if self.averaged else self.weights

    @contextmanager
    def means(self) -> Iterator[None]:
        """While it lasts, weights are their running means, where these are kept."""
        last = self.weights.clone() if self.averaged else self.weights
        self.weights.copy_(self.mean)
        yield
        self.weights.copy_(last)

    def once(self, rate: Callable[[int], float], n_steps: int) -> float:
        """Train on every row once, after n_steps steps of the schedule; returns the mean loss a row."""
        device = self.weights.device
        total = torch.zeros((), dtype=torch.float32, device=device)
        # 32 bits: beside tens of millions of rows, their order is to stay small
        order = torch.randperm(self.n_rows, generator=self.rng, device=self.rng.device, dtype=torch.int32)
        with _in_bfloat16(self.halved) as refresh:
            for at, rows in enumerate(order.to(device).split(self.batch_size)):
                value = self.loss(*(None if tensor is None else tensor.index_select(0, rows) for tensor in self.data))
                # not `backward`, which adds to gradients that were set to zero: a pass over them more
                gradients = grad(value, self.parameters, materialize_grads=True)
                self._step(gradients if self.on_gradients is None else self.on_gradients(gradients), rate(n_steps + at))
                refresh()
                if (n_steps + at) % DROP_EVERY == 0:
                    self.moments.drop_tiny()
                if self.averaged:
                    self.mean.lerp_(self.weights, max(1 - AVERAGED, 9 / (10 + n_steps + at)))
                total += value.detach() * len(rows)  # no .item() here: it would wait for the device at every step
        return total.item() / self.n_rows

    def _step(self, gradients: Sequence[Tensor], rate: float) -> None:
        """gradients : of each parameter, in its shape."""
        gradients = tuple(gradients)
        moments, norm = self.moments, get_total_norm(gradients)
        if not (norm.is_cpu and norm <= MAX_GRADIENT):  # another device would have to be waited for
            factor = (MAX_GRADIENT / norm).clamp(max=1.0)
            gradients = tuple(gradient * factor for gradient in gradients)
        for part, gradient, former in zip(self.parts, gradients, moments.gradients or gradients, strict=True):
            torch.sub(gradient, former, alpha=LOOK_AHEAD, out=part)
        moments.gradients = gradients
        adam(
            *([self.weights], [self.gradient], [moments.mean], [moments.square], [], [moments.n_steps]),
            fused=self.weights.device.type in ("cpu", "cuda", "mps"),
            amsgrad=False,
            beta1=BETA1,
            beta2=BETA2,
            lr=rate * moments.rate_factor * LONGER,
            weight_decay=0.0,
            eps=EPSILON,
            maximize=False,
        )


def _trained(module: nn.Module) -> list[nn.Parameter]:
    """The parameters that are not frozen."""
    return [p for p in module.parameters() if p.requires_grad]


@contextmanager
def _vector(module: nn.Module) -> Iterator[Tensor]:
    """All weights of a module as one vector, while it trains.

    A step is then a handful of operations, however many parameters there are; and the first optimiser that `torch.optim`
    makes imports torch's compiler, which takes longer than a small fit.
    """
    parameters = _trained(module)
    weights = torch.zeros(sum(map(_room, parameters)), dtype=parameters[0].dtype, device=parameters[0].device)
    parts = _parts(weights, parameters)
    for p, part in zip(parameters, parts, strict=True):
        p.data = part.copy_(p.detach())
    try:
        yield weights
    finally:
        for p, part in zip(parameters, parts, strict=True):
            p.data = part.clone()  # not of p, which an interrupt may have left in bfloat16


def _room(parameter: Tensor) -> int:
    """How many numbers of a vector a parameter takes."""
    return parameter.numel() + -parameter.numel() % 16  # a product is faster on rows that start on a cache line


def _parts(vector: Tensor, parameters: list[nn.Parameter]) -> list[Tensor]:
    """Of a vector, what belongs to each parameter, in its shape."""
    parts = vector.split([_room(p) for p in parameters])
    return [part[: p.numel()].view_as(p) for part, p in zip(parts, parameters, strict=True)]


def _at_rest(weights: Tensor, rate_factor: float = 1.0) -> Moments:
    """Moments of none: what diverged is not carried on in them."""
    return Moments(torch.zeros_like(weights), torch.zeros_like(weights), weights.new_zeros(()), rate_factor)


def _warm_up_and_decay(learning_rate: float, n_steps: int) -> Callable[[int], float]:
    n_warm = max(1, min(100, n_steps // 20))
    return lambda at: learning_rate * min((at + 1) / n_warm, 1 - at / n_steps)


def _warm_up_and_fall(learning_rate: float) -> Callable[[int], float]:
    return lambda at: learning_rate * min((at + 1) / 20, math.sqrt(N_CONSTANT / max(at, N_CONSTANT)))


def _gain_from_bfloat16(module: nn.Module, batch_size: int, device: torch.device) -> list[nn.Parameter]:
    """The weights that modules say (in `products`) to multiply inputs with, where these are large."""
    found = [getattr(part, name) for part in module.modules() for name in getattr(part, "products", ())]
    wide = [p for p in found if min(p.shape) >= MIN_WIDTH_BFLOAT16 and p.numel() * batch_size >= MIN_PRODUCT_BFLOAT16]
    return wide if _multiplies_bfloat16(device) else []


@contextmanager
def _in_bfloat16(parameters: list[nn.Parameter]) -> Iterator[Callable[[], None]]:
    """While it lasts, parameters are rounded copies of themselves; yields what copies them anew.

    (Micikevicius et al., 2018: what steps change remains in float32.)
    """
    masters = [p.data for p in parameters]
    halves = [master.bfloat16() for master in masters]

    def refresh():
        for half, master in zip(halves, masters, strict=True):
            half.copy_(master)

    try:
        for p, half in zip(parameters, halves, strict=True):
            p.data = half
        yield refresh
    finally:
        for p, master in zip(parameters, masters, strict=True):
            p.data = master


def _multiplies_bfloat16(device: torch.device) -> bool:
    """Whether the device has instructions for products of bfloat16: elsewhere they are emulated, and slow."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # torch has no public word for it on a processor, and may drop this one
    asked = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return device.type == "cpu" and asked is not None and asked()


def _weights(module: nn.Module) -> dict[str, Tensor]:
    return deepcopy(module.state_dict())


def _keep(module: nn.Module, best: dict[str, Tensor]) -> None:
    """Copy the weights over the best so far: in place, as two copies of a large model are dear; all, also if interrupted."""
    try:
        for name, tensor in module.state_dict().items():
            best[name].copy_(tensor)
    except KeyboardInterrupt:
        _keep(module, best)
        raise
