"""The verdict of a quality report: sentences on its measures, which are given as plain DataFrames."""

import math

from skvae.texts import short

SAME = 0.5  # points between two errors that mean little
ALIKE = 0.02  # difference of two shares of rows that means little
FEW_ROWS = 50  # fewer leave much to chance
N_CLASSIFIER, N_GOOD_CLASSIFIER = 30, 300  # fewer rows teach a classifier nothing, and little, of what tells rows apart
N_STANDARD_ERRORS = 3  # more of them are no chance
WIDE = 0.3  # a share of rows that is known no better than this tells nothing
# words for figures below a bound: shape_error, c2st, and what a model learns, as a share of what it learns of real rows
DIFFERENCE = ((1, "very little"), (5, "little"), (15, "a clear difference"), (math.inf, "a large difference"))
TOLD_APART = ((0.2, "nearly always"), (0.6, "often"), (0.9, "sometimes"), (math.inf, "hardly"))
LEARNED = (
    (0.1, "hardly at all, unlike"),
    (0.5, "far worse than"),
    (0.8, "worse than"),
    (0.95, "nearly as well as"),
    (1.05, "as well as"),
    (math.inf, "better than"),
)
# trend_error, from that of held-out rows, 0, to that of shuffled columns, 1
LOST = ((0.1, "is kept"), (0.5, "is mostly kept"), (0.9, "is kept in part"), (math.inf, "is lost"))
# shape_error, as a multiple of that of held-out rows
MULTIPLES = ((1, "no more"), (1.5, "little more"), (3, "more"), (math.inf, "far more"))
# model, name of its score, and the score of one that learned nothing
MODELS = {"utility_auc": ("classifier", "AUC", 0.5), "utility_r2": ("regression", "R²", 0.0)}


def verdict_sentences(summary, columns, pairs, relations, n_rows, target=None, nearer_error=None):
    """Sentences on single columns, pairs, relations, the two-sample test, utility, and memorised rows.

    Takes attributes of a `QualityReport`, and the standard error of `dcr_share`. Measures that are missing have no sentence.
    If rows were clearly memorised, that sentence comes first, because it makes all other measures look too good.
    """
    said = _figures(summary)
    scores, n_least = columns["score"].dropna(), min(n_rows["real"], n_rows["synthetic"])
    memory, is_clear = _memory(said["copies"], said.get("dcr_share"), n_rows, nearer_error)
    sentences = [
        _single_columns(said["shape_error"], scores, n_least),
        _dependence(said["trend_error"], pairs.dropna(subset="score"), len(scores)),
        *([] if relations.empty else [_relations(relations)]),
        _two_sample(said["c2st"], n_least),
        *(_utility(said[name], MODELS[name], target, "holdout" in n_rows) for name in MODELS if name in said),
    ]
    sentences = [memory, *sentences] if is_clear else [*sentences, memory]
    return [f"{sentence[0].upper()}{sentence[1:]}." for sentence in sentences]


def memory_sentence(summary, n_rows, nearer_error=None):
    """The sentence on memory alone; it takes what `verdict_sentences` does."""
    said = _figures(summary)
    sentence, _ = _memory(said["copies"], said.get("dcr_share"), n_rows, nearer_error, among_others=False)
    return f"{sentence[0].upper()}{sentence[1:]}."


def _figures(summary):
    """Value and reference points, by measure."""
    figures = summary[["value", "real", "independent"]].to_numpy(float)
    return {measure: tuple(map(float, row)) for measure, row in zip(summary.index, figures, strict=True)}


# --- columns and pairs -----------------------------------------------------------------------------------------------


