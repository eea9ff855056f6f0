"""What a part of rows looks like, without torch: the contract of tables, images and whatever else a row may hold."""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import numpy as np

from skvae.containers import Cells, CellType
from skvae.persistence import Saved


class Packed(NamedTuple):
    """A part of n rows as numbers, and masks of the same shape.

    values : (n, n_variables), float64, zero where missing; of bytes as they are, uint8; of counts `skvae.sparse.SparseRows`.
    observed : bool, or None where every cell is there.
    unseen : bool, the cells that hold a category that fit did not see, or None where there are none. They are not observed.
    """

    values: np.ndarray
    observed: np.ndarray | None = None
    unseen: np.ndarray | None = None

    @property
    def known(self) -> np.ndarray:
        """Which cells are observed: (n, n_variables), bool."""
        return np.ones(self.values.shape, bool) if self.observed is None else self.observed

    def repeat(self, n: int) -> "Packed":
        """Each row n times, one after the other."""
        return Packed(self.values.repeat(n, axis=0), self.known.repeat(n, axis=0))


class AbstractModality(ABC, Saved):
    """What a part of rows looks like: fitted once, it packs rows of the same form into numbers, and unpacks them.

    Attributes, after `fit`
    -----------------------
    spec : object
        Frozen dataclass of plain values: all that torch must know.
    types : list of CellType
        What the cells of its columns are; of an array of images, one.
    precise : str
        The type that a fitted model computes in, unless X has less.
    """

    types: list[CellType]
    precise = "float64"

    @classmethod
    @abstractmethod
    def find(cls, X: Any, parameters: dict, free: list[int]) -> list[tuple[list[int], dict]]:
        """The parts of X that belong to this modality: for each, the places of its columns and the arguments of the class.

        parameters : those of the estimator, by name; free : places of the columns that no other part has. An array is a
        single part, which has all columns.
        """

    @property
    def row_shape(self) -> tuple[int, ...] | None:
        """The shape that a row of an array may have beside a flat one, if any."""
        return None

    @property
    def images(self) -> Any:
        """The `Images` that the part holds; None if it holds none."""
        return None

    def dense_images(self, X: Any) -> np.ndarray:
        """The images of rows X as floats (n, ...), NaN where a pixel is missing; only if `images` is not None."""
        raise NotImplementedError(f"{type(self).__name__} holds no images")

    @property
    @abstractmethod
    def spec(self) -> Any: ...

    @abstractmethod
    def fit(self, X: Any, weight: np.ndarray) -> "AbstractModality":
        """Learn the form of X. X : (n, ...); weight : (n,), all positive. Returns self."""

    @abstractmethod
    def pack(self, X: Any) -> Packed:
        """Rows of the fitted form as numbers."""

    @abstractmethod
    def unpack(self, values: np.ndarray, told: dict[int, Cells] | None = None) -> list[Cells]:
        """Packed numbers (n, n_variables), or bytes as `pack` keeps them, as the cells of every column.

        told : cells (n,) to take as they are, by the place of their column.
        """

    @abstractmethod
    def fill(self, X: Any, values: np.ndarray) -> list[Cells]:
        """The cells of X, the missing ones from packed numbers (n, n_variables)."""

    @abstractmethod
    def log_jacobian(self, packed: Packed) -> np.ndarray:
        """Nats to add to the log-probability of each cell for that in the data's own units.

        log |d packed / d original| for a density; zero for a probability, and where a cell is not observed. Returns what
        broadcasts to (n, n_variables).
        """

    @abstractmethod
    def by_column(self, figures: np.ndarray) -> np.ndarray:
        """Sums (n, n_columns) of figures (n, n_variables); of pixels, the figures themselves."""

    def pack_given(self, given: dict, n_rows: int, dtypes: list, series: Any) -> tuple[Packed, dict[int, Cells]]:
        """Given values of some columns, as packed rows, and as cells by the place of their column in the part.

        In the packed rows `observed` is not None: it marks what is given. The cells are returned too because packed numbers
        may be rounded, and given values must come back exactly.

        given : {name: sequence (n_rows,)}; dtypes : the native dtypes of the part's columns; series : makes a narwhals
        series of values, a dtype and a name.
        """
        raise ValueError("given must be None for rows without columns, such as images.")

    def levels(self, name: Any) -> tuple[int, int | None, np.ndarray, np.ndarray]:
        """Of a column of few values: its place among the variables and that of its indicator, if any; its values (k,), and
        the packed numbers of them (k,).
        """
        raise ValueError(f"column must be one of a table. Got {name!r}, which holds no single values.")

    def packs_at_once(self, X: Any) -> bool:
        """Whether `pack` takes all columns at once, so that many parts of few rows take no longer than one of many."""
        return True

    def n_numbers(self, X: Any) -> int:
        """About how many numbers in memory a packed row of X takes."""
        return self.spec.n_variables

    def native_dtypes(self, values: Any, dtypes: list) -> list:
        """The native dtypes of what values unpack to, by default those that fit saw. dtypes : those of fit, (n_columns,)."""
        return dtypes

    def check_gaps(self) -> None:
        """Refuse to fill missing cells where there can be none."""
        return

    def derive_again(self, packed: Packed) -> Packed:
        """Packed rows of which cells were changed, with what is packed of several cells as these have it now."""
        return packed

    @property
    def relations(self) -> list:
        """What always holds between its columns."""
        return []

    @property
    def ignored(self) -> list:
        """Names of the columns that are not modelled."""
        return []
