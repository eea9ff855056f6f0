"""From frames, arrays and images to the parts of rows, and back into what they came in. No torch.

A schema is fitted once. It knows the container that rows came in and the modality of each part; it then packs any rows of
the same form, and unpacks packed ones into the same container, columns, dtypes, categories, grids and bounds.
"""

from collections.abc import Sequence
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd

from skvae.arrays import ImageColumn, Vectors, count_axes, is_missing
from skvae.containers import CONTAINERS, Cells, CellType, as_frame, check_frame, container_of
from skvae.counts import Counts
from skvae.images import Images
from skvae.modalities import AbstractModality, Packed
from skvae.persistence import Saved
from skvae.sparse import ARRAYS
from skvae.tables import Table, categorical_names, column_names

# In this order each modality claims its columns among those that are left: the table, which takes any, comes last.
MODALITIES: dict[str, type[AbstractModality]] = {
    "counts": Counts,
    "image": Images,
    "image column": ImageColumn,
    "vector": Vectors,
    "table": Table,
}


class Schema(Saved):
    """The container of rows, and their parts.

    A column in which fit saw missing arrays appears twice: as a part of its own, which holds the arrays, and in the table as
    a column of True and missing cells, by which the model learns which arrays are missing.

    Attributes, after `fit`
    -----------------------
    container : str
        A key of CONTAINERS.
    names : sequence
        The native column names; None if X is an array.
    dtypes : list
        The native dtype of each column.
    kinds : list of str
        The key of MODALITIES of each part.
    parts : list of AbstractModality
        The fitted parts.
    places : list of list of int
        The columns of each part, by their place in X.
    presence : list of int
        The columns in which fit saw missing arrays, by their place in X. In the table they follow its own columns.
    """

    def fit(self, X: Any, weight: np.ndarray, parameters: dict) -> "Schema":
        """Learn the form of X, an array or a frame, with weight (n,).

        parameters : those of the estimator that say what rows are, by name: `likelihood`, `categorical_features`,
        `relations` and `image_shape`.
        """
        self.presence: list[int] = []
        if isinstance(X, ARRAYS):
            self.container, self.names, self.dtypes = container_of(X), None, [X.dtype] * X.shape[1]
        else:
            frame = as_frame(X)
            native = frame.to_native()
            self.container, self.names = container_of(X), native.columns
            self.dtypes = [native[name].dtype for name in frame.columns]
            arrays = [(at, one) for at, one in enumerate(frame.iter_columns()) if count_axes(one)]
            self.presence = [at for at, one in arrays if is_missing(one).any()]
            _check_categorical(parameters["categorical_features"], X, [at for at, _ in arrays])
        _check_likelihood(parameters["likelihood"], X)
        self.kinds, self.parts, self.places = [], [], []
        free = list(range(X.shape[1]))
        for kind, cls in MODALITIES.items():
            for places, options in cls.find(X, parameters, free) if free else ():
                self.kinds.append(kind)
                self.places.append(places)
                self.parts.append(cls(**options))
                free = [at for at in free if at not in set(places)]
        if self.presence and self._table is None:
            self.kinds.append("table")
            self.places.append([])
            self.parts.append(Table(relations=parameters["relations"]))
        for part, some in zip(self.parts, self._split(X), strict=True):
            part.fit(some, weight)
        return self

    @property
    def _table(self) -> int | None:
        """The place of the table among the parts; None if there is none."""
        return self.kinds.index("table") if "table" in self.kinds else None

    @property
    def _column_names(self) -> list:
        return [f"x{j}" for j in range(len(self.dtypes))] if self.names is None else list(self.names)

    def _split(self, X: Any) -> list:
        """The columns of X that belong to each part."""
        if isinstance(X, ARRAYS):
            if self.container in ("pandas", "polars") and self.kinds != ["table"] and len(self.parts) > 1:
                raise TypeError("X must be a frame, as in fit, where columns held arrays. Got an array.")
            return [X]
        return [self._of_part(at, X) for at in range(len(self.parts))]

    def _of_part(self, at: int, X: Any) -> Any:
        """The columns of a frame that belong to part `at`; for the table also those of `presence`."""
        places = self.places[at]
        presence = self.presence if at == self._table else []
        if len(places) == len(self.dtypes) and not presence:
            return X
        frame = as_frame(X)
        columns = list(frame.iter_columns())
        there = {columns[j].name: np.where(is_missing(columns[j]), np.array(None), True) for j in presence}
        return CONTAINERS[str(frame.implementation)].select(X, places, there)

    @property
    def specs(self) -> list[tuple[str, Any]]:
        """The key of MODALITIES of each part, and its spec: what torch must know."""
        return [(kind, part.spec) for kind, part in zip(self.kinds, self.parts, strict=True)]

    @property
    def n_variables(self) -> int:
        return sum(spec.n_variables for _, spec in self.specs)

    @property
    def row_shape(self) -> tuple[int, ...] | None:
        """The shape that a row of an array may have beside a flat one, if any."""
        return self.parts[0].row_shape if self.container == "numpy" else None

    @property
    def takes_sparse(self) -> bool:
        """Whether rows may be a sparse matrix."""
        return self.kinds == ["counts"]

    @property
    def images(self) -> Any:
        """The `Images` of the first part that holds images; None if no part does."""
        return next((part.images for part in self.parts if part.images is not None), None)

    def dense_images(self, X: Any) -> np.ndarray:
        """The images of rows X as floats (n, ...), NaN where a pixel is missing; of the part that `images` names."""
        at = next(at for at, part in enumerate(self.parts) if part.images is not None)
        return self.parts[at].dense_images(self._split(X)[at])

    @property
    def table(self) -> Any:
        """The `Table` that holds columns of X; None if no part does."""
        return None if self._table is None or not self.places[self._table] else self.parts[self._table]

    def table_columns(self, X: Any) -> Any:
        """The columns of rows X that belong to the table, as a narwhals frame; only if `table` is not None."""
        return as_frame(X)[:, self.places[self.kinds.index("table")]]

    @property
    def relations(self) -> list:
        """The relations between columns, each an `AbstractRelation`."""
        return [one for part in self.parts for one in part.relations]

    @property
    def ignored(self) -> list:
        """Names of the columns that are not modelled."""
        return [name for part in self.parts for name in part.ignored]

    @staticmethod
    def precision(X: Any) -> str:
        """The type that latents and scores of X come in: "float32" where X has no more than that, else "float64"."""
        dtypes = {str(dtype).lower() for dtype in ([X.dtype] if isinstance(X, ARRAYS) else X.dtypes)}
        return "float32" if dtypes <= {"float32", "float16"} else "float64"

    @property
    def precise(self) -> str:
        """The type that a fitted model computes in, unless X has less."""
        return min((part.precise for part in self.parts), key=lambda name: np.dtype(name).itemsize)

    def n_numbers(self, X: Any) -> int:
        """About how many numbers in memory a packed row of X takes."""
        return sum(part.n_numbers(some) for part, some in zip(self.parts, self._split(X), strict=True))

    def check_gaps(self) -> None:
        """Refuse to fill missing cells where there can be none."""
        for part in self.parts:
            part.check_gaps()

    def packs_at_once(self, X: Any) -> bool:
        """Whether packing X in many batches takes no longer than packing it at once."""
        return all(part.packs_at_once(some) for part, some in zip(self.parts, self._split(X), strict=True))

    def pack(self, X: Any) -> tuple[Packed, ...]:
        """Rows of the fitted form to packed parts."""
        return tuple(part.pack(some) for part, some in zip(self.parts, self._split(X), strict=True))

    def pack_given(self, given: Any) -> tuple[tuple[Packed, ...], list[dict[int, Cells]]]:
        """A dict of values, or a frame of conditions, as packed rows and as cells of each part, as in `AbstractModality`."""
        if isinstance(given, dict):
            given = {name: [value] for name, value in given.items()}
        elif nw.dependencies.is_into_dataframe(given):
            check_frame(given, 1, "sample, in given", "given")
            given = {series.name: series.to_list() for series in nw.from_native(given, eager_only=True).iter_columns()}
        else:
            raise TypeError(f"given must be a dict or a DataFrame, got {type(given).__name__}.")
        if not given:
            raise ValueError("given must name at least one column. Got none.")
        n_rows = len(next(iter(given.values())))
        if self.container == "numpy":
            series = CONTAINERS[self.container].series
            one = self.parts[0].pack_given(given, n_rows, self.dtypes, series)
            return (one[0],), [one[1]]
        self._check_names(given)
        packed, told = zip(*(self._pack_given(at, given, n_rows) for at in range(len(self.parts))), strict=True)
        return packed, list(told)

    def _pack_given(self, at: int, given: dict, n_rows: int) -> tuple[Packed, dict[int, Cells]]:
        """As `pack_given`, for part `at`."""
        names = self._column_names
        own = {names[j]: given[names[j]] for j in self.places[at] if names[j] in given}
        dtypes = [self.dtypes[j] for j in self.places[at]]
        if at == self._table:
            for j in self.presence:
                dtypes.append(CONTAINERS[self.container].boolean())
                if names[j] in given:
                    own[names[j]] = [None if cell is None else True for cell in given[names[j]]]
        return self.parts[at].pack_given(own, n_rows, dtypes, CONTAINERS[self.container].series)

    def _check_names(self, given: dict) -> None:
        names = self._column_names
        for name, cells in given.items():
            if name not in names:
                raise ValueError(f"given has a column {name!r} that fit did not see. Columns: {names}.")
            at = names.index(name)
            is_array = any(at in places for k, places in enumerate(self.places) if k != self._table)
            if is_array and at not in self.presence and any(cell is None for cell in cells):
                raise ValueError(f"given has a missing value in column {name!r}, in which fit saw none.")

    def derive_again(self, packed: Sequence[Packed]) -> list[Packed]:
        """`AbstractModality.derive_again` of each part."""
        return [part.derive_again(one) for part, one in zip(self.parts, packed, strict=True)]

    def levels(self, name: Any) -> tuple[int, int, int | None, np.ndarray, np.ndarray]:
        """The part that has a column of few values, and what `AbstractModality.levels` of that part returns."""
        names = self._column_names
        has_it = (at for at, places in enumerate(self.places) if name in [names[j] for j in places])
        at = next(has_it, self._table or 0)
        return at, *self.parts[at].levels(name)

    def as_names(self, values: np.ndarray) -> list:
        """Values (k,) of a column as names for the columns of a frame: polars takes only strings."""
        return [str(value) for value in values] if self.container == "polars" else list(values)

    def unpack(self, values: Sequence[np.ndarray], index: Any = None, told: Sequence[dict[int, Cells]] | None = None) -> Any:
        """Back to the fitted container.

        values : (n, n_variables) of each part; index : the pandas index of the rows; told : for each part the cells (n,)
        that are known and taken as they are, by the place of their column in the part.
        """
        exact = told or [{}] * len(self.parts)
        parts = [part.unpack(one, cells) for part, one, cells in zip(self.parts, values, exact, strict=True)]
        dtypes = list(self.dtypes)
        for places, part, one in zip(self.places, self.parts, values, strict=True):
            for j, dtype in zip(places, part.native_dtypes(one, [dtypes[j] for j in places]), strict=True):
                dtypes[j] = dtype
        return self._assemble(parts, index, dtypes)

    def fill(self, X: Any, values: Sequence[np.ndarray], index: Any = None) -> Any:
        """X with its missing cells filled, in the fitted container. values : (n, n_variables) of each part, to fill from."""
        trios = zip(self.parts, self._split(X), values, strict=True)
        return self._assemble([part.fill(some, one) for part, some, one in trios], index, self.dtypes)

    def _assemble(self, parts: list, index: Any, dtypes: list) -> Any:
        """Put together the fitted container. parts : the cells of each part's columns; dtypes : native, of every column."""
        table = CONTAINERS[self.container].table
        if len(parts) == 1:
            return table(self.parts[0].types, dtypes, parts[0], index, self.names)
        cells: dict[int, Cells] = {}
        types: dict[int, CellType] = {}
        for places, part, of_columns in zip(self.places, self.parts, parts, strict=True):
            types.update(zip(places, part.types, strict=False))
            cells.update(zip(places, of_columns, strict=False))
        for j, one in zip(self.presence, parts[self._table or 0][-len(self.presence) :], strict=False):
            cells[j] = Cells(cells[j].values, one.missing)  # the table's last columns say which arrays are there
        in_order = range(len(self.dtypes))
        return table([types[j] for j in in_order], dtypes, [cells[j] for j in in_order], index, self.names)

    def by_column(self, figures: Sequence[np.ndarray], X: Any) -> Any:
        """Sums over the variables of each column, in a table of the form of X. figures : (n, n_variables) of each part."""
        parts = [part.by_column(one) for part, one in zip(self.parts, figures, strict=True)]
        if isinstance(X, ARRAYS):
            return parts[0].reshape(X.shape)
        out = np.zeros((len(X), len(self.dtypes)))
        for at, (places, one) in enumerate(zip(self.places, parts, strict=True)):
            columns = [*places, *self.presence] if at == self._table else places
            for j, of_column in zip(columns, one.T, strict=True):
                out[:, j] += of_column
        return figures_like(X, out, X.columns)

    def log_jacobian(self, packed: Sequence[Packed]) -> list[np.ndarray]:
        """`AbstractModality.log_jacobian` of each part."""
        return [part.log_jacobian(one) for part, one in zip(self.parts, packed, strict=True)]


