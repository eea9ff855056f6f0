"""Rows that do not belong, and why: `VAEOutlierDetector`, under scikit-learn's contract of outlier detectors."""

from numbers import Integral, Real
from typing import Any, ClassVar

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, OutlierMixin, _fit_context, clone
from sklearn.utils import get_tags
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skvae.estimator import VAETransformer

FENCE = 1.5  # interquartile ranges below the first quartile: Tukey's (1977)
LEAST_WEIGHT = 0.01  # of a row that the first model finds unlikely; not 0, so that categories of such rows remain known
N_DRAWS_EXPECTED = 39  # of a cell given the others, for what was expected of it
INTERVAL = 0.05, 0.95  # of 39 sorted draws, the 2nd and the 38th contain a new draw with probability 36/40


class VAEOutlierDetector(OutlierMixin, BaseEstimator):
    """Outlier detection by a variational autoencoder: which rows do not belong, and which of their cells.

    Takes tables as they are: numbers, strings, categories, dates and missing cells. A row is an outlier if its
    log-likelihood is low. The model is fitted twice, the second time to the rows that the first model finds likely, so
    that outliers among the rows of `fit` do not shape what counts as normal.

    Parameters
    ----------
    estimator : VAETransformer, default=None
        The model of rows, of which clones are fitted. None is ``VAETransformer(8, generator="latent",
        likelihood="student_t", hidden_layer_sizes=())``, a linear model with heavy tails ("auto" likelihoods for images). A
        model with hidden layers learns outliers too: on two of eleven tables its average precision was lower by at least
        0.2, and on none higher by more than 0.05 (benchmarks/anomalies.py). Parameters are reached by `set_params` and
        grids as ``estimator__latent_dim`` and so on.

    contamination : "auto" or float in (0, 0.5], default="auto"
        Share of outliers among the rows of `fit`, which decides the threshold. "auto" is Tukey's fence [1]_: rows whose
        score is more than 1.5 interquartile ranges below the first quartile.

    support_fraction : float in (0, 1], default=0.75
        Share of rows that the second model is fitted to: those that are likeliest under the first one, as in a
        concentration step of the minimum covariance determinant [2]_. The others have a hundredth of their weight. At least
        this share should be normal; 1 fits once, to all rows.

    random_state : int, RandomState instance or None, default=None
        Passed to the clones of `estimator`, unless None.

    Attributes
    ----------
    estimator_ : VAETransformer
        The fitted model.

    offset_ : float
        The threshold of `score_samples`: ``decision_function(X) = score_samples(X) - offset_``.

    n_features_in_ : int
        Number of columns seen during `fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns seen during `fit`, where they are all strings.

    See Also
    --------
    VAETransformer.score_cells : The p-values of cells.
    sklearn.ensemble.IsolationForest : Outlier detection by random splits.
    sklearn.neighbors.LocalOutlierFactor : Outlier detection by densities of neighbours.

    References
    ----------
    .. [1] Tukey, J. W. (1977). Exploratory data analysis. Addison-Wesley.
    .. [2] Rousseeuw, P. J., & Van Driessen, K. (1999). A fast algorithm for the minimum covariance determinant estimator.
       Technometrics, 41(3).

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import VAEOutlierDetector
    >>> X = load_iris(as_frame=True).data
    >>> X.loc[7, "sepal width (cm)"] = 34.0
    >>> detector = VAEOutlierDetector(random_state=0).fit(X)
    >>> int(detector.predict(X)[7])
    -1
    >>> detector.explain(X.loc[[7]], n_cells=1)["column"].item()
    'sepal width (cm)'
    """

    _parameter_constraints: ClassVar[dict] = {
        "estimator": [HasMethods(["fit", "score_samples", "score_cells"]), None],
        "contamination": [StrOptions({"auto"}), Interval(Real, 0, 0.5, closed="right")],
        "support_fraction": [Interval(Real, 0, 1, closed="right")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: Any = None,
        *,
        contamination: float | str = "auto",
        support_fraction: float = 0.75,
        random_state: Any = None,
    ):
        self.estimator = estimator
        self.contamination = contamination
        self.support_fraction = support_fraction
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any = None, *, sample_weight: Any = None) -> "VAEOutlierDetector":
        """Fit the model to rows, some of which may be outliers, and find the threshold.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            As `VAETransformer.fit` takes them.

        y : None
            Ignored.

        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row in the objective. The threshold, and the rows that support the second model, are shares of
            the rows of positive weight, however large that is.

        Returns
        -------
        self : VAEOutlierDetector
        """
        estimator = self._unfitted(X)
        if self.random_state is not None:
            estimator.set_params(random_state=self.random_state)
        self.estimator_ = estimator.fit(X, sample_weight=sample_weight)
        score = self.score_samples(X)
        weight = np.ones(len(score)) if sample_weight is None else np.asarray(sample_weight, dtype=float)
        if self.support_fraction < 1:
            unlikely = score < np.quantile(score[weight > 0], 1 - self.support_fraction)
            self.estimator_ = clone(estimator).fit(X, sample_weight=np.where(unlikely, LEAST_WEIGHT * weight, weight))
            score = self.score_samples(X)
        self.offset_ = self._threshold(score[weight > 0])
        self.n_features_in_ = self.estimator_.n_features_in_
        if hasattr(self.estimator_, "feature_names_in_"):
            self.feature_names_in_ = self.estimator_.feature_names_in_
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        return self

    def _unfitted(self, X=None):
        """The model as it will be fitted to X."""
        if self.estimator is not None:
            return clone(self.estimator)
        n_dim = np.ndim(X) if isinstance(X, list | tuple) else getattr(X, "ndim", 2)
        likelihood = "auto" if n_dim > 2 else "student_t"
        return VAETransformer(8, generator="latent", likelihood=likelihood, hidden_layer_sizes=())

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags = get_tags(self._unfitted()).input_tags
        return tags

    def _threshold(self, score):
        """The score (n,) below which rows are outliers."""
        if not isinstance(self.contamination, str):
            return float(np.percentile(score, 100.0 * self.contamination))
        lower, upper = np.percentile(score, [25, 75])
        return float(lower - FENCE * (upper - lower))

    def score_samples(self, X: Any) -> np.ndarray:
        """How much each row belongs: greater is more normal.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)

        Returns
        -------
        score : ndarray of shape (n_samples,)
            The log-likelihood of the row, in nats (`VAETransformer.score_samples`).
        """
        check_is_fitted(self)
        return self.estimator_.score_samples(X)

    def decision_function(self, X: Any) -> np.ndarray:
        """`score_samples` less `offset_`: negative for outliers.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)

        Returns
        -------
        decision : ndarray of shape (n_samples,)
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> np.ndarray:
        """Whether each row is an outlier.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)

        Returns
        -------
        label : ndarray of shape (n_samples,), int
            -1 for outliers, 1 for the others.
        """
        return np.where(self.decision_function(X) < 0, -1, 1)

    def explain(self, X: Any, n_cells: int = 3) -> pd.DataFrame:
        """The least likely cells of each row, and what was expected there given the row's other cells.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows of a table; those of `predict` that are outliers, say.

        n_cells : int, default=3
            How many cells of each row, at most.

        Returns
        -------
        cells : DataFrame of shape (n_samples * n_cells, 7)
            Row after row, the least likely cell first: `row`, its label in the index of X, else its number; `column`;
            `value`; `expected`, the median of draws of the cell given the row's other cells (`VAETransformer.impute`), or
            the most frequent draw of a category; `low` and `high`, between which a further draw of a number lies with
            probability 0.9; and `p_value`, the probability of a cell at least as unlikely (`VAETransformer.score_cells`).

            Columns of images or vectors are left out, as their p-values do not compare with others.

        Raises
        ------
        ValueError
            If `n_cells` is not an int in the range [1, inf), or rows are images or counts.
        """
        check_is_fitted(self)
        if not isinstance(n_cells, Integral) or isinstance(n_cells, bool) or n_cells < 1:
            raise ValueError(f"n_cells must be an int in the range [1, inf). Got {n_cells!r} instead.")
        frame = _as_pandas(X)
        cells = {name: [] for name in ("row", "column", "value", "expected", "low", "high", "p_value")}
        if len(frame):
            compared = [j for j in range(frame.shape[1]) if not _holds_arrays(frame.iloc[:, j])]
            log_p = np.asarray(self.estimator_.score_cells(X, kind="log_p_value"), dtype=float)[:, compared]
            places = np.argsort(log_p, axis=1, kind="stable")[:, :n_cells]
            rows, columns = np.repeat(np.arange(len(frame)), places.shape[1]), np.take(compared, places.ravel())
            cells["row"], cells["column"] = frame.index[rows], frame.columns[columns]
            cells["value"] = [frame.iat[i, j] for i, j in zip(rows, columns, strict=True)]
            cells |= self._expected(X, frame, rows, columns)
            cells["p_value"] = np.exp(log_p[rows, places.ravel()])
        objects = dict.fromkeys(("value", "expected", "low", "high"), object)
        return pd.DataFrame({name: pd.Series(list(one), dtype=objects.get(name)) for name, one in cells.items()})

    def _expected(self, X, frame, rows, columns):
        """What draws say of cells at rows (m,) and columns (m,), each given the row's others: lists of m values by name."""
        holed = frame.iloc[rows].reset_index(drop=True)
        for j in np.unique(columns):
            holed.isetitem(j, _with_holes(holed.iloc[:, j], columns == j))
        if isinstance(X, np.ndarray | list):
            dtype = frame.to_numpy().dtype
            holed = holed.to_numpy(dtype=float if dtype.kind in "iub" else dtype, na_value=np.nan)
        draws = self.estimator_.impute(holed, n_draws=N_DRAWS_EXPECTED, random_state=0)
        tables = [_as_pandas(draw) for draw in draws]  # which come in the container of `fit`
        categories = [_is_category(dtype) for dtype in frame.dtypes]
        cells = [_summary([table.iat[i, j] for table in tables], categories[j]) for i, j in enumerate(columns)]
        return dict(zip(("expected", "low", "high"), zip(*cells, strict=True), strict=True))


