"""What adding something takes: a class and a row of a dict, and nothing else. Each is added here, and then just works."""

import math
import pickle
import re
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_array_equal
from sklearn.base import clone
from torch.distributions import Laplace as TorchLaplace

from skvae import VAETransformer, quality_report
from skvae.abstract_generator import AbstractGenerator
from skvae.abstract_likelihood import AbstractLikelihood
from skvae.containers import Cells, CellType
from skvae.decoders import FactorisedDecoder
from skvae.equations import Equation
from skvae.generators import GENERATORS
from skvae.likelihoods import LIKELIHOODS
from skvae.measures import MEASURES, AbstractMeasure
from skvae.modalities import AbstractModality, Packed
from skvae.networks import ACTIVATIONS
from skvae.notation import columns_named, quoted
from skvae.persistence import CLASSES, Saved
from skvae.priors import PRIORS, StandardNormal
from skvae.relations import RELATIONS
from skvae.rows import Budget, Part
from skvae.scalings import Variable
from skvae.schema import MODALITIES
from skvae.views import VIEWS, AbstractView, PartEmbedding

# --- a likelihood: one class, one row --------------------------------------------------------------------------------


class Laplace(AbstractLikelihood):
    """A double exponential of scale one."""

    continuous = True

    def log_prob(self, x, theta):
        return -(x - theta).abs() - math.log(2)

    def sample(self, theta, rng):
        u = torch.rand(theta.shape, generator=rng, dtype=theta.dtype) - 0.5
        return theta - u.sign() * torch.log1p(-2 * u.abs())

    def centre(self, theta):
        return theta

    def start(self, mean, loadings, noise):
        return mean, loadings


@pytest.mark.parametrize("generator", ["latent", "autoregressive"])
def test_a_likelihood_is_a_class_and_a_row(monkeypatch, generator):
    monkeypatch.setitem(LIKELIHOODS, "laplace", Laplace)
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.laplace(5, 2, 1000), "b": rng.integers(0, 3, 1000)})
    vae = VAETransformer(1, likelihood={"a": "laplace"}, generator=generator, max_iter=20, random_state=0).fit(frame)
    scale = frame["a"].std(ddof=0)
    exact = TorchLaplace(frame["a"].mean(), scale).log_prob(torch.tensor(frame["a"].to_numpy())).mean().item()
    density = (vae.log_density(frame) - vae.log_density(frame).mean()).std()  # follows the column
    assert density > 0
    rest = math.log(1 / 3)
    assert vae.log_density(frame).mean() == pytest.approx(exact + rest, abs=0.1)
    drawn = vae.sample(4000, random_state=0)["a"]
    assert drawn.mean() == pytest.approx(5, abs=0.3)


# --- a modality: one class and one row on each side ------------------------------------------------------------------


@dataclass(frozen=True)
class SignsSpec(Saved):
    n_variables: int


class Signs(AbstractModality):
    """Arrays of int8 that hold -1 and 1."""

    @classmethod
    def find(cls, X, parameters, free):
        return [(free, {})] if isinstance(X, np.ndarray) and X.dtype == np.int8 and X.ndim == 3 else []

    @property
    def row_shape(self):
        return self.shape

    @property
    def spec(self):
        return SignsSpec(math.prod(self.shape))

    @property
    def types(self):
        return [CellType("signs")]

    def fit(self, X, weight):
        self.shape = X.shape[1:]
        return self

    def pack(self, X):
        return Packed((X.reshape(len(X), -1) + 1) / 2)

    def unpack(self, values, told=None):
        signs = np.where(values > 0.5, 1, -1).astype(np.int8).reshape(-1, *self.shape)
        return [Cells(signs, np.zeros(len(signs), bool))]

    def fill(self, X, values):
        return [Cells(X, np.zeros(len(X), bool))]

    def log_jacobian(self, packed):
        return np.zeros(1)

    def by_column(self, figures):
        return figures


class SignsView(AbstractView):
    budget = Budget(1e5)

    @property
    def variables(self):
        return (Variable("bernoulli"),) * self.spec.n_variables

    def read(self, part, dtype):
        return Part(part.x.to(dtype), part.observed)

    def embedding(self, latent_dim, width, activation, rng):
        return PartEmbedding(self.variables, latent_dim, width, rng)

    def decoder(self, latent_dim, sizes, activation, rng):
        return FactorisedDecoder(self.variables, latent_dim, sizes, activation, rng)


def test_a_modality_is_a_class_and_a_row_on_each_side(monkeypatch):
    rest = dict(MODALITIES)
    MODALITIES.clear()
    MODALITIES.update({"signs": Signs, **rest})  # the first that has options for rows takes them
    monkeypatch.setitem(VIEWS, "signs", SignsView)
    try:
        rng = np.random.default_rng(0)
        X = np.sign(rng.normal(size=(300, 1, 1)) + 0.5 * rng.normal(size=(300, 4, 3))).astype(np.int8)
        vae = VAETransformer(1, max_iter=20, random_state=0).fit(X)
        assert vae.transform(X).shape == (300, 1)
        assert vae.score(X) > -12 * math.log(2) + 2
        assert vae.score_cells(X).shape == X.shape
        drawn = vae.sample(1000, random_state=0)
        assert drawn.shape == (1000, 4, 3)
        assert drawn.dtype == np.int8
        assert set(np.unique(drawn)) == {-1, 1}
        assert abs(drawn.mean((1, 2))).mean() > 0.4  # signs of a row agree, as they do in the data
        assert (vae.inverse_transform(vae.transform(X)) == X).mean() > 0.8
    finally:
        MODALITIES.clear()
        MODALITIES.update(rest)
        del CLASSES["Signs"], CLASSES["SignsSpec"]


