"""Tables without torch: which variables each column becomes, and how rows are packed into them."""

import warnings
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd

from skvae.columns import MAX_LEVELS, TICKS, UNSEEN, AbstractColumn, CategoricalColumn, new_column
from skvae.constraint_specs import Exclusion, Identity, Support
from skvae.containers import Cells, CellType, as_frame, read_cells, shown
from skvae.curves import Curves
from skvae.dependents import Dependents, coded_names
from skvae.fields import Field
from skvae.modalities import AbstractModality, Packed
from skvae.persistence import Saved
from skvae.relations import check_all_kept, requested
from skvae.scalings import Variable


@dataclass(frozen=True)
class TableSpec(Saved):
    """What torch must know of a table.

    Attributes
    ----------
    variables : tuple of Variable
        Numbers before codes, those of one likelihood side by side.
    identities, supports, exclusions : tuple
        What relations say of them.
    dependents : Dependents or None
        Solves identities.
    n_rows : int
        That the table was fitted to.
    """

    variables: tuple[Variable, ...]
    identities: tuple[Identity, ...] = ()
    supports: tuple[Support, ...] = ()
    exclusions: tuple[Exclusion, ...] = ()
    dependents: Dependents | None = None
    n_rows: int = 1

    @property
    def n_variables(self) -> int:
        return len(self.variables)


# likelihoods that a column of two values would draw to infinity
DENSITIES = {"continuous_bernoulli", "gaussian", "log_normal", "normal_scores", "student_t"}