def _holds_arrays(column):
    """Whether the cells of a column are images or vectors."""
    return column.dtype.kind == "O" and column.map(np.ndim).gt(0).any()


def _with_holes(column, holes):
    """A column some of whose cells are missing."""
    if column.dtype.kind in "iu":
        column = column.astype("Int64")
    elif column.dtype.kind == "b":
        column = column.astype("boolean")
    return column.mask(holes)


def _is_category(dtype):
    return isinstance(dtype, pd.CategoricalDtype) or pd.api.types.is_bool_dtype(dtype)


def _summary(draws, category):
    """The middle of draws of a cell, and the ends of an interval: of categories the most frequent, and None twice."""
    there = [draw for draw in draws if not pd.isna(draw)]
    if not there:  # of a column that is not modelled
        return None, None, None
    if not category and all(isinstance(draw, Real | pd.Timestamp | pd.Timedelta) for draw in there):
        ranks = [round(share * (len(there) + 1)) for share in (0.5, *INTERVAL)]
        return tuple(sorted(there)[min(max(rank, 1), len(there)) - 1] for rank in ranks)
    return max(dict.fromkeys(there), key=there.count), None, None


def _as_pandas(X):
    """Rows of a table as a DataFrame: x0, x1, ... of an array."""
    if nw.dependencies.is_into_dataframe(X):
        return nw.from_native(X, eager_only=True).to_pandas()
    X = np.asarray(X)
    if X.ndim != 2:
        raise ValueError(f"explain takes rows of a table. Got an array of shape {X.shape}.")
    return pd.DataFrame(X, columns=[f"x{j}" for j in range(X.shape[1])])
