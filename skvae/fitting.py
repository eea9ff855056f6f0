"""How a fit goes: what is trained, for how long, what watches it between epochs, and what follows training."""

import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor, nn

from skvae.abstract_generator import AbstractStage
from skvae.contexts import threads_for
from skvae.model import VAE
from skvae.priors import name_of
from skvae.rows import Rows, hidden_at_random, log_jacobian, n_rows_in_cache
from skvae.sizes import MAX_BATCH, MIN_BATCH, N_CELLS_AT_ONCE, N_HIDDEN_A_STEP, N_NUMBERS_AT_ONCE, SMALL_NETWORK
from skvae.training import DivergedError, History, Moments, train, train_further

GENERATOR_RATE = 2.0  # learning rate of the generator beside the autoencoder's (Adult and Magic, benchmarks/tables.py)
# the generator stops after so many epochs (of few rows, at most so many) or steps without a gain of so many nats a variable:
# longer, it learns rows by heart (Adult, Ames and Magic, benchmarks/tables.py; small tables for the most)
GENERATOR_PATIENCE, MOST_PATIENCE, GENERATOR_STEPS, GENERATOR_TOL = 6, 10, 500, 1e-4
STEPS_AFTER_STOP = 500  # that a generator trains for after a callback stopped the fit before its turn; unmeasured
# nats that all latents tell together, below which they tell nothing, and beyond which a linear start tells much; rows that
# these are counted over; unmeasured
COLLAPSED, TOLD, N_ROWS_TOLD = 0.01, 1.0, 1000
FEW_ROWS = 1000  # up to which training must gain a standard error; of more, the less; unmeasured
N_ROWS_SHARPEN = 4000  # held-out rows at most by which scales are set: they know a log-scale within .02
N_VALIDATION_SAMPLES, N_VALIDATION_DRAWS = 8, 8000  # of noise, at most, for each held-out row and for all; unmeasured


class FitInterrupted(KeyboardInterrupt):
    """An interrupt from the keyboard, raised again after the estimator was left usable."""


@dataclass(frozen=True)
class Task:
    """Something to train.

    Attributes
    ----------
    name : str
        "autoencoder" or "generator".
    module : nn.Module
    loss : callable
        Of a batch of tensors, the mean loss of its rows.
    score : callable or None
        Of nothing, the score to watch.
    n_epochs, batch_size : int
    patience : int
        Epochs without a gain by `tol`, after which training stops.
    tol : float
    rng : torch.Generator
        Of all that is random in training.
    rate_factor : float
        Of the learning rate.
    averaged : bool
        Whether weights are running means.
    stage : int
        Of the generator, the place of the stage that is trained.
    """

    name: str
    module: nn.Module
    loss: Callable
    score: Callable | None
    n_epochs: int
    batch_size: int
    patience: int
    tol: float
    rng: Generator
    rate_factor: float = 1.0
    averaged: bool = False
    stage: int = 0