class Table(AbstractModality):
    """The columns of a frame of pandas or polars, or of a two-dimensional array.

    A column in which `fit` saw missing cells gets a second variable, its indicator, which says whether the cell is missing:
    so missingness is modelled and generated. A missing cell itself is not observed.

    Parameters
    ----------
    likelihood : str or dict
        "auto", a name for every column that can take it, or names by column.
    categorical : collection of str
        Columns to take as categories, whatever their dtype.
    relations : "auto", None or list of str
        As the estimator takes it.
    """

    def __init__(self, likelihood: str | dict = "auto", categorical: Collection = (), relations: Any = "auto"):
        self.likelihood, self.categorical, self.wanted_relations = likelihood, categorical, relations

    @classmethod
    def find(cls, X: Any, parameters: dict, free: list[int]) -> list[tuple[list[int], dict]]:
        if not free:
            return []
        likelihood = parameters["likelihood"]
        if isinstance(likelihood, dict):
            names = column_names(X)
            own = {names[at] for at in free}
            likelihood = {name: wanted for name, wanted in likelihood.items() if name in own}
        categorical = categorical_names(X, parameters["categorical_features"])
        return [(free, {"likelihood": likelihood, "relations": parameters["relations"], "categorical": categorical})]

    @property
    def spec(self) -> TableSpec:
        if "_spec" not in self.__dict__:  # every call that packs rows asks for it
            rules = self.dependents
            parts = rules.identities, rules.supports, rules.exclusions, rules, rules.n_rows
            self._spec = TableSpec(tuple(self.variables), *parts)
        return self._spec

    @property
    def dependents(self) -> Dependents:
        """What relations add to the packed cells."""
        return self.derived.attach(self.columns)

    @property
    def relations(self) -> list:
        return self.dependents.relations

    @property
    def types(self) -> list[CellType]:  # type: ignore[override]
        return [column.type for column in self.columns]

    @property
    def ignored(self) -> list:
        return [column.name for column in self.columns if column.variable is None]

    def fit(self, X: Any, weight: np.ndarray) -> "Table":
        frame = as_frame(X)
        names = frame.columns
        read = [read_cells(series) for series in frame.iter_columns()]
        self.columns = [self._new_column(name, *one) for name, one in zip(names, read, strict=True)]
        cells = [one for _, one in read]
        unit = self._finest_unit()
        fields = self._fields(cells, unit)
        relations = requested(self.wanted_relations, fields)
        coded = coded_names(relations, fields)
        self.columns = [CategoricalColumn(one.name, one.type) if one.name in coded else one for one in self.columns]
        for column, one in zip(self.columns, cells, strict=True):
            self._fit_column(column, one, weight)
        self.derived = Dependents(self.columns, relations, fields, weight, unit)
        self._lay_out([bool(one.missing.any()) for one in cells])
        check_all_kept(relations, self.relations)
        if not self.variables:
            raise ValueError(
                f"X has no column to model: the strings in {list(names)} are nearly all distinct, so they are taken as "
                "identifiers. List these columns in categorical_features to model them."
            )
        return self

    def _new_column(self, name: Any, found: CellType, cells: Cells) -> AbstractColumn:
        """An unfitted column, of the likelihood that the user says."""
        return new_column(name, found, cells.values[~cells.missing], self._likelihood_of(name), name in self.categorical)

    def _likelihood_of(self, name: Any) -> str:
        return self.likelihood.get(name, "auto") if isinstance(self.likelihood, dict) else self.likelihood

    def _fit_column(self, column: AbstractColumn, cells: Cells, weight: np.ndarray) -> None:
        name, wanted = column.name, self._likelihood_of(column.name)
        if wanted not in ("auto", "identifier") and not column.takes(wanted):
            if isinstance(self.likelihood, dict):
                raise ValueError(
                    f"The likelihood of column {name!r} must be a str among "
                    f"{{{', '.join(map(repr, ('auto', *column.likelihoods())))}}}. Got {wanted!r} instead."
                )
            wanted = "auto"
        values = cells.values[~cells.missing]
        if not isinstance(self.likelihood, dict) and wanted in DENSITIES and len(pd.unique(values)) <= 2:
            wanted = "auto"  # two values have no density
        column.fit(values, weight[~cells.missing], wanted)
        column.empty = len(values) == 0
        if column.variable is None and wanted == "auto":
            _warn_of_repeated_names(name, values)

    def _finest_unit(self) -> str:
        """The unit that all times of the table can be counted in."""
        ticks = {column.tick for column in self.columns if column.tick}
        return min(ticks, key=TICKS.__getitem__, default="ns")

    def _fields(self, cells: list[Cells], unit: str) -> dict[Any, Field]:
        """The columns as relations see them; those that hold anything, and are modelled."""
        pairs = zip(self.columns, cells, strict=True)
        fields = (column.field(one, unit) for column, one in pairs if not one.missing.all())
        return {field.name: field for field in fields if field is not None}

    def _lay_out(self, has_indicator: list[bool]) -> None:
        """Order the packed columns; has_indicator : of each column, whether its missing cells are modelled."""
        modelled = [(column.variable, j) for j, column in enumerate(self.columns) if column.variable is not None]
        slots = [(variable, "value", j) for variable, j in modelled]
        slots += [(Variable("bernoulli"), "missing", j) for _, j in modelled if has_indicator[j]]
        slots += self.dependents.variables()
        slots.sort(key=lambda slot: (slot[0].coded, slot[0].likelihood, slot[0].size.bit_length(), slot[1] != "missing"))
        place = {(j, role): at for at, (_, role, j) in enumerate(slots)}
        self.variables = [
            replace(variable, indicator=place.get((j, "missing"), -1) if role == "value" else -1)
            for variable, role, j in slots
        ]
        self.dependents.lay_out(place)
        self.value_at, self.indicator_at = self.dependents.value_at, self.dependents.missing_at
        for made in ("_layout", "_spec"):
            self.__dict__.pop(made, None)

    @property
    def layout(self) -> "_Layout":
        """What `pack` and `log_jacobian` need, made when first asked for."""
        if "_layout" not in self.__dict__:
            self._layout = _Layout(self)
        return self._layout

    def packs_at_once(self, X: Any) -> bool:
        dtypes = [X.dtype] if isinstance(X, np.ndarray) else X.dtypes
        floats = (isinstance(dtype, np.dtype) and dtype.kind == "f" for dtype in dtypes)
        return self.layout.all_floats and all(floats)

    def pack(self, X: Any) -> Packed:
        values = np.empty((len(X), len(self.variables)))
        if not isinstance(X, np.ndarray) and self.packs_at_once(X):
            X = X.to_numpy()
        for j, cells in self._cells(X, values):
            if (at := self.value_at[j]) is not None:
                values[:, at] = self.columns[j].pack(cells)
            if (at := self.indicator_at[j]) is not None:
                values[:, at] = cells.missing
        if self.dependents.rules:
            self.dependents.pack(self._involved_cells(X), values)
        return _packed(values)

    def _involved_cells(self, X: Any) -> dict[int, Cells]:
        """Cells of the columns that relations compute with, by place."""
        involved = self.dependents.involved
        if isinstance(X, np.ndarray) and X.dtype.kind == "f":
            return {j: Cells(X[:, j].astype(float), np.isnan(X[:, j])) for j in involved}
        series = list(as_frame(X).iter_columns())
        return {j: self.columns[j].read(series[j]) for j in involved}

    def derive_again(self, packed: Packed) -> Packed:
        return self.dependents.derive_again(packed) if self.dependents.rules else packed

    def _cells(self, X: Any, values: np.ndarray) -> Iterator[tuple[int, Cells]]:
        """Place and `Cells` of the columns that are not packed to values (n, n_variables) all at once."""
        if isinstance(X, np.ndarray) and self.packs_at_once(X):
            # of many columns, a series of each would take longer than all that follows
            left = self.layout.pack_affine(X, values)
            return ((j, Cells(X[:, j].astype(float), np.isnan(X[:, j]))) for j in left)
        series = as_frame(X).iter_columns()
        return enumerate(column.read(one) for column, one in zip(self.columns, series, strict=True))

    def pack_given(self, given: dict, n_rows: int, dtypes: list, series: Any) -> tuple[Packed, dict[int, Cells]]:
        told: dict[int, Cells] = {}
        values, known = np.zeros((n_rows, len(self.variables))), np.zeros((n_rows, len(self.variables)), bool)
        for name, cells in given.items():
            at = self._place(name, "given has a column")
            place, indicator = self.value_at[at], self.indicator_at[at]
            if place is None:
                raise ValueError(f"given has column {name!r}, which is an identifier and is not modelled. Leave it out.")
            told[at], packed = _read_given(self.columns[at], dtypes[at], cells, series)
            missing = told[at].missing
            if indicator is not None:
                values[:, indicator], known[:, indicator] = missing, True
            elif missing.any():
                raise ValueError(f"given has a missing value in column {name!r}, in which fit saw none.")
            values[:, place], known[:, place] = packed, ~missing
        self.dependents.check_given(told)
        derived = np.full(values.shape, np.nan)
        self.dependents.pack(told, derived)
        there = ~np.isnan(derived)
        return Packed(np.where(there, derived, values), known | there), told

    def _place(self, name: Any, what: str) -> int:
        """Which column has a name; what : begins the error of one that fit did not see."""
        at = next((j for j, column in enumerate(self.columns) if column.name == name), None)
        if at is None:
            raise ValueError(f"{what} {name!r} that fit did not see. Columns: {[c.name for c in self.columns]}.")
        return at

    def levels(self, name: Any) -> tuple[int, int | None, np.ndarray, np.ndarray]:
        at = self._place(name, "column is")
        place, column = self.value_at[at], self.columns[at]
        if place is None:
            raise ValueError(f"column is {name!r}, which is an identifier and is not modelled. Choose another column.")
        levels = column.levels()
        if levels is None:
            raise ValueError(
                f"column is {name!r}, which holds more than {MAX_LEVELS} distinct numbers. Choose a column of categories, "
                "booleans, or few numbers."
            )
        return place, self.indicator_at[at], *levels

    def unpack(self, values: np.ndarray, told: dict[int, Cells] | None = None) -> list[Cells]:
        out = self._unpacked(values)
        known = np.zeros((len(values), len(self.columns)), bool)
        for j, cells in (told or {}).items():
            out[j], known[:, j] = cells, True
        return self.dependents.finalise(out, values, known)

    def _unpacked(self, values: np.ndarray) -> list[Cells]:
        out = []
        for column, at, indicator in zip(self.columns, self.value_at, self.indicator_at, strict=True):
            packed = values[:, at] if at is not None else np.zeros(len(values))
            missing = values[:, indicator] > 0.5 if indicator is not None else np.zeros(len(values), bool)
            out.append(Cells(column.unpack(packed), missing))
        return out

    def fill(self, X: Any, values: np.ndarray) -> list[Cells]:
        series = as_frame(X).iter_columns()
        columns = list(zip(self.columns, series, self.value_at, strict=True))
        filled = [_filled(column, one, None if at is None else values[:, at]) for column, one, at in columns]
        known = np.array([~column.read(one).missing for column, one, _ in columns]).T
        final = self.dependents.finalise(filled, values, known)
        # a cell that was filled in is not missing, although the data would have it so
        return [Cells(one.values, other.missing) for one, other in zip(final, filled, strict=True)]

    def by_column(self, figures: np.ndarray) -> np.ndarray:
        out = np.zeros((len(figures), len(self.columns)))
        for j, places in enumerate(zip(self.value_at, self.indicator_at, strict=True)):
            for at in places:
                out[:, j] += 0.0 if at is None else figures[:, at]
        for j, at in self.dependents.followers():
            out[:, j] += figures[:, at]
        return out

    def log_jacobian(self, packed: Packed) -> np.ndarray:
        values, observed, _ = packed
        varying, constant = self.layout.varying, self.layout.constant_jacobian
        out = constant[None]
        if varying:
            out = np.repeat(constant[None], len(values), axis=0)
            for column, at in varying:
                out[:, at] = column.log_jacobian(values[:, at].astype(float))
        out = out if observed is None else out * observed
        if self.dependents.rules:
            out = np.broadcast_to(out, values.shape).copy()
            self.dependents.log_jacobian_of_followers(values, observed, out)
        return out


