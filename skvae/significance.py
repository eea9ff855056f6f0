"""How far rows speak against chance. Evidence is counted in nats. No relation is known here."""

import numpy as np
import pandas as pd

# nats by which rows must speak against chance, and how many more for each e-fold of columns: none of 300 tables of 13
# independent columns showed a relation
LEAST_EVIDENCE, EVIDENCE_A_COLUMN = 14.0, 3.0
LEAST_SHARE = 0.05  # of rows, for what only some of them keep; unmeasured
LEAST_OFFSET = 0.03  # share of rows from which a difference of two columns counts as one that recurs; unmeasured
MOST_BREAKS = 0.005  # share of rows that may break an order of dates; unmeasured


def required_evidence(n_columns: int) -> float:
    """Nats that must speak against chance for a relation of a table to be listed."""
    return LEAST_EVIDENCE + EVIDENCE_A_COLUMN * np.log(n_columns)


def against_chance(n: int, share: float, chance: float) -> float:
    """Nats by which a share of n rows speaks against a chance: n times the divergence (Chernoff)."""
    chance = min(max(chance, 1.0 / (n + 2)), 1 - 1e-12)
    if share <= chance:
        return 0.0
    rest = (1 - share) * np.log((1 - share) / (1 - chance)) if share < 1 else 0.0
    return n * (share * np.log(share / chance) + rest)


def groups_against_chance(counts: np.ndarray) -> float:
    """Nats by which groups of one value each speak against chance; counts : (groups, values)."""
    share = counts.sum(0) / max(1, counts.sum())
    sizes, times = np.unique(counts.sum(1), return_counts=True)
    against = 0.0
    for size, n_groups in zip(sizes, times, strict=True):
        if size > 1:  # of the first row of a group nothing follows
            against -= n_groups * np.log((share ** float(size)).sum().clip(1e-300))
    return against


def exclusion_against_chance(share: np.ndarray, n_yes: np.ndarray) -> float:
    """Nats by which flags of these shares (k,), never yes together in rows of n_yes (n,), speak against chance."""
    none = np.prod(1 - share)
    one = none * (share / (1 - share).clip(1e-12)).sum()
    chance = one if (n_yes == 1).all() else none + one
    return -len(n_yes) * np.log(chance.clip(1e-300))


def expected_counts(counts: np.ndarray) -> np.ndarray:
    """Rows that chance would have of each pair of values, of how many have it: (k, m) both."""
    return counts.sum(1, keepdims=True) * counts.sum(0, keepdims=True) / max(1, counts.sum())


def entropy(values: np.ndarray) -> float:
    """Of the values (n,) that occur, in nats."""
    share = np.unique(values, return_counts=True)[1] / max(1, len(values))
    return float(-(share * np.log(share)).sum())


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's, as outliers say little."""
    ranks = [pd.Series(values).rank().to_numpy() for values in (one, other)]
    return float(np.corrcoef(*ranks)[0, 1]) if min(np.ptp(part) for part in ranks) > 0 else 0.0