# --- a generator, a prior, an activation: one class, one row ---------------------------------------------------------


class Repeated(AbstractGenerator):
    """Whatever the rows, their mean."""

    def __init__(self, views, rng):
        super().__init__()
        self.register_buffer("mean", torch.zeros(len(views[0].variables)))

    @staticmethod
    def can(views):
        return True

    def start(self, rows, means, read):
        self.mean.copy_(read(rows).parts[0].x.mean(0))

    def log_prob(self, parts, autoencoder, noise):
        return -(parts[0].x - self.mean).square().sum(-1)

    def sample(self, n, autoencoder, rng):
        return [self.mean.expand(n, -1)]

    def complete(self, parts, autoencoder, rng):
        return [torch.where(parts[0].observed, parts[0].x, self.mean)]

    def impute(self, parts, autoencoder, rng):
        return self.complete(parts, autoencoder, rng)

    def centre(self, parts, autoencoder):
        return self.complete(parts, autoencoder, None)


def test_a_generator_is_a_class_and_a_row(monkeypatch):
    monkeypatch.setitem(GENERATORS, "repeated", (Repeated,))
    X = np.random.default_rng(0).normal([1.0, -2.0], size=(100, 2))
    vae = VAETransformer(1, generator="repeated", likelihood="gaussian", max_iter=2, random_state=0)
    vae.set_params(early_stopping=False).fit(X)
    assert vae.sample(3) == pytest.approx(np.tile(X.mean(0), (3, 1)), abs=1e-5)
    assert vae.sample(1, given={"x0": 0.5})[0] == pytest.approx([0.5, X[:, 1].mean()], abs=1e-5)
    assert vae.log_density(X).argmax() == np.square((X - X.mean(0)) / X.std(0)).sum(1).argmin()
    same = clone(vae).set_params(generator="latent").fit(X)
    assert_array_equal(same.score_samples(X), vae.score_samples(X))  # the autoencoder's own


def test_a_prior_and_an_activation_are_a_row_each(monkeypatch):
    class Shifted(StandardNormal):
        def sample(self, n, rng):
            return super().sample(n, rng) + 100

    monkeypatch.setitem(PRIORS, "shifted", Shifted)
    monkeypatch.setitem(ACTIVATIONS, "mish", torch.nn.Mish)
    X = np.random.default_rng(0).normal(size=(60, 2))
    vae = VAETransformer(1, prior="shifted", activation="mish", max_iter=2, random_state=0).fit(X)
    assert vae.prior_ == "shifted"
    assert vae.sample_latents(5).min() > 20


# --- a kind of relation: one class, one row --------------------------------------------------------------------------


class Square(Equation):
    """target = source ** 2."""

    kind = "square"

    def __init__(self, target, source):
        self.columns = target, source

    def __str__(self):
        target, source = map(quoted, self.columns)
        return f"{target} = {source} ** 2"

    def predict(self, amounts):
        return amounts[self.columns[1]] ** 2

    @classmethod
    def find(cls, fields, evidence):
        numbers = {field.name: field for field in fields if field.kind == "number"}
        for pair in permutations(numbers, 2):
            one = cls(*pair)
            one.learn(numbers)
            if one.exact and one.is_significant(numbers, evidence):
                yield one

    @classmethod
    def parse(cls, text, names):
        match = re.fullmatch(r"(.+?) = (.+) \*\* 2", text)
        columns = columns_named(names, match.groups()) if match else None
        return cls(*columns) if columns else None


def test_a_kind_of_relation_is_a_class_and_a_row(monkeypatch):
    monkeypatch.setitem(RELATIONS, "square", Square)
    side = np.random.default_rng(0).integers(0, 200, 800)
    frame = pd.DataFrame({"side": side, "area": side**2, "other": np.random.default_rng(1).normal(size=800)})
    vae = VAETransformer(1, hidden_layer_sizes=(8,), max_iter=2, random_state=0).fit(frame)
    assert list(vae.relations_["relation"]) == ["area = side ** 2"]
    for draws in (vae.sample(500), vae.sample(100, given={"side": 12}), pickle.loads(pickle.dumps(vae)).sample(100)):
        assert_array_equal(draws["area"], draws["side"] ** 2)
    stated = vae.set_params(relations=["mostly area = side ** 2"]).fit(frame.assign(area=np.where(side % 9, side**2, 7)))
    assert 0.8 < stated.relations_["share"].max() < 1


# --- a measure of the quality report: one class, one row -------------------------------------------------------------


class MeanCell(AbstractMeasure):
    """How far the mean cell of the columns is from the real one."""

    title = "Mean cell: difference"
    meaning = "How far the mean cell is from the real one."
    ideal = 0.0

    def take(self, tables):
        means = {table: np.mean([column.cells[table] for column in tables.columns]) for table in ("real", "synthetic")}
        return {"value": abs(means["synthetic"] - means["real"])}


def test_a_measure_is_a_class_and_a_row(monkeypatch, tmp_path):
    monkeypatch.setitem(MEASURES, "mean_cell", MeanCell)
    real = np.random.default_rng(0).normal(size=(30, 2))
    report = quality_report(real, real + 3, random_state=0)
    assert report.summary.loc["mean_cell", "value"] == pytest.approx(3)
    assert report.summary.loc["mean_cell", "ideal"] == 0
    assert "mean_cell" in repr(report)
    page = report.to_html(tmp_path / "report.html").read_text(encoding="utf-8")
    assert MeanCell.title in page
    assert MeanCell.meaning in page