class _Layout:
    """What packing all columns at once needs to know of a `Table`.

    Attributes
    ----------
    all_floats : bool
        Whether every column holds floats.
    varying : list of (AbstractColumn, int)
        The columns whose `log_jacobian` depends on their cells, and the places of their variables.
    constant_jacobian : (n_variables,)
        Of the others.
    """

    def __init__(self, table: Table):
        columns, value_at, indicator_at = table.columns, table.value_at, table.indicator_at
        self.n_columns, self.all_floats = len(columns), all(column.type.kind == "float" for column in columns)
        # those columns that are affine, and those with an indicator, each with the places of their variables
        affine = [j for _, j in sorted((at, j) for j, at in enumerate(value_at) if at is not None and columns[j].affine)]
        indicated = [j for _, j in sorted((at, j) for j, at in enumerate(indicator_at) if at is not None)]
        self.affine = _as_slice(affine), _as_slice([value_at[j] for j in affine])
        self.indicated = _as_slice(indicated), _as_slice([indicator_at[j] for j in indicated])
        maps = [columns[j].affine for j in affine]
        self.maps = np.array([(m.centre, m.scale, m.lower, m.upper) for m in maps if m]).reshape(-1, 4).T
        self.curved = _as_slice([k for k, m in enumerate(maps) if m and m.curve])
        self.curves = Curves([m.curve for m in maps if m and m.curve])
        self.varying, self.constant_jacobian = [], np.zeros(len(table.variables))
        gaps = zip(table.dependents.gaps, table.dependents.rule_at, strict=True)
        pairs = [*zip(columns, value_at, strict=True), *((gap, at) for gap, at in gaps if gap is not None)]
        for column, at in pairs:
            jacobian = 0.0 if at is None else column.log_jacobian(np.zeros(0))
            if np.ndim(jacobian):
                self.varying.append((column, at))
            elif at is not None:
                self.constant_jacobian[at] = jacobian

    def pack_affine(self, X: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Pack affine columns of floats, all at once, to values (n, n_variables); returns which columns are left."""
        columns, places = self.affine
        numbers, (centre, scale, lower, upper) = X[:, columns], self.maps
        within = np.fmin.reduce(numbers, 0, initial=np.inf) >= lower
        within &= np.fmax.reduce(numbers, 0, initial=-np.inf) <= upper
        packed = values[:, places] if isinstance(places, slice) else np.empty(numbers.shape)
        packed[:] = numbers
        if centre.any():
            packed -= centre
        if (scale != 1).any():
            packed /= scale
        if self.curves:
            packed[:, self.curved] = self.curves.to_scores(packed[:, self.curved])
        if not isinstance(places, slice):
            values[:, places] = packed
        indicated, indicators = self.indicated
        values[:, indicators] = np.isnan(X[:, indicated])
        left = np.ones(self.n_columns, bool)
        left[columns] = ~within
        return np.flatnonzero(left)


def _as_slice(indices: list) -> slice | list[int]:
    """Consecutive indices as a slice, by which no copy is taken."""
    run = range(indices[0], indices[0] + len(indices)) if indices else range(0)
    return slice(run.start, run.stop) if indices == list(run) else indices


def _packed(values: np.ndarray) -> Packed:
    """`Packed` of values (n, n_variables) with NaN for missing cells and `UNSEEN` for unseen ones; written in place."""
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(values.sum()):
            return Packed(values)
    unseen = values == UNSEEN
    absent = np.isnan(values) | unseen
    values[absent] = 0.0
    return Packed(values, ~absent if absent.any() else None, unseen if unseen.any() else None)


def _read_given(column: AbstractColumn, dtype: Any, cells: Iterable, series: Any) -> tuple[Cells, np.ndarray]:
    """Values (n,) of one column as cells, and as packed numbers (n,), 0 where missing; refused unless fit saw the like."""
    listed = list(cells)
    missing = np.array([_is_missing(cell) for cell in listed])
    out = np.zeros(len(missing))
    if missing.all():
        return Cells(out.astype(np.int64), missing), out
    present = [cell for cell, absent in zip(listed, missing, strict=True) if not absent]
    if column.empty:
        raise ValueError(f"given has {shown(present[0])} in column {column.name!r}, of which fit saw no cell.")
    try:
        found = column.read(_series_of(column, dtype, present, series))
        column.check_range(found)
        packed = column.pack(found)
    except (TypeError, ValueError, OverflowError) as error:
        if str(error).startswith("given"):
            raise
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"given has {shown(present[0])} in column {column.name!r}, which is not a value of it: {reason}"
        ) from None
    lost = found.missing | ~np.isfinite(packed)
    if lost.any():
        raise ValueError(
            f"given has {shown(present[lost.argmax()])} in column {column.name!r}, which fit did not see there."
        )
    out[~missing] = packed
    whole = np.repeat(found.values[:1], len(missing))
    whole[~missing] = found.values
    return Cells(whole, missing), out


def _is_missing(cell: Any) -> bool:
    """Whether a plain value stands for a missing cell: None, NaN, NaT or NA."""
    missing = pd.isna(cell)
    return missing if isinstance(missing, bool) else False


def _series_of(column: AbstractColumn, dtype: Any, values: list, series: Any) -> nw.Series:
    """A narwhals series of the fitted dtype of plain values, none missing."""
    collections = (list, set, np.ndarray) if column.type.levels else (list, set, np.ndarray, tuple)
    if any(isinstance(value, collections) for value in values):
        raise TypeError("a condition is one value; give a DataFrame with a row for each, to draw rows of several.")
    if column.type.is_time and any(isinstance(value, int | float) for value in values):
        raise TypeError("a number is not a date or a duration.")
    return series(values, dtype, column.name)


def _filled(column: AbstractColumn, series: nw.Series, packed: np.ndarray | None) -> Cells:
    """Cells of a series, the missing ones from packed numbers (n,); None of a column that is not modelled."""
    given, missing = column.read(series)
    if packed is None or column.empty:
        return Cells(given, missing)  # there is nothing to fill in
    cells = column.unpack(packed)
    if given.dtype.kind == "f" and cells.dtype.kind in "iu" and (cut := ~missing & (given % 1 != 0)).any():
        raise ValueError(f"Column {column.name!r} was fitted with integers, got {shown(given[cut][0])}.")
    if column.type.levels is not None:
        levels = set(column.type.levels)
        missing = missing | np.fromiter((value not in levels for value in given), dtype=bool, count=len(given))
    return Cells(np.where(missing, cells, given), np.zeros(len(cells), bool))


def _warn_of_repeated_names(name: Any, values: np.ndarray) -> None:
    """Say that texts (n,) which are nearly all different are not modelled, unless all of them are."""
    n_distinct = len(pd.unique(values))
    if n_distinct < len(values):
        warnings.warn(
            f"Column {name!r} holds {n_distinct} distinct strings in {len(values)} rows, so it is taken as an identifier "
            f"and is not modelled. List it in categorical_features to model it, or set "
            f"likelihood={{{name!r}: 'identifier'}} to silence this warning.",
            UserWarning,
            stacklevel=2,
        )


def column_names(X: Any) -> list:
    """Names of the columns of a frame, or of an array (n, n_columns)."""
    return [f"x{j}" for j in range(X.shape[1])] if isinstance(X, np.ndarray) else list(nw.from_native(X).columns)


def categorical_names(X: Any, categorical_features: Any) -> tuple:
    """Names of the columns that `categorical_features` points at, beside those of a categorical dtype."""
    is_frame, names = not isinstance(X, np.ndarray), column_names(X)
    if categorical_features is None or isinstance(categorical_features, str):
        return ()
    features = np.asarray(categorical_features)
    if features.ndim != 1:
        raise ValueError(f"categorical_features must have one axis, got an array of shape {features.shape}.")
    if features.size == 0:
        return ()
    if features.dtype.kind == "b":
        if len(features) != len(names):
            raise ValueError(
                f"categorical_features set as a boolean mask must have shape (n_features,), got: {features.shape}"
            )
        return tuple(name for name, is_category in zip(names, features, strict=True) if is_category)
    if features.dtype.kind in "iu":
        if features.max() >= len(names) or features.min() < 0:
            raise ValueError("categorical_features set as integer indices must be in [0, n_features - 1]")
        return tuple(names[j] for j in features)
    if features.dtype.kind not in "UO" or not all(isinstance(f, str) for f in features.ravel()):
        raise ValueError("categorical_features must be an array-like of bool, int or str.")
    if not is_frame:
        raise ValueError(
            "categorical_features should be passed as an array of integers or as a boolean mask when the model is fitted "
            "on data without feature names."
        )
    for feature in features:
        if feature not in names:
            raise ValueError(
                f"categorical_features has an item value '{feature}' which is not a valid feature name of the training "
                f"data. Observed feature names: {names}"
            )
    return tuple(features.tolist())
