"""The measures of a quality report: one class each, and its row in `MEASURES`, by which the report takes and explains it."""

import math
from abc import ABC, abstractmethod

import pandas as pd

from skvae.boosted_trees import two_sample_score
from skvae.comparison import Comparison
from skvae.fidelity import percent_error, shape_score
from skvae.privacy import copy_shares, nearer_share


class AbstractMeasure(ABC):
    """A figure of the synthetic table, beside its reference points.

    Attributes
    ----------
    title : str
        What a person calls it.
    meaning : str
        What it says, in a sentence or two.
    ideal : float
        The best value that there can be; NaN where that is not known.
    """

    title: str
    meaning: str
    ideal = math.nan

    @abstractmethod
    def take(self, tables: Comparison) -> dict[str, float]:
        """The figure, "value", and its reference points, as far as they are known; nothing where it cannot be taken.

        "real" : what held-out real rows score in place of the synthetic ones; "independent" : what the real rows score once
        every column is shuffled by itself; "error" : the standard error of the value.
        """


class ShapeError(AbstractMeasure):
    title = "Single columns: error, %"
    meaning = "How far single columns are from the real ones, in %. Independent columns have none."
    ideal = 0.0

    def take(self, tables):
        figures = {"value": percent_error(tables.column_scores["score"]), "independent": 0.0}
        if tables.has_holdout:
            figures["real"] = percent_error([shape_score(column, other="holdout") for column in tables.columns])
        return figures


class AbstractTrendError(AbstractMeasure):
    """The mean of a score of the pairs, as an error."""

    ideal = 0.0
    score: str  # its name in `QualityReport.pairs`

    def take(self, tables):
        pairs = {"value": tables.pairs, **tables.reference_pairs}
        return {point: percent_error(one[self.score]) for point, one in pairs.items()}


class TrendError(AbstractTrendError):
    title = "Pairs of columns: error, %"
    meaning = (
        "How far the dependence between pairs of columns is from the real one, in %. A number beside a category is cut at "
        "the deciles of the real table."
    )
    score = "score"


class TrendErrorOfSdmetrics(AbstractTrendError):
    title = "Pairs, as sdmetrics counts: error, %"
    meaning = (
        "The same as sdmetrics computes it, to be compared with published figures. A number beside a category is cut over "
        "the range of each table: a few extremes can decide, and held-out real rows can score worse than synthetic ones."
    )
    score = "score_sdmetrics"


class KeptRelations(AbstractMeasure):
    title = "Relations that hold as often"
    meaning = (
        "How much of what always, or mostly, holds between real columns holds as often in synthetic rows: sums, orders, and "
        "functional dependencies. Boosted trees do not see sums."
    )
    ideal = 1.0

    def take(self, tables):
        relations = tables.relations
        if relations.empty:
            return {}
        points = {"value": "synthetic", "real": "holdout"} if tables.has_holdout else {"value": "synthetic"}
        return {point: 1 - (relations[table] - relations["real"]).abs().mean() for point, table in points.items()}


class TwoSampleTest(AbstractMeasure):
    title = "Two-sample test"
    meaning = "1: boosted trees cannot tell synthetic rows from real ones. 0: they always can."
    ideal = 1.0

    def take(self, tables):
        figures = {"value": two_sample_score(tables.columns, tables.seed)}
        if tables.has_holdout:
            figures["real"] = two_sample_score(tables.columns, tables.seed, other="holdout")
        return figures


class AbstractUtility(AbstractMeasure):
    """How well a model that was trained on synthetic rows predicts the target of real ones."""

    score: str  # its name in `Comparison.utility`

    def take(self, tables):
        return tables.utility.get(self.score, {})


class UtilityAuc(AbstractUtility):
    title = "Usefulness: AUC of a classifier"
    meaning = "AUC on real rows of a classifier of the target that was trained on synthetic rows. Chance is 0.5."
    score = "auc"


class UtilityR2(AbstractUtility):
    title = "Usefulness: R² of a regression"
    meaning = "R² on real rows of a regression of the target that was trained on synthetic rows."
    score = "r2"


class UtilityRmse(AbstractUtility):
    title = "Usefulness: RMSE of a regression"
    meaning = "Root mean squared error of that regression, in the target's unit (times: seconds)."
    score = "rmse"


class NearerShare(AbstractMeasure):
    title = "Nearer to a real than to a held-out row"
    meaning = "Share of synthetic rows nearer to a real row than to a held-out row. Above 0.5: real rows are memorised."
    ideal = 0.5

    def take(self, tables):
        if not tables.has_holdout:
            return {}
        return dict(zip(("value", "error"), nearer_share(tables.columns, tables.seed), strict=True))


class Copies(AbstractMeasure):
    title = "Copies of real rows"
    meaning = (
        "Share of synthetic rows that equal a real row. More than among held-out rows, or than real rows equal one another: "
        "real rows are memorised."
    )

    def take(self, tables):
        shares = copy_shares(tables.columns)
        return {"value": shares["synthetic"], "real": shares["holdout" if tables.has_holdout else "real"]}


# in the order in which a summary lists them
MEASURES: dict[str, type[AbstractMeasure]] = {
    "shape_error": ShapeError,
    "trend_error": TrendError,
    "trend_error_sdmetrics": TrendErrorOfSdmetrics,
    "relations": KeptRelations,
    "c2st": TwoSampleTest,
    "utility_auc": UtilityAuc,
    "utility_r2": UtilityR2,
    "utility_rmse": UtilityRmse,
    "dcr_share": NearerShare,
    "copies": Copies,
}


def take_measures(tables: Comparison) -> pd.DataFrame:
    """One row a measure that can be taken: `QualityReport.summary`, and in a column `error` the standard errors."""
    taken = {name: figures for name, measure in MEASURES.items() if (figures := measure().take(tables))}
    rows = [{"ideal": MEASURES[name].ideal, **figures, "meaning": MEASURES[name].meaning} for name, figures in taken.items()]
    columns = ["value", "ideal", "real", "independent", "error", "meaning"]
    return pd.DataFrame(rows, index=pd.Index(list(taken), name="measure"), columns=columns)