def _single_columns(shape, scores, n_rows):
    """scores : Series by column."""
    value, held_out, _ = shape
    is_one = len(scores) == 1
    what, ones = (f"column {_quoted(scores.index[0])}", "one") if is_one else ("single columns", "ones")
    text = ("as far as so few rows can tell, " if n_rows < FEW_ROWS else "") + what
    if value == 0:
        return f"{text} {'is' if is_one else 'are'} distributed exactly as in the real rows"
    text += f" {'differs' if is_one else 'differ'} from the real {ones} by {_error(value)}{'' if is_one else ' on average'}"
    if not math.isnan(held_out):
        multiple = 0.0 if value <= held_out + SAME else value / max(held_out, SAME)
        text += f", {_word(multiple, MULTIPLES)} than held-out real rows ({_error(held_out)})"
    elif n_rows >= FEW_ROWS:
        text += f", which is {_word(value, DIFFERENCE)}"
    worst = scores.index[scores.argmin()]
    return text if is_one else f"{text}; {_quoted(worst)} differs most ({_error(100 * (1 - scores.min()))})"


def _dependence(trend, pairs, n_columns):
    """pairs : DataFrame, those that have a score."""
    value, held_out, independent = trend
    if n_columns == 1:
        return "with one column there is no dependence to compare"
    if math.isnan(value):
        return "no pair of columns has a dependence to compare"
    if round(value, 9) == 0:
        return "pairs of columns depend on one another exactly as in the real rows"
    known = {"held-out rows": held_out, "shuffled columns": independent}
    beside = ", ".join(f"{name}: {_error(error)}" for name, error in known.items() if not math.isnan(error))
    beside = f" ({beside})" if beside else ""
    text = f"the dependence between columns {_kept(value, held_out, independent)}"
    if len(pairs) == 1:
        return f"{text}: the pair differs by {_error(value)}{beside}"
    one, other, score = pairs.loc[pairs["score"].idxmin(), ["column_1", "column_2", "score"]]
    worst = f"{_quoted(one)} and {_quoted(other)} differ most ({_error(100 * (1 - score))})"
    return f"{text}: pairs differ by {_error(value)} on average{beside}; {worst}"


def _relations(relations):
    """relations : DataFrame, the worst first, with shares `real` and `synthetic`."""
    is_broken, several = are_broken(relations), len(relations) > 1
    known = f"the {f'{len(relations)} relations' if several else 'relation'} between columns that real rows keep"
    if not is_broken.any():
        return f"{known} hold{'' if several else 's'} as often in the synthetic ones"
    worst, n_broken = relations[is_broken].iloc[0], int(is_broken.sum())
    broken = f"of {known}, the synthetic ones break {n_broken}" if several else f"the synthetic rows break {known}"
    relation = worst["relation"].replace("`", "")  # which relations write around names with spaces
    shares = _share(worst["synthetic"]), _share(worst["real"])
    return f"{broken}: {_quoted(relation, 100)} holds in {shares[0]} of them, and in {shares[1]} of the real rows"


def are_broken(relations):
    """Series of bool by relation: whether the synthetic rows break what always holds, or keep less of what mostly does."""
    real, synthetic = relations["real"], relations["synthetic"]
    return ((real == 1) & (synthetic < 1)) | (synthetic < real - ALIKE)


def _kept(value, held_out, independent):
    """How much of the dependence is left: held-out rows have all of it, shuffled columns none."""
    has_holdout = not math.isnan(held_out)
    least = held_out if has_holdout else 0.0
    if math.isnan(independent):
        return "differs from the real one"
    if value > 1.25 * max(independent, least) + SAME:
        return "is further from the real one than that of shuffled columns"
    if independent - least < 2 * SAME:
        return "is too weak in the real rows to be judged"
    if has_holdout and value <= held_out + SAME:
        return "is kept as in held-out real rows"
    lost = _word((value - least) / (independent - least), LOST)
    if has_holdout:
        return lost
    doubt = " if there is any" if lost == LOST[-1][1] else ""  # columns that are independent look as if they lost it
    return f"{lost}{doubt}, as far as one can tell without held-out rows"


# --- two-sample test and utility -------------------------------------------------------------------------------------


