"""The loop on problems whose answers are known; no autoencoder in sight."""

import math
from contextlib import contextmanager
from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.testing import assert_close

import skvae.training
from skvae.networks import Linear
from skvae.training import DivergedError, Moments, train, train_further


class Line(nn.Module):
    def __init__(self):
        super().__init__()
        self.slope = nn.Parameter(torch.zeros(2))


@pytest.fixture
def problem():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(300, 2, generator=generator)
    y = x @ torch.tensor([1.0, -2.0]) + 0.1 * torch.randn(300, generator=generator)
    module = Line()
    return module, (x, y), lambda x, y: (x @ module.slope - y).square().mean()


def options(**changes):
    defaults = {"n_epochs": 60, "batch_size": 32, "learning_rate": 0.1, "rng": torch.Generator().manual_seed(1)}
    return defaults | changes


def test_finds_the_least_squares_solution(problem):
    module, (x, y), loss = problem
    history = train(module, loss, (x, y), **options())
    assert_close(module.slope.data, torch.linalg.lstsq(x, y[:, None]).solution[:, 0], atol=0.01, rtol=0)
    assert len(history.losses) == 60
    assert history.losses[-1] < history.losses[0]


def steps_by_hand(parts, rates):
    """Where Adam comes to with g + 0.9 (g - the one before), each g cut to a norm of 100; parts : x and y of each step."""
    slope, mean, square, former = (torch.zeros(2) for _ in range(4))
    for at, ((x, y), rate) in enumerate(zip(parts, rates, strict=True)):
        gradient = 2 * x.T @ (x @ slope - y) / len(x)
        gradient = gradient * (100 / gradient.norm()).clamp(max=1.0)
        ahead = gradient if at == 0 else gradient + 0.9 * (gradient - former)
        mean, square, former = 0.9 * mean + 0.1 * ahead, 0.99 * square + 0.01 * ahead**2, gradient
        step = mean / (1 - 0.9 ** (at + 1)) / (square / (1 - 0.99 ** (at + 1))).sqrt()
        slope = slope - rate * math.sqrt(1 + 2 * 0.9 + 2 * 0.9**2) * step
    return slope


