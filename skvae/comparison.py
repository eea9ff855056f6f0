"""A synthetic table beside the real one: what measures are taken of, each result computed once, when it is first needed."""

from collections.abc import Hashable
from functools import cached_property

import pandas as pd

from skvae.boosted_trees import utility_scores
from skvae.compared_columns import ComparedColumn
from skvae.fidelity import column_scores, pair_scores, with_dependence, with_shuffled
from skvae.kept_relations import relation_shares


class Comparison:
    """Tables by their columns, and what several measures and the report need of them.

    Parameters
    ----------
    all_columns : list of ComparedColumn
        Of the tables "real" and "synthetic", and of "holdout" where there are held-out rows.
    left_out : collection
        Names of those that are not compared.
    target : object
        Name of the column that is predicted from the others; None for none.
    seed : int
        Of folds, models, shuffled columns, and draws of rows.
    """

    def __init__(self, all_columns: list[ComparedColumn], left_out: dict, target: Hashable, seed: int):
        self.all_columns, self.target, self.seed = all_columns, target, seed
        self.columns = [column for column in all_columns if column.name not in left_out]

    @property
    def n_rows(self) -> dict[str, int]:
        """Rows of each table."""
        return {table: len(cells) for table, cells in self.all_columns[0].cells.items()}

    @property
    def has_holdout(self) -> bool:
        return "holdout" in self.n_rows

    @cached_property
    def column_scores(self) -> pd.DataFrame:
        """One row a column, identifiers too: `QualityReport.columns`."""
        return column_scores(self.all_columns)

    @cached_property
    def pairs(self) -> pd.DataFrame:
        """One row a pair of columns: `QualityReport.pairs`."""
        return with_dependence(pair_scores(self.columns), self.columns)

    @cached_property
    def reference_pairs(self) -> dict[str, pd.DataFrame]:
        """As `pairs`, by reference point: of held-out rows in place of synthetic ones, and of shuffled columns."""
        pairs = {"independent": pair_scores(with_shuffled(self.columns, self.seed), other="independent")}
        return pairs | ({"real": pair_scores(self.columns, other="holdout")} if self.has_holdout else {})

    @cached_property
    def relations(self) -> pd.DataFrame:
        """One row a relation of the real table: `QualityReport.relations`."""
        return relation_shares(self.columns)

    @cached_property
    def utility(self) -> dict[str, dict[str, float]]:
        """By score, that of a model of the target trained on synthetic rows, and on real ones; empty without a target."""
        return {} if self.target is None else utility_scores(self.all_columns, self.target, self.seed)