class Fit:
    """One fit of an estimator to rows: its tasks, one after the other, and what follows them.

    Parameters
    ----------
    estimator : VAETransformer
        Its parameters say how to train; nothing of it is changed.
    schema : Schema
        That of the rows.
    module : VAE
        To train, in place.
    rows : Rows
        To train on.
    held_out : Rows or None
        To watch.
    at_start : bool
        Whether the module is where it starts, in closed form; otherwise the fit goes on with a former one.
    """

    def __init__(
        self,
        estimator: Any,
        schema: Any,
        module: VAE,
        rows: Rows,
        held_out: Rows | None = None,
        at_start: bool = True,
    ):
        self.estimator, self.schema, self.module, self.rows, self.held_out = estimator, schema, module, rows, held_out
        self.at_start = at_start
        self.histories: list[History] = []
        self.interrupted = False
        module.autoencoder.beta = float(estimator.beta)

    def run(self, stream: np.random.RandomState, all_rows: Rows, arguments: dict) -> dict:
        """Train both models, and what follows; returns the fitted attributes.

        stream : of random numbers; all_rows : those to train on and those held out; arguments : what callbacks are told,
        the estimator and what it was given.
        """
        # a seed for every step, whatever the generator: so it changes nothing of the autoencoder
        seeds = {name: int(stream.randint(2**31 - 1)) for name in ("autoencoder", "generator", "calibration", "prior")}
        tasks = self.tasks()
        self.told_at_start = self.module.autoencoder.information(self.rows.some(N_ROWS_TOLD), self.module.read).sum().item()
        self.epochs = Epochs(self, sum(task.n_epochs for task in tasks), arguments)
        self._unless_interrupted(self._train_autoencoder, tasks[0], seeds["autoencoder"], all_rows)
        for task in tasks[1:]:
            self._start_stage(task.stage)
            self._unless_interrupted(self._train_generator, task, seeds["generator"] + task.stage, all_rows)
        for finish, name in ((self._calibrate, "calibration"), (self._fit_prior, "prior")):
            self._unless_interrupted(finish, all_rows, torch.Generator(self.module.device).manual_seed(seeds[name]))
        return self.results(self.module, self.histories, all_rows)

    def _start_stage(self, at: int) -> None:
        """Start a later stage of the generator from those before it; also after an interrupt, so that it can draw."""
        if at and self.at_start:
            try:
                self.module.start_stage(at, self.rows)
            except KeyboardInterrupt:
                self.interrupted = True
                self.module.start_stage(at, self.rows)

    def _unless_interrupted(self, step: Callable, *arguments: Any) -> None:
        """One step of the fit; an interrupt ends it, and all that would follow."""
        if self.interrupted:
            return
        try:
            with self._plain_divergence():
                step(*arguments)
        except KeyboardInterrupt:
            self.interrupted = True

    def close(self) -> None:
        """Tell callbacks that the fit has ended: the estimator must be fitted by now."""
        self.epochs.close()

    def _train(self, task: Task, seed: int) -> None:
        epochs, n_epochs = self.epochs, task.n_epochs
        if epochs.stopped:  # this model's turn has not come: it is trained as little as leaves it usable
            n_epochs = min(n_epochs, math.ceil(STEPS_AFTER_STOP * task.batch_size / len(self.rows)))
        epochs.begin(task.name.capitalize(), n_epochs)
        with threads_for(n_products(task.module, task.batch_size)):
            history = train(
                task.module.train(),
                task.loss,
                self.rows.tensors,
                score=task.score,
                n_epochs=n_epochs,
                batch_size=task.batch_size,
                learning_rate=self.estimator.learning_rate_init * task.rate_factor,
                patience=task.patience,
                tol=task.tol,
                rng=task.rng.manual_seed(seed),
                on_epoch_end=None if epochs.stopped else epochs,
                averaged=task.averaged,
            )
        self.interrupted = history.interrupted
        self.histories.append(history)

    def _train_autoencoder(self, task: Task, seed: int, all_rows: Rows) -> None:
        """Train it; where no epoch was better than its start, that is fitted to the held-out rows too."""
        self._train(task, seed)
        history = self.histories[-1]
        if self.at_start and self.held_out is not None and history.best_score == history.start_score:
            self.module.autoencoder.start(all_rows, self.module.read)

    def _train_generator(self, task: Task, seed: int, all_rows: Rows) -> None:
        """Train a stage of the generator, and keep the trained weights only if they score better on held-out rows.

        The mean gain must exceed its standard error. Otherwise the stage returns to its start in closed form, which is then
        fitted to the held-out rows too.
        """
        stage = self.module.generator.stages[task.stage]
        before, at_start = deepcopy(stage.state_dict()), self._held_out_densities(stage)
        self._train(task, seed)
        after = self._held_out_densities(stage)
        if at_start is None or after is None:
            return
        gain, n_rows = after - at_start, len(self.rows)
        # with many rows a rare class may gain what is too little beside the chance of all others
        chance = min(1.0, FEW_ROWS / n_rows) / math.sqrt(len(gain))
        if len(gain) == 1 or gain.mean() <= gain.std() * chance:
            stage.load_state_dict(before)
            if self.at_start:
                self.module.start_stage(task.stage, all_rows)
            self.histories[-1] = History(start_score=self.histories[-1].start_score)
        elif self.held_out is not None:
            stage.sharpen(self.module.read(self.held_out.some(N_ROWS_SHARPEN)))

    def _held_out_densities(self, stage: AbstractStage) -> Tensor | None:
        """Log-likelihood of each held-out row under a stage of the generator, times its weight: (n,); None without rows."""
        rows, module = self.held_out, self.module
        if rows is None:
            return None
        size = n_rows_in_cache(module.widest, module.device.type, 1)
        noise = module.noise("generator", 1)
        with torch.inference_mode():
            batches = (module.read(batch) for batch in rows.batches(size))
            nats = [stage.log_prob(b.parts, module.autoencoder, noise) * b.weight for b in batches]
        return torch.cat(nats).double()

    def _calibrate(self, all_rows: Rows, rng: Generator) -> None:
        """What follows the training of the generator: draws get the data's marginals."""
        with threads_for(n_products(self.module.generator, MIN_BATCH)):
            self.module.generator.finalise(all_rows, self.module.read, rng)

    def _fit_prior(self, all_rows: Rows, rng: Generator) -> None:
        """What follows the training of the autoencoder: the prior comes closer to the posteriors."""
        with threads_for(n_products(self.module.autoencoder, MIN_BATCH)):
            self.module.autoencoder.fit_prior(self.rows, self.held_out, self.module.read, rng)

    def further(self, stream: np.random.RandomState, formers: Sequence, remembered: Sequence) -> tuple[dict, list[dict]]:
        """One pass over the rows, as a part of a stream.

        formers : loss curves so far, one a task; remembered : what the steps of each know of former ones, or None. Returns
        the fitted attributes and what steps are to remember.
        """
        moments, tasks = [], self.tasks()
        # the stages of a generator share one loss curve, which the first of them continues
        formers, remembered = ([*one, *[rest] * len(tasks)] for one, rest in ((formers, ()), (remembered, None)))
        for task, former, before in zip(tasks, formers, remembered, strict=False):
            self._start_stage(task.stage)
            with self._plain_divergence(), threads_for(n_products(task.module, task.batch_size)):
                mean_loss, after = train_further(
                    task.module.train(),
                    task.loss,
                    self.rows.tensors,
                    None if before is None else Moments.from_arrays(before, str(self.module.device)),
                    batch_size=task.batch_size,
                    learning_rate=self.estimator.learning_rate_init * task.rate_factor,
                    rng=task.rng.manual_seed(int(stream.randint(2**31 - 1))),
                )
            self.histories.append(History([*former, mean_loss]))
            moments.append(after.to_arrays())
        return self.results(self.module, self.histories, self.rows), moments

    # --- tasks -------------------------------------------------------------------------------------------------------

    def tasks(self) -> list[Task]:
        """What is trained: the autoencoder, then the generator if it has something to train."""
        constant = self._mean_log_jacobian(self.rows)
        tasks = [self._autoencoder_task(constant)]
        stages = enumerate(self.module.generator.stages)
        return tasks + [self._generator_task(at, constant) for at, stage in stages if stage.budget is not None]

    def _autoencoder_task(self, constant: float) -> Task:
        module, model, estimator = self.module, self.module.autoencoder, self.estimator
        rng = torch.Generator(module.device)

        def loss(*tensors):
            batch = module.read(self.rows.with_tensors(tensors))
            noise = torch.randn(len(batch), model.latent_dim, generator=rng, device=module.device)
            return -model.objective(batch, noise.to(module.dtype), hidden_at_random(batch.parts, rng)) - constant

        times = 2 if sum(parameter.numel() for parameter in model.parameters()) <= SMALL_NETWORK else 1
        return Task(
            "autoencoder",
            model,
            loss,
            self._score_of_autoencoder(),
            n_epochs=max(self._n_epochs(view.budget) for view in module.views),
            batch_size=self._batch_size(times=times),
            patience=estimator.n_iter_no_change,
            tol=estimator.tol,
            rng=rng,
        )

    def _generator_task(self, at: int, constant: float) -> Task:
        module, estimator = self.module, self.estimator
        model = module.generator.stages[at]
        n_rows, rng = len(self.rows), torch.Generator(module.device)
        model.expect_rows(n_rows)

        def loss(*tensors):
            return model.loss(module.read(self.rows.with_tensors(tensors)), rng) - constant

        least = min(MIN_BATCH, max(1, N_NUMBERS_AT_ONCE // model.widest))
        batch_size = self._batch_size(least=least, most=N_HIDDEN_A_STEP // model.widest)
        n_steps = math.ceil(n_rows / batch_size)
        return Task(
            "generator",
            model,
            loss,
            self._score_of_generator(model),
            n_epochs=self._n_epochs(model.budget),
            batch_size=batch_size,
            patience=min(
                estimator.n_iter_no_change, max(GENERATOR_PATIENCE, min(MOST_PATIENCE, GENERATOR_STEPS // n_steps))
            ),
            tol=max(estimator.tol, GENERATOR_TOL * self.rows.n_variables),
            rng=rng,
            rate_factor=GENERATOR_RATE,
            averaged=True,
            stage=at,
        )

    def _n_epochs(self, budget: Any) -> int:
        if self.estimator.max_iter != "auto":
            return self.estimator.max_iter
        return budget.n_epochs(len(self.rows), self.rows.n_variables)

    def _batch_size(self, *, times: int = 1, least: int = MIN_BATCH, most: int = MAX_BATCH) -> int:
        """Few steps of many rows and many of few meet at the square root, to a power of two; all arguments : of rows."""
        size = self.estimator.batch_size
        if size == "auto":
            most = min(most, MAX_BATCH, times * 2 ** math.ceil(math.log2(math.sqrt(len(self.rows)))))
            size = max(2 ** int(math.log2(least)), 2 ** int(math.log2(max(most, 1))))
        return min(size, len(self.rows))

    # --- what is watched ---------------------------------------------------------------------------------------------

    def _score_of_autoencoder(self) -> Callable[[], float] | None:
        """The objective on the held-out rows, with noise that stays the same."""
        if self.held_out is None:
            return None
        model, module = self.module.autoencoder, self.module
        n_samples = max(1, min(N_VALIDATION_SAMPLES, N_VALIDATION_DRAWS // len(self.held_out)))
        noise = module.noise("autoencoder", n_samples)[:, None]
        return self._mean_over_held_out(lambda batch: model.objective(batch, noise), n_samples)

    def _score_of_generator(self, model: AbstractStage) -> Callable[[], float] | None:
        """A function that returns the mean log-likelihood of the held-out rows under a stage of the generator."""
        return None if self.held_out is None else self._mean_over_held_out(lambda batch: -model.loss(batch), copies=1)

    def _mean_over_held_out(self, figure: Callable, copies: int) -> Callable[[], float]:
        """A function of nothing: the mean of a figure of batches, over the held-out rows and in the data's own units."""
        rows, module = self.held_out, self.module
        assert rows is not None
        constant = self._mean_log_jacobian(rows)
        size = n_rows_in_cache(module.widest, module.device.type, copies)

        def mean() -> float:
            with torch.inference_mode():
                # a tensor, not a list of results: see `skvae.rows.joined`
                parts = torch.empty(math.ceil(len(rows) / size), dtype=torch.float32, device=module.device)
                for at, batch in enumerate(rows.batches(size)):
                    parts[at] = figure(module.read(batch)) * len(batch)
                return parts.sum().item() / len(rows) + constant

        return mean

    def _mean_log_jacobian(self, rows: Rows) -> float:
        """Nats per row from packed to original units, as weighted as the objective."""
        size = max(1, N_CELLS_AT_ONCE // rows.n_variables)
        total = 0.0
        for batch in rows.batches(size):
            nats = sum(one.sum(-1) for one in log_jacobian(self.schema, batch.parts))
            total += (batch.weight.cpu().double() @ nats).item()
        return total / len(rows)

    @contextmanager
    def _plain_divergence(self) -> Iterator[None]:
        try:
            yield
        except DivergedError:
            raise ValueError(
                f"The loss became infinite or NaN and stayed so at ever smaller steps, from learning_rate_init="
                f"{self.estimator.learning_rate_init}. Lower it, or look for extreme values in X."
            ) from None

    # --- what is fitted ----------------------------------------------------------------------------------------------

    def results(self, module: VAE, histories: Sequence[History], rows: Rows) -> dict:
        """The fitted attributes, by name; finalises the module's latents."""
        information = module.autoencoder.finalise(rows, module.read).cpu()
        history, *of_stages = histories or [History()]
        watched = math.isfinite(history.start_score)
        trained = any(stage.budget is not None for stage in module.generator.stages)
        return {
            "module_": module.eval(),
            "prior_": name_of(module.autoencoder.prior),
            "generator_": module.generator_name,
            "explained_information_": information.numpy(),
            "n_iter_": len(history.losses),
            "loss_curve_": list(history.losses),
            "validation_scores_": list(history.scores) if watched else None,
            "best_validation_score_": history.best_score if watched else None,
            "generator_loss_curve_": [loss for one in of_stages for loss in one.losses] if trained else None,
        }

    def warn_if_collapsed(self, information: np.ndarray) -> None:
        """Say so if latents tell nothing of rows of which a linear model could. information : (latent_dim,), in nats."""
        if self.told_at_start > TOLD and information.sum() < COLLAPSED:
            warnings.warn(
                f"The latents carry no information (explained_information_ adds up to {information.sum():.2g} nats): "
                "transform returns nearly the same for all rows. Lower beta or learning_rate_init, or raise max_iter.",
                UserWarning,
                stacklevel=6,
            )

    def warn(self) -> None:
        """Say what an interrupt left."""
        n_trained = len(self.histories) - 1
        n_stages = sum(stage.budget is not None for stage in self.module.generator.stages)
        rest = "" if n_trained >= n_stages else " The generator was not trained: it is where it starts, in closed form."
        if 0 < n_trained < n_stages:
            rest = " The generator was trained in part: the rest is where it starts, in closed form."
        warnings.warn(f"Training interrupted; the model is the best so far.{rest}", UserWarning, stacklevel=5)


class Progress(NamedTuple):
    """How far training is after an epoch, in words. Scores in training and held out have one sign, the greater the better.

    Attributes
    ----------
    place, in_training, left : str
    held_out : str
        Empty if no rows are held out.
    """

    place: str
    in_training: str
    held_out: str
    left: str

    def __str__(self) -> str:
        held_out = self.held_out and f", {self.held_out}"
        return f"{self.place}: {self.in_training}{held_out}; {self.left}"

    @property
    def short(self) -> str:
        """For a line of a terminal."""
        return f"{self.place}: {self.held_out or self.in_training}; {self.left}"


class Epochs:
    """What an estimator does between epochs: it reports, and its callbacks are called. Each epoch is a task of theirs.

    The context of such a task has an attribute `progress` when the task ends, unless it was interrupted.

    Parameters
    ----------
    fit : Fit
    n_epochs : int
        Of all that is trained, at most.
    arguments : dict
        The estimator, and what it was given: what callbacks are told.
    """

    def __init__(self, fit: Fit, n_epochs: int, arguments: dict):
        self.fit, self.n_epochs, self.arguments, self.stopped = fit, n_epochs, arguments, False
        self.begin("", 0)
        self.n_ended = 0
        self.root = fit.estimator._init_callback_context(max_subtasks=n_epochs).call_on_fit_task_begin(**arguments)
        self.task = self._begin()

    def _begin(self):
        return self.root.subcontext(task_name="epoch").call_on_fit_task_begin(**self.arguments)

    def begin(self, name: str, n_epochs: int) -> None:
        """Something else is trained now, for so many epochs at most."""
        self.name, self.n_epochs_of_task, self.began = name, n_epochs, time.monotonic()

    def _progress(self, history: History) -> Progress:
        epoch = len(history.losses)
        left = (time.monotonic() - self.began) / epoch * (self.n_epochs_of_task - epoch)
        return Progress(
            f"{self.name}, epoch {epoch} of at most {self.n_epochs_of_task}",
            f"score in training {-history.losses[-1]:.4f} nats per row",
            f"held out {history.scores[-1]:.4f}" if history.scores else "",
            f"at most {left:.0f} s left",
        )

    def __call__(self, history: History) -> bool:
        """Of the history of what is being trained, so far, whether to stop."""
        verbose, formers = self.fit.estimator.verbose, self.fit.histories
        self.task.progress = self._progress(history)
        if verbose and len(history.losses) % verbose == 0:
            print(self.task.progress)
        self.stopped = self.task.call_on_fit_task_end(
            **self.arguments, reconstruction_attributes=lambda: self._so_far([*formers, history])
        )
        self.n_ended += 1
        self.task = None if self.stopped or self.n_ended == self.n_epochs else self._begin()
        return self.stopped

    def _so_far(self, histories: list[History]) -> dict:
        """What a callback makes an estimator of: as if the fit had ended here."""
        fit = self.fit
        return fit.results(deepcopy(fit.module), histories, fit.rows) | {"_sample_stream": np.random.RandomState(0)}

    def close(self) -> None:
        """End the task of an epoch that was interrupted, or never began, and that of the fit."""
        if self.task is not None:
            self.task.call_on_fit_task_end(**self.arguments)
        self.root.call_on_fit_task_end(**self.arguments, reconstruction_attributes=dict)


def n_products(module: nn.Module, n_rows: int) -> int:
    """How many multiplications a module takes for so many rows, at least."""
    return n_rows * sum(parameter.numel() for parameter in module.parameters())