def test_steps_are_those_of_adam_with_the_gradient_looked_ahead(problem):
    module, data, loss = problem
    train(module, loss, data, **options(n_epochs=8, batch_size=300, learning_rate=0.01))
    expected = steps_by_hand([data] * 8, [0.01 * (1 - at / 8) for at in range(8)])
    assert_close(module.slope.data, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("outlier", [1.0, 1e6])
def test_a_stream_in_parts_takes_the_same_steps(problem, outlier):
    module, (x, y), loss = problem
    parts, moments = list(zip(x.split(50), y.split(50), strict=True)), None
    parts[2] = parts[2][0], parts[2][1] * outlier
    for part in parts:
        stream = {"batch_size": 50, "learning_rate": 0.1, "rng": torch.Generator().manual_seed(1)}
        _, moments = train_further(module, loss, part, moments, **stream)
        moments = Moments.from_arrays(moments.to_arrays(), "cpu")
    assert_close(module.slope.data, steps_by_hand(parts, [0.1 * (at + 1) / 20 for at in range(6)]), atol=1e-5, rtol=0)


def test_the_loss_is_the_mean_over_rows_also_with_an_uneven_last_batch(problem):
    module, data, loss = problem
    history = train(module, loss, data, **options(n_epochs=1, batch_size=299, learning_rate=1e-12))
    assert history.losses[0] == pytest.approx(loss(*data).item(), rel=1e-5)


def test_best_weights_come_back(problem):
    module, data, loss = problem
    scores = iter([0.0, 1.0, 5.0, 2.0, 3.0])
    seen = []

    def score():
        seen.append(module.slope.detach().clone())
        return next(scores)

    history = train(module, loss, data, score=score, **options(n_epochs=4))
    assert history.best_score == 5.0
    assert torch.equal(module.slope.data, seen[2])
    assert not torch.equal(seen[2], seen[4])


def test_the_start_may_be_the_best(problem):
    module, data, loss = problem
    scores = iter([9.0, 1.0, 2.0])
    train(module, loss, data, score=lambda: next(scores), **options(n_epochs=2))
    assert torch.equal(module.slope.data, torch.zeros(2))


def test_patience_counts_epochs_without_an_improvement_by_tol(problem):
    module, data, loss = problem
    scores = iter([0.0, 1.0, 1.05, 1.08, 1.09, 9.0])
    history = train(module, loss, data, score=lambda: next(scores), patience=3, tol=0.5, **options())
    assert history.scores == [1.0, 1.05, 1.08, 1.09]
    assert history.best_score == 1.09  # kept, although too small a step to wait for


def test_a_callback_stops(problem):
    module, data, loss = problem
    history = train(module, loss, data, on_epoch_end=lambda history: len(history.losses) == 3, **options())
    assert len(history.losses) == 3


def test_an_interrupt_keeps_the_best_so_far(problem):
    module, data, loss = problem
    calls = iter(range(100))

    def interrupted(x, y):
        if next(calls) == 25:
            raise KeyboardInterrupt
        return loss(x, y)

    history = train(module, interrupted, data, **options())
    assert history.interrupted
    assert len(history.losses) == 2
    assert module.slope.abs().max() > 0


def test_an_interrupt_while_the_best_weights_are_kept_leaves_them_whole(problem, monkeypatch):
    """Two parameters that are equal in every epoch; the second of the kept ones is interrupted once."""
    module, (x, y), loss = problem
    module.twin = nn.Parameter(module.slope.detach().clone())
    copied, copy = [], torch.Tensor.copy_

    def twice(x, y):
        return loss(x, y) + (x @ module.twin - y).square().mean()

    def interrupted(self, other, *arguments):
        if keeping:
            copied.append(self)
            if len(copied) == 2:
                raise KeyboardInterrupt
        return copy(self, other, *arguments)

    keeping = False
    original = skvae.training._keep

    def keep(*arguments):
        nonlocal keeping
        keeping = True
        try:
            original(*arguments)
        finally:
            keeping = False

    monkeypatch.setattr(torch.Tensor, "copy_", interrupted)
    monkeypatch.setattr(skvae.training, "_keep", keep)
    history = train(module, twice, (x, y), **options())
    assert history.interrupted
    assert module.slope.abs().max() > 0
    assert torch.equal(module.slope, module.twin)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_breaks_once_is_rolled_back_with_a_smaller_step(problem, bad):
    module, data, loss = problem
    calls = iter(range(10_000))
    history = train(module, lambda x, y: loss(x, y) * (bad if next(calls) == 25 else 1.0), data, **options())
    assert len(history.losses) == 60
    assert all(math.isfinite(value) for value in history.losses)
    assert module.slope.isfinite().all()


def test_a_loss_that_stays_broken_raises(problem):
    module, data, loss = problem
    with pytest.raises(DivergedError):
        train(module, lambda x, y: loss(x, y) * math.nan, data, **options())


def test_same_generator_same_bits(problem):
    module, data, loss = problem
    train(module, loss, data, **options(n_epochs=2))
    first = module.slope.detach().clone()
    with torch.no_grad():
        module.slope.zero_()
    state = torch.get_rng_state()
    train(module, loss, data, **options(n_epochs=2))
    assert torch.equal(module.slope.data, first)
    assert torch.equal(state, torch.get_rng_state())


def test_data_may_hold_none(problem):
    module, (x, y), loss = problem
    train(module, lambda x, nothing, y: loss(x, y), (x, None, y), **options(n_epochs=1))


def test_a_stream_of_parts_finds_the_solution(problem):
    module, (x, y), loss = problem
    generator, moments = torch.Generator().manual_seed(1), None
    for _ in range(100):
        mean_loss, moments = train_further(module, loss, (x, y), moments, batch_size=50, learning_rate=0.1, rng=generator)
    assert int(moments.n_steps) == 600
    assert_close(module.slope.data, torch.linalg.lstsq(x, y[:, None]).solution[:, 0], atol=0.05, rtol=0)
    assert mean_loss < 0.05


def test_a_part_whose_loss_breaks_once_starts_again_with_a_smaller_step(problem):
    module, data, loss = problem
    calls = iter(range(100))
    options = {"batch_size": 100, "learning_rate": 0.1, "rng": torch.Generator().manual_seed(1)}
    broken = train_further(module, lambda x, y: loss(x, y) * (math.nan if next(calls) == 1 else 1.0), data, None, **options)
    assert math.isfinite(broken[0])
    assert broken[1].rate_factor == 0.5
    assert module.slope.isfinite().all()
    with pytest.raises(DivergedError):
        train_further(module, lambda x, y: loss(x, y) * math.nan, data, broken[1], **options)


def test_parameters_own_their_memory_again_and_hold_no_gradient(problem):
    module, data, loss = problem
    module.bias = nn.Parameter(torch.zeros(3))
    train(module, loss, data, **options(n_epochs=1))
    assert module.slope.untyped_storage().nbytes() == 2 * 4
    assert module.slope.grad is None


def test_wide_layers_train_in_bfloat16_and_what_steps_change_remains_float32(monkeypatch):
    monkeypatch.setattr(skvae.training, "_multiplies_bfloat16", lambda device: True)
    monkeypatch.setattr(skvae.training, "MIN_PRODUCT_BFLOAT16", 0)
    generator = torch.Generator().manual_seed(0)
    module = nn.Sequential(Linear(3, 128, generator), nn.SiLU(), Linear(128, 128, generator), Linear(128, 1, generator))
    x, seen, scored = torch.randn(256, 3, generator=generator), [], []

    def loss(x):
        seen.extend(p.dtype for p in module.parameters() if p.ndim == 2)
        return (module(x)[:, 0] - x[:, 0]).square().mean()

    def score():
        scored.extend(p.dtype for p in module.parameters())
        return -loss(x).item()

    history = train(module, loss, (x,), score=score, **options(n_epochs=5, learning_rate=0.01))
    assert seen[3:6] == [torch.float32, torch.bfloat16, torch.float32]
    assert set(scored) == {p.dtype for p in module.parameters()} == {torch.float32}
    assert not torch.equal(module[2].weight, module[2].weight.bfloat16().float())
    assert history.losses[-1] < 0.2 * -history.start_score


def test_moments_that_only_decay_are_zero_before_they_are_subnormal_numbers(problem):
    module, (x, y), loss = problem
    stream = options(batch_size=1)
    stream.pop("n_epochs")
    _, moments = train_further(module, loss, (x, y), None, **stream)
    assert (moments.mean[:2] != 0).all()
    x, y = torch.ones(850, 2) * torch.tensor([1.0, 0.0]), torch.randn(850, generator=torch.Generator().manual_seed(0))
    _, moments = train_further(module, loss, (x, y), moments, **stream)
    assert moments.mean[0] != 0
    assert moments.mean[1] == 0  # 0.9^850 is 1e-39
    assert moments.square[1] > 0


def test_an_interrupt_while_weights_are_rounded_leaves_them_in_float32(problem, monkeypatch):
    module, data, loss = problem

    @contextmanager
    def interrupted(parameters):
        module.slope.data = module.slope.data.bfloat16()
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(skvae.training, "_in_bfloat16", interrupted)
    assert train(module, loss, data, **options(n_epochs=1)).interrupted
    assert module.slope.dtype == torch.float32


def test_a_hook_sees_all_gradients_before_the_step_and_decides_what_is_stepped_with(problem):
    """Doubled rows and halved gradients are the same steps; a hook of zeros takes none."""
    module, (x, y), loss = problem
    seen = []

    def hook(gradients):
        seen.append([gradient.clone() for gradient in gradients])
        return [gradient / 2 for gradient in gradients]

    double = deepcopy(module)
    train(module, loss, (x, y), **options(n_epochs=3, batch_size=300))
    train(double, lambda x, y: 2 * loss_of(double, x, y), (x, y), on_gradients=hook, **options(n_epochs=3, batch_size=300))
    assert_close(double.slope.data, module.slope.data)
    assert [gradient.shape for gradient in seen[0]] == [p.shape for p in module.parameters()]
    still = deepcopy(module)
    train(
        still, lambda x, y: loss_of(still, x, y), (x, y), on_gradients=lambda gs: [0 * g for g in gs], **options(n_epochs=2)
    )
    assert_close(still.slope.data, module.slope.data)


def loss_of(module, x, y):
    return (x @ module.slope - y).square().mean()


def test_a_hook_of_a_stream(problem):
    module, (x, y), loss = problem
    stream = {"batch_size": 50, "learning_rate": 0.1, "rng": torch.Generator().manual_seed(1)}
    train_further(module, loss, (x, y), None, on_gradients=lambda gradients: [0 * g for g in gradients], **stream)
    assert_close(module.slope.data, torch.zeros(2))
