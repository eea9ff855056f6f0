"""How good a synthetic table is: the report, in words, figures, pictures and as a page. Knows no model; no torch."""

import numbers
import os
import textwrap
from collections.abc import Hashable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from narwhals.stable.v2.typing import IntoDataFrame
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state

from skvae.binned_distributions import joint_of, marginal_of
from skvae.compared_columns import ARRAYS, read_tables
from skvae.comparison import Comparison
from skvae.measures import take_measures
from skvae.projections import map_rows
from skvae.report_page import (
    html_columns,
    html_measures,
    html_page,
    html_pairs,
    html_privacy,
    html_relations,
    html_rows,
    html_verdict,
    not_compared,
)
from skvae.report_plots import N_DISTRIBUTIONS, PlotData, draw_report
from skvae.report_verdict import memory_sentence, verdict_sentences
from skvae.targets import replacing
from skvae.texts import as_number

N_PAIRS_DRAWN = 6


def quality_report(
    real: IntoDataFrame | ArrayLike,
    synthetic: IntoDataFrame | ArrayLike,
    holdout: IntoDataFrame | ArrayLike | None = None,
    *,
    target: Hashable | None = None,
    estimator: Any = None,
    random_state: int | np.random.RandomState | None = None,
) -> "QualityReport":
    """Compare a synthetic table with the real one that it was made from.

    Parameters
    ----------
    real : {DataFrame, array-like} of shape (n_samples, n_features)
        The rows that the synthetic ones were made from, at least 3. Columns hold numbers, booleans, strings, categories,
        dates or durations; cells may be missing. Columns of arrays (images, vectors) are left out, and listed in `left_out`.

    synthetic : {DataFrame, array-like} of shape (n_synthetic, n_features)
        The rows to judge. Columns as in `real`, by name; their order is free. A column that holds another kind of cells
        than in `real` is refused; integers and floats, naive units of time, strings and categories are one kind each.

    holdout : {DataFrame, array-like} of shape (n_holdout, n_features), default=None
        Real rows that nothing was fitted to. With them the summary tells what real rows would score, utility is tested on
        rows that no model saw, and the nearest records are compared.

    target : object, default=None
        Name of a column to predict from the others ("x0", "x1", ... for an array), for utility. A category, a boolean or a
        number of two values is a class, another number or a time is regressed.

    estimator : object with `transform`, default=None
        Fitted to rows like `real`, such as a `VAETransformer`. On the page of `to_html` rows are then mapped by what it
        makes of them, otherwise by their principal components.

    random_state : int, RandomState instance or None, default=None
        Seeds the folds, the classifiers and the draws of rows. Pass an int for reproducible output across calls.

    Returns
    -------
    report : QualityReport
        With `verdict` (in words), `summary`, `columns` and `pairs` (DataFrames), `plot()` and `to_html(path)`. It holds no
        rows.

    Raises
    ------
    ValueError
        If a table has fewer than 3 rows, more than two axes, duplicate column names, infinite cells, identifiers and arrays
        only, other columns than `real` or another kind of cells in one, or if `target` is no column that can be predicted.
    TypeError
        If a column holds anything else than is listed above, or if `estimator` has no `transform`.

    See Also
    --------
    VAETransformer.sample : Draws synthetic rows.

    Notes
    -----
    Measures of the summary. Errors are in %, `utility_rmse` is in the unit of the target (seconds for times), the others are
    shares or scores without a unit:

    - **shape_error** : percents that the mean `score` of `columns` lacks of 1. The score of a column is one minus the
      Kolmogorov-Smirnov distance of its observed cells for a number, a date or a duration, and one minus the total
      variation distance for a category or a boolean [1]_, [6]_. Missing cells are a category of their own; the score of a
      number is no more than one minus the difference of the shares of missing cells, which sdmetrics does not count.
    - **trend_error** : percents that the mean `score` of `pairs` lacks of 1. For two numbers, one minus half the difference
      of their Pearson correlations, over rows where both are observed; for two categories, one minus the total variation
      distance of their joint frequencies; a number beside a category is first cut at the deciles of the real table, the same
      for both tables. A value of more than a tenth of the real rows is a bin of its own, and so are missing cells. A
      correlation with a constant column is taken as 0, unless it is undefined in both tables: then the pair has no score.
      Differences below 0.5 mean little.
    - **trend_error_sdmetrics** : the same of `score_sdmetrics`, as in the quality report of sdmetrics up to 0.26 [1]_, to be
      compared with published figures. It differs for a number beside a category, which is cut into ten bins over the range
      that it has in each table: a few extremes can decide, and held-out real rows can score worse than synthetic ones. All
      pairs count.
    - **relations** : one minus the mean difference, over the relations that the real table shows (`relations_` of the
      estimator), of the shares of real and of synthetic rows that keep them. Not listed where there are none.
    - **c2st** : a two-sample test [2]_. Gradient boosting learns to tell synthetic rows from real ones, in three folds; the
      score is 1 - mean(2 max(1/2, AUC) - 1). It sees categories and missing cells as such; categories beyond the 254 most
      frequent are one to it. It takes as many rows of each table as the smaller one has, and at most 50,000. With fewer
      than a few hundred rows it finds little, and it takes copies of real rows for real: see `copies`.
    - **utility** : with `target`. Gradient boosting is trained on the synthetic rows and tested on the real ones [3]_,
      on `holdout` if it is given. `real` beside it is the same trained on the real rows; without holdout, in three folds.
      Without holdout the synthetic rows were made from the rows that test them: the figure flatters. The
      AUC is one class against the rest, the mean over the classes. Rows without the target are left out.
    - **dcr_share** : with `holdout`. The distance to the closest record [4]_, in the real rows or in as many held-out ones
      (at most 50,000 of each, and 2,000 synthetic rows, for a standard error of about 0.01; the verdict tells three of them;
      a holdout much smaller than the real rows leaves most of them out of the search, and sees less), with Gower's distance
      [5]_: numbers by their rank among the real and held-out rows, categories equal or not, missing cells equal to one
      another only. Ties count half. It means something only if holdout and real rows come from the same source.
    - **copies** : the share of synthetic rows equal to a real row in every column; `real` is the same for the held-out rows,
      without holdout the share of real rows that equal another real row.

    `ideal` is the best value that there can be, `real` what held-out real rows score in place of the synthetic ones (for
    utility: what real rows to train on give), `independent` what the real rows score once every column is shuffled by
    itself, where that is known without training: a table that tells no dependence between columns.

    The verdict says what these measures say: of columns and pairs, beside held-out rows and shuffled columns; of the
    two-sample test and utility, beside real rows; of memory, what chance does not explain (three standard errors). Without
    holdout it says what that leaves open.

    Identifiers (from 50 rows on, texts that are nearly all different) are listed in `columns`, without a score, and
    otherwise ignored; columns of arrays are ignored. `left_out` names both. Dates are compared as moments, whatever their
    unit or time zone, and numbers as float64, or as float32 where one table holds them so. Shape, trend and copies use all
    rows; a map of the rows at most 10,000 of each table.

    References
    ----------
    .. [1] SDMetrics: KSComplement, TVComplement, CorrelationSimilarity, ContingencySimilarity.
       https://docs.sdv.dev/sdmetrics
    .. [2] Lopez-Paz, D., & Oquab, M. (2017). Revisiting classifier two-sample tests. ICLR. arXiv:1610.06545
    .. [3] Esteban, C., Hyland, S. L., & Rätsch, G. (2017). Real-valued (medical) time series generation with recurrent
       conditional GANs. arXiv:1706.02633 (train on synthetic, test on real)
    .. [4] Platzer, M., & Reutterer, T. (2021). Holdout-based empirical assessment of mixed-type synthetic data. Frontiers
       in Big Data, 4. arXiv:2104.00635
    .. [5] Gower, J. C. (1971). A general coefficient of similarity and some of its properties. Biometrics, 27(4).
    .. [6] Gibbs, A. L., & Su, F. E. (2002). On choosing and bounding probability metrics. International Statistical Review,
       70(3). arXiv:math/0209021

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from skvae import quality_report
    >>> X, _ = load_wine(return_X_y=True, as_frame=True)
    >>> report = quality_report(X, X.sample(frac=1, random_state=0), random_state=0)
    >>> float(report.summary.loc["shape_error", "value"])
    0.0
    >>> float(report.summary.loc["copies", "value"])
    1.0
    """
    tables = {"real": real, "synthetic": synthetic} | ({} if holdout is None else {"holdout": holdout})
    columns, left_out = read_tables(tables)
    comparison = Comparison(columns, left_out, target, _seed(random_state))
    if not comparison.columns:
        reasons = ", ".join(f"{name!r} {reason}" for name, reason in left_out.items())
        raise ValueError(f"real has no column to compare: {reasons}. Give tables that have another column.")
    if target is not None and left_out.get(target) == ARRAYS:
        raise ValueError(f"target {target!r} {ARRAYS} in real: it cannot be predicted. Choose another column.")
    summary = take_measures(comparison)
    errors = summary.pop("error")
    row_map = map_rows(comparison.columns, tables, estimator, comparison.seed)
    data = PlotData(_marginals(comparison), _worst_joints(comparison), row_map)
    frames = comparison.column_scores, comparison.pairs, comparison.relations
    return QualityReport(summary, *frames, left_out, data, comparison.n_rows, target, errors.get("dcr_share"))