def _check_likelihood(likelihood: Any, X: Any) -> None:
    """Refuse a likelihood for a column that is not there, and one of whole rows for a column."""
    if not isinstance(likelihood, dict) or len(X.shape) != 2:
        return
    if unknown := set(likelihood) - set(column_names(X)):
        raise ValueError(f"likelihood has a key {unknown.pop()!r} which is not a column of X. Columns: {column_names(X)}.")
    for name, wanted in likelihood.items():
        if wanted == "multinomial":
            raise ValueError(
                f"The likelihood of column {name!r} cannot be 'multinomial', which is of whole rows of counts. Choose "
                "'poisson' or 'negative_binomial', or say likelihood='multinomial' of all columns."
            )


def _check_categorical(categorical: Any, X: Any, arrays: list[int]) -> None:
    """Refuse to take columns of arrays, by place, as categories."""
    names = column_names(X)
    for name in categorical_names(X, categorical) if arrays else ():
        if name in [names[at] for at in arrays]:
            raise ValueError(f"categorical_features has {name!r}, whose cells are arrays. Leave it out.")


def figures_like(X: Any, figures: np.ndarray, columns: Any) -> Any:
    """Figures (n, k) as a frame of the kind of X, with its rows' index and names of columns (k,)."""
    native = nw.from_native(X, eager_only=True)
    frame = nw.from_numpy(figures, [str(j) for j in range(figures.shape[1])], backend=native.implementation).to_native()
    frame.columns = columns
    if isinstance(X, pd.DataFrame):
        frame.index = X.index
    return frame
