"""What `sample(given=)` draws follows from what is given, where the truth is known and on Adult."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score

from skvae import VAETransformer


def imbalanced(n, seed):
    """One row of thirty is of the rare class, whose means, spreads and correlation differ."""
    rng = np.random.default_rng(seed)
    rare = rng.random(n) < 1 / 30
    common = rng.normal(size=(n, 2))
    special = rng.multivariate_normal([1.5, -1.0], [[0.5, 0.3], [0.3, 0.5]], n)
    frame = pd.DataFrame(np.where(rare[:, None], special, common), columns=["a", "b"])
    return frame.assign(fraud=rare)


@pytest.fixture(scope="module")
def fraud_vae():
    return VAETransformer(max_iter=30, random_state=0).fit(imbalanced(4000, 0))


def test_rows_of_the_rare_class_have_its_moments(fraud_vae):
    drawn = fraud_vae.sample(4000, given={"fraud": True}, random_state=0)
    n_rare = imbalanced(4000, 0)["fraud"].sum()
    assert drawn["fraud"].all()
    # three standard errors of what the fit saw of the class, and a tenth of its spread for the model
    tolerance = 3 * np.sqrt(0.5 / n_rare) + 0.07
    assert drawn[["a", "b"]].mean().to_numpy() == pytest.approx([1.5, -1.0], abs=tolerance)
    assert drawn[["a", "b"]].std().to_numpy() == pytest.approx(np.sqrt(0.5), abs=3 * np.sqrt(0.5 / (2 * n_rare)) + 0.07)
    assert drawn["a"].corr(drawn["b"]) == pytest.approx(0.6, abs=3 * (1 - 0.6**2) / np.sqrt(n_rare) + 0.1)


def test_a_classifier_learns_the_rare_class_from_oversampled_rows(fraud_vae):
    X, test = imbalanced(4000, 0), imbalanced(20_000, 1)
    n_more = int((~X["fraud"]).sum() - X["fraud"].sum())
    oversampled = pd.concat([X, fraud_vae.sample(n_more, given={"fraud": True}, random_state=0)])

    def accuracy(frame):
        model = LogisticRegression().fit(frame[["a", "b"]], frame["fraud"])
        return balanced_accuracy_score(test["fraud"], model.predict(test[["a", "b"]]))

    # what a sample with as many rows of either class, from the truth, would reach
    rich = imbalanced(100_000, 2)
    ideal = accuracy(rich.groupby("fraud").sample(rich["fraud"].sum(), random_state=0))
    assert accuracy(X) < ideal - 0.1
    assert accuracy(oversampled) > ideal - 0.02


def test_given_a_number_the_others_have_the_mean_spread_and_correlation_of_the_conditional():
    """y = 20 x + N(0, 5²), w = -x + y / 10 + N(0, 1): given x, means are 20 x and x, and cov(y, w) = 2.5."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=4000)
    y = 20 * x + 5 * rng.normal(size=4000)
    frame = pd.DataFrame({"x": x, "y": y, "w": -x + y / 10 + rng.normal(size=4000)})
    vae = VAETransformer(max_iter=30, random_state=0).fit(frame)
    for given in (-1.0, 0.0, 2.0):
        drawn = vae.sample(4000, given={"x": given}, random_state=0)
        assert (drawn["x"] == given).all()
        assert drawn["y"].mean() == pytest.approx(20 * given, abs=1.0)
        assert drawn["y"].std() == pytest.approx(5, abs=0.5)
        assert drawn["w"].mean() == pytest.approx(given, abs=0.2)
        assert drawn["w"].std() == pytest.approx(np.sqrt(1.25), abs=0.12)
        assert drawn["y"].corr(drawn["w"]) == pytest.approx(2.5 / np.sqrt(25 * 1.25), abs=0.08)


@pytest.fixture(scope="module")
def adult(data_folder):
    frame = pd.read_csv(data_folder / "adult" / "train.csv.gz")
    return frame.astype(dict.fromkeys(frame.select_dtypes(exclude="number"), "category"))


N_FITTED, N_DRAWN = 10_000, 3000


@pytest.fixture(scope="module")
def adult_vae(adult):
    # the latents have no part in what is drawn; some 25 epochs are what conditions of one cell take
    vae = VAETransformer(hidden_layer_sizes=(16,), max_iter=25, random_state=0)
    return vae.fit(adult.sample(N_FITTED, random_state=0))


def sampling_error(spread, rows, adult):
    """Three standard errors of a mean over those of the rows that are in the fit."""
    return 3 * spread / np.sqrt(len(rows) * N_FITTED / len(adult))


@pytest.mark.parametrize(
    "given",
    [
        {"education": " Doctorate", "sex": " Male"},
        {"education": " Masters", "sex": " Male"},
        {"education": " Bachelors", "sex": " Male"},
        {"education": " HS-grad", "sex": " Female"},
    ],
    ids=lambda given: "".join(given.values()),
)
def test_income_follows_education_and_sex(adult, adult_vae, given):
    of_kind = adult[np.logical_and.reduce([adult[name] == value for name, value in given.items()])]
    share = (of_kind["income"] == " >50K").mean()
    drawn = (adult_vae.sample(N_DRAWN, given=given, random_state=0)["income"] == " >50K").mean()
    # and five in a hundred for the model
    assert drawn == pytest.approx(share, abs=sampling_error(np.sqrt(share * (1 - share)), of_kind, adult) + 0.05)


def test_husbands_are_married_men(adult_vae):
    drawn = adult_vae.sample(N_DRAWN, given={"relationship": " Husband"}, random_state=0)
    # all but a few are in the data; of all rows, 46 % and 67 %
    assert (drawn["marital.status"] == " Married-civ-spouse").mean() > 0.94
    assert (drawn["sex"] == " Male").mean() > 0.94


def test_hours_follow_the_class_of_work(adult, adult_vae):
    for workclass in (" Private", " Self-emp-inc", " Federal-gov", " ?"):
        hours = adult.loc[adult["workclass"] == workclass, "hours.per.week"]
        drawn = adult_vae.sample(N_DRAWN, given={"workclass": workclass}, random_state=0)["hours.per.week"]
        # and an hour for the model; " ?" and " Self-emp-inc" are 8 from the mean of all
        assert drawn.mean() == pytest.approx(hours.mean(), abs=sampling_error(hours.std(), hours, adult) + 1.0)