def _seed(random_state):
    """A seed; None draws one without touching numpy's global stream."""
    stream = np.random.RandomState() if random_state is None else check_random_state(random_state)
    return int(stream.randint(2**31 - 2))


def _marginals(comparison):
    """The distribution of each column."""
    scores = comparison.column_scores
    return [marginal_of(column, scores.at[column.name, "score"]) for column in comparison.columns]


def _worst_joints(comparison):
    """The distributions of the pairs of the worst scores."""
    scores = comparison.pairs["score"]
    ends = list(combinations(comparison.columns, 2))  # the order of pairs
    worst = scores.dropna().sort_values(kind="stable").index[:N_PAIRS_DRAWN]
    return [joint_of(ends[at][0], ends[at][1], float(scores.at[at])) for at in worst]


class QualityReport:
    """What `quality_report` found. It holds figures and histograms, no rows.

    Attributes
    ----------
    verdict : str
        A few sentences: how close single columns and pairs of columns are, and which are worst; whether what always holds
        between columns is kept; whether a classifier can tell the rows apart; with a target, whether a model learns as much
        of the rows as of real ones; and whether real rows were memorised.

    summary : DataFrame
        One row a measure: `value`; beside it `ideal`, `real` and `independent`, the reference points (NaN where there is
        none); and `meaning`, in words. Errors are in %, RMSE in the target's unit, the others lie between 0 and 1 (R² at
        most 1).

    columns : DataFrame
        One row a column, by name: `kind`, `metric` ("ks", "tv", or "" for an identifier), `score`, and the shares of missing
        cells, `missing_real` and `missing_synthetic`.

    pairs : DataFrame
        One row a pair of columns: `column_1`, `column_2`, `metric` ("correlation" or "contingency"), `score`, of which
        `trend_error` is the mean, `score_sdmetrics`, the same as sdmetrics computes it (another one where a number is
        beside a category), the correlations, `real` and `synthetic`, and from 0 to 1 how much the columns depend on one
        another, `dependence_real` and `dependence_synthetic`: the correlation without its sign, for other pairs Cramér's V
        less what chance adds to it, numbers cut at the deciles of the real table; NaN beside a constant column.

    relations : DataFrame
        One row a relation that is found in the real table, as in `VAETransformer.relations_`: `relation`, `kind`, the shares
        of rows that keep it, `real`, `synthetic` and, with held-out rows, `holdout`, and `columns`; the worst first.

    left_out : dict of str
        Why a column is not compared, by its name: it "holds arrays", or it "is an identifier".

    n_rows : dict of str to int
        Rows of each table: "real", "synthetic" and "holdout".

    target : object
        Name of the column that utility is about, or None.

    figure_ : matplotlib Figure
        What `plot` drew.

    axes_ : ndarray of matplotlib Axes
        Its axes: shape, trend, then one a column.
    """

    def __init__(self, summary, columns, pairs, relations, left_out, plot_data, n_rows, target=None, nearer_error=None):
        self.summary, self.columns, self.pairs, self.n_rows, self.target = summary, columns, pairs, n_rows, target
        self.relations, self.left_out = relations, left_out
        self._plot_data, self._nearer_error = plot_data, nearer_error

    @property
    def verdict(self) -> str:
        """What was found, in a few sentences."""
        return " ".join(self._sentences())

    def plot(self, *, max_columns: int = N_DISTRIBUTIONS) -> "QualityReport":
        """Draw shape by column, trend by pair (`trend_error`), and the distributions of the columns of the worst shape.

        Parameters
        ----------
        max_columns : int, default=12
            Number of distributions to draw at most.

        Returns
        -------
        self : QualityReport
            With `figure_` and `axes_`.

        Raises
        ------
        ValueError
            If `max_columns` is not an int in the range [0, inf).
        """
        n_distributions = _check_count(max_columns)
        import matplotlib.pyplot as plt

        self.figure_ = plt.figure(layout="constrained")
        self.axes_ = draw_report(self.figure_, self._plot_data.marginals, self.pairs["score"], n_distributions)
        return self

    def to_html(self, path: str | os.PathLike) -> Path:
        """Write the report as one file that needs nothing else, for wide screens and narrow ones, light and dark.

        First the verdict, then the measures beside their reference points, the relations that are broken and kept, the
        distributions of the worst columns and of the worst pairs, the dependence of all pairs as a map, a map of the rows,
        and privacy.

        Parameters
        ----------
        path : str or path-like
            File to write; one that is there is replaced.

        Returns
        -------
        path : Path
            The file.
        """
        path = Path(path)
        has_holdout = "holdout" in self.n_rows
        memory = memory_sentence(self.summary, self.n_rows, self._nearer_error)
        sections = {
            "Verdict": html_verdict(self._sentences(), self.left_out),
            "Measures": html_measures(self.summary, has_holdout),
            "Relations": html_relations(self.relations),
            "Columns": html_columns(self._plot_data, self.columns),
            "Pairs of columns": html_pairs(self._plot_data, self.pairs),
            "Map of the rows": html_rows(self._plot_data),
            "Privacy": html_privacy(memory, self.summary, has_holdout),
        }
        page = html_page("Quality of synthetic rows", self._sizes(), sections)
        with replacing(path) as file:
            file.write(page.encode())
        return path

    def _sizes(self):
        return ", ".join(f"{size:,} {table} rows" for table, size in self.n_rows.items()).replace("holdout", "held-out")

    def _sentences(self):
        tables = self.columns, self.pairs, self.relations
        return verdict_sentences(self.summary, *tables, self.n_rows, self.target, self._nearer_error)

    def __repr__(self):
        table = self.summary.drop(columns="meaning").map(as_number)
        words = "\n".join(textwrap.fill(sentence, 100, subsequent_indent="  ") for sentence in self._sentences())
        left_out = f"\n{not_compared(self.left_out)}\n" if self.left_out else ""
        return f"{type(self).__name__}: {self._sizes()}\n\n{words}\n{left_out}\n{table.to_string(index_names=False)}"

    def _repr_html_(self):
        parts = [*html_verdict(self._sentences(), self.left_out), *html_measures(self.summary, "holdout" in self.n_rows)]
        return "\n".join([f"<p>{self._sizes()}</p>", *parts])


def _check_count(value):
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < 0:
        raise ValueError(f"max_columns must be an int in the range [0, inf). Got {value!r} instead.")
    return int(value)