def _two_sample(c2st, n_rows):
    value, held_out, _ = c2st
    if n_rows < N_CLASSIFIER:
        return "there are too few rows for a classifier to learn to tell synthetic rows from real ones"
    beside = "1 where it never can" if math.isnan(held_out) else f"held-out real rows: {held_out:.2f}"
    if value >= held_out - 0.05:
        text = "a classifier confuses synthetic rows with real ones as often as it does held-out real rows"
    else:
        text = f"a classifier can {_word(value, TOLD_APART)} tell synthetic rows from real ones"
    text += f" (c2st {value:.2f}; {beside})"
    return f"{text}, but it learns little from so few rows" if n_rows < N_GOOD_CLASSIFIER and value >= 0.6 else text


def _utility(utility, model, target, has_holdout):
    value, real, _ = utility
    kind, score, chance = model
    figures = f"({score} {value:,.2f} and {real:,.2f})"
    caution = "" if has_holdout else "; without held-out rows this score is too good"
    if max(value, real) < chance + 0.1:
        return f"a {kind} of {_quoted(target)} learns little from synthetic rows and from real ones {figures}{caution}"
    learned = _word((value - chance) / max(real - chance, 1e-9), LEARNED)
    trained = f"a {kind} of {_quoted(target)} trained on the synthetic rows predicts real ones"
    return f"{trained} {learned} one trained on real rows {figures}{caution}"


# --- memory ----------------------------------------------------------------------------------------------------------


def _memory(copies, nearer, n_rows, nearer_error, among_others=True):
    """A sentence, and whether rows were clearly memorised.

    nearer : dcr_share, or None without holdout; among_others : whether the other sentences of the verdict follow.
    """
    value, among_real, _ = copies
    others, n_others = ("held-out rows", "holdout") if nearer else ("real rows that equal another", "real")
    facts = f"{_share(value)} of the synthetic rows equal a real row ({others}: {_share(among_real)})"
    chance = _chance(value, among_real, n_rows["synthetic"], n_rows[n_others])
    # where real rows often equal one another, rows that are merely too typical equal them too
    evidence = _evidence(value - among_real, chance, 5 * among_real + 0.01)
    judgement = "held-out rows are needed to tell whether real rows were memorised"
    if nearer:
        chance = N_STANDARD_ERRORS * nearer_error
        evidence = max(evidence, _evidence(nearer[0] - 0.5, chance, 0.1))
        margin = f" ± {min(chance, 0.5):.0%}" if chance > 0 else ""
        facts += f", {nearer[0]:.0%} lie nearer to a real row than to a held-out one (expected by chance: 50%{margin})"
        judgement = _no_memory(nearer[0] - 0.5, chance)
    judgement = (judgement, "real rows may have been memorised", "real rows were memorised")[evidence]
    caution = "; this makes all other measures look too good" if evidence == 2 and among_others else ""
    return f"{judgement}: {facts}{caution}", evidence == 2


def _evidence(excess, chance, much):
    """0 where chance explains an excess, 1 where it does not, 2 where it is also much."""
    return 0 if excess <= chance else 1 if excess <= much else 2


def _chance(share, other, n, m):
    """What two shares, of n and of m rows, can differ by."""
    both = (share * n + other * m) / (n + m)
    return N_STANDARD_ERRORS * math.sqrt(both * (1 - both) * (1 / n + 1 / m))


def _no_memory(excess, chance):
    if not 0 < chance < WIDE:  # chance is 0 if all rows are as near to real as to held-out ones
        return "it cannot be told whether real rows were memorised"
    if excess < -chance:
        return "synthetic rows are so near to held-out ones that it cannot be told whether real ones were memorised"
    return "no sign that real rows were memorised"


def _word(value, words):
    return next(word for bound, word in words if value < bound)


def _quoted(name, length=40):
    return f"'{short(name, length)}'"


def _error(percents):
    return "under 0.1%" if 0 < percents < 0.05 else f"{percents:.1f}%"


def _share(share):
    """A share as text, which is "none" or "all" only if that is exact."""
    if share in (0, 1):
        return "none" if share == 0 else "all"
    return "under 0.1%" if share < 0.0005 else "over 99.9%" if share > 0.9995 else f"{100 * share:.1f}%"
