"""From frames, arrays and images to the parts of rows, and back into what they came in. No torch.

A schema is fitted once. It knows the container that rows came in and the modality of each part; it then packs any rows of
the same form, and unpacks packed ones into the same container, columns, dtypes, categories, grids and bounds.
"""

from collections.abc import Sequence
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd

from skvae.containers import CONTAINERS, Cells, as_frame, check_frame
from skvae.images import Images
from skvae.modalities import AbstractModality, Packed
from skvae.persistence import Saved
from skvae.tables import Table

# the first that has options for rows takes them
MODALITIES: dict[str, type[AbstractModality]] = {"image": Images, "table": Table}


class Schema(Saved):
    """The container of rows, and their parts.

    Attributes, after `fit`
    -----------------------
    container : str
        A key of CONTAINERS.
    names : sequence
        The native column names; None of an array.
    dtypes : list
        The native dtype of each column.
    parts : dict of str to AbstractModality
        By the key of MODALITIES.
    """

    def fit(self, X: Any, weight: np.ndarray, parameters: dict) -> "Schema":
        """Learn the form of X, an array or a frame, with weight (n,).

        parameters : those of the estimator that say what rows are, by name: `likelihood`, `categorical_features`,
        `relations` and `image_shape`.
        """
        if isinstance(X, np.ndarray):
            self.container, self.names, self.dtypes = "numpy", None, [X.dtype] * X.shape[1]
        else:
            frame = as_frame(X)
            native = frame.to_native()
            self.container, self.names = str(frame.implementation), native.columns
            self.dtypes = [native[name].dtype for name in frame.columns]
        found = ((name, cls, cls.options(X, parameters)) for name, cls in MODALITIES.items())
        name, cls, options = next((name, cls, options) for name, cls, options in found if options is not None)
        self.parts = {name: cls(**options).fit(X, weight)}
        return self

    @property
    def specs(self) -> dict[str, Any]:
        """What torch must know of each part."""
        return {name: part.spec for name, part in self.parts.items()}

    @property
    def n_variables(self) -> int:
        return sum(spec.n_variables for spec in self.specs.values())

    @property
    def row_shape(self) -> tuple[int, ...] | None:
        """The shape that a row of an array may have beside a flat one, if any."""
        [part] = self.parts.values()
        return part.row_shape

    @property
    def relations(self) -> list:
        """What always holds between columns, as `skvae.relations` has it."""
        return [one for part in self.parts.values() for one in part.relations]

    @property
    def ignored(self) -> list:
        """Names of the columns that are not modelled."""
        return [name for part in self.parts.values() for name in part.ignored]

    @staticmethod
    def precision(X: Any) -> str:
        """The type that latents and scores of X come in: "float32" where X has no more than that, else "float64"."""
        dtypes = {str(dtype).lower() for dtype in ([X.dtype] if isinstance(X, np.ndarray) else X.dtypes)}
        return "float32" if dtypes <= {"float32", "float16"} else "float64"

    @property
    def precise(self) -> str:
        """The type that a fitted model computes in, unless X has less."""
        return min((part.precise for part in self.parts.values()), key=lambda name: np.dtype(name).itemsize)

    def packs_at_once(self, X: Any) -> bool:
        """Whether many parts of few rows are packed in the same time as one of many."""
        return all(part.packs_at_once(X) for part in self.parts.values())

    def pack(self, X: Any) -> tuple[Packed, ...]:
        """Rows of the fitted form to packed parts."""
        return tuple(part.pack(X) for part in self.parts.values())

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
        series = CONTAINERS[self.container].series
        packed, told = zip(*(part.pack_given(given, self.dtypes, series) for part in self.parts.values()), strict=True)
        return packed, list(told)

    def derive_again(self, packed: Sequence[Packed]) -> list[Packed]:
        """As in `AbstractModality`, of each part."""
        return [part.derive_again(one) for part, one in zip(self.parts.values(), packed, strict=True)]

    def levels(self, name: Any) -> tuple[int, int | None, np.ndarray, np.ndarray]:
        """As in `AbstractModality`."""
        [part] = self.parts.values()
        return part.levels(name)

    def as_names(self, values: np.ndarray) -> list:
        """Values (k,) of a column as names of columns of a frame."""
        return [str(value) for value in values] if self.container == "polars" else list(values)

    def unpack(self, values: Sequence[np.ndarray], index: Any = None, told: Sequence[dict[int, Cells]] | None = None) -> Any:
        """Back to the fitted container.

        values : (n, n_variables) of each part; index : the pandas index of the rows; told : of each part, cells (n,) to take
        as they are, by the place of their column.
        """
        exact = told or [{}] * len(self.parts)
        parts = [part.unpack(one, cells) for part, one, cells in zip(self.parts.values(), values, exact, strict=True)]
        return self._assemble(parts, index)

    def fill(self, X: Any, values: Sequence[np.ndarray], index: Any = None) -> Any:
        """X in the fitted container, its missing cells from values (n, n_variables) of each part, the others as they are."""
        return self._assemble([part.fill(X, one) for part, one in zip(self.parts.values(), values, strict=True)], index)

    def _assemble(self, parts: list, index: Any) -> Any:
        """The cells of every part's columns in the fitted container."""
        cells = [one for part in parts for one in part]
        types = [one for part in self.parts.values() for one in part.types]
        return CONTAINERS[self.container].table(types, self.dtypes, cells, index, self.names)

    def by_column(self, figures: Sequence[np.ndarray], X: Any) -> Any:
        """Sums of figures (n, n_variables) of the variables of each column, in a table of the form of X."""
        out = np.concatenate([part.by_column(one) for part, one in zip(self.parts.values(), figures, strict=True)], axis=1)
        if isinstance(X, np.ndarray):
            return out.reshape(X.shape)
        return figures_like(X, out, X.columns)

    def log_jacobian(self, packed: Sequence[Packed]) -> list[np.ndarray]:
        """As in `AbstractModality`, of each part."""
        return [part.log_jacobian(one) for part, one in zip(self.parts.values(), packed, strict=True)]


def figures_like(X: Any, figures: np.ndarray, columns: Any) -> Any:
    """Figures (n, k) as a frame of the kind of X, with its rows' index and names of columns (k,)."""
    native = nw.from_native(X, eager_only=True)
    frame = nw.from_numpy(figures, [str(j) for j in range(figures.shape[1])], backend=native.implementation).to_native()
    frame.columns = columns
    if isinstance(X, pd.DataFrame):
        frame.index = X.index
    return frame
