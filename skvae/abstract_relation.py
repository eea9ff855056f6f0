"""The contract of a kind of relation between columns: how it is written, found, learned and checked."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from skvae.containers import Cells
from skvae.fields import Field, Fields
from skvae.notation import quoted
from skvae.persistence import Saved

# what a column lacks, by the attribute of `Field` that is None
LACKS = {"amounts": "holds categories, not numbers or dates", "codes": "holds too many different values for that"}


class AbstractRelation(ABC, Saved):
    """Something that rows keep.

    Files hold the name of the class and its attributes, so a released name may not change.

    Attributes
    ----------
    kind : str
        A key of RELATIONS.
    columns : tuple
        Names of the columns that it is about.
    share : float
        Of the training rows that it is about, how many keep it.
    """

    kind: ClassVar[str]
    needs: ClassVar[str] = ""  # what all its columns must have, as in `needed`
    implied_by: ClassVar[tuple[str, ...]] = ()  # kinds that, of the same columns, say all that it says
    columns: tuple
    share: float = 1.0
    _stated = ""  # how a user stated it

    @abstractmethod
    def __str__(self) -> str:
        """The relation, in the words in which `relations` takes it."""

    @abstractmethod
    def kept(self, fields: Fields) -> tuple[np.ndarray, np.ndarray]:
        """Which rows keep it, and which it is about: none whose cells are missing. (n,) bool each."""

    @classmethod
    @abstractmethod
    def find(cls, fields: Sequence[Field], evidence: float) -> "Iterable[AbstractRelation]":
        """Those that all rows of the fields show; evidence : nats that must speak against chance."""

    @classmethod
    @abstractmethod
    def parse(cls, text: str, names: Mapping[str, Any]) -> "AbstractRelation | None":
        """The relation that a text states, its columns by names; None where it states none of the kind."""

    def learn(self, fields: Fields) -> None:
        """Take from fields what a text does not say, and the share."""
        kept, about = self.kept(fields)
        self.share = float(kept.sum() / max(1, about.sum()))

    @property
    def exact(self) -> bool:
        """Whether every row keeps it."""
        return self.share == 1.0

    @property
    def stated(self) -> str:
        """How a user stated it; "" of what was found."""
        return self._stated

    @property
    def key(self) -> tuple:
        """Equal where two relations say the same."""
        return self.kind, str(self)

    # --- beside other relations --------------------------------------------------------------------------------------

    def is_implied_by(self, other: "AbstractRelation", fields: Fields) -> bool:
        """Whether it says nothing beside another, which is about all of its columns."""
        return other.kind in self.implied_by

    def implies_order(self, upper: Any, lower: Any, fields: Fields) -> bool:
        """Whether upper >= lower needs no saying where this holds, of two of its columns."""
        return False

    # --- its columns -------------------------------------------------------------------------------------------------

    @property
    def numbers(self) -> tuple:
        """Names of the columns that it computes with or compares."""
        return ()

    @property
    def categories(self) -> tuple:
        """Names of the columns whose single values it is about."""
        return ()

    @property
    def needed(self) -> list[tuple[Any, str]]:
        """Names of columns, and what each must have, a key of LACKS; "" where it may be any."""
        return [(name, self.needs) for name in self.columns]

    def suited_to(self, fields: Fields) -> "AbstractRelation":
        """The relation that the same text means where columns hold something else."""
        return self

    def units_agree(self, fields: Fields) -> bool:
        """Whether what it adds or compares is of one unit."""
        return True

    def refusal(self, fields: Fields) -> str:
        """Why its columns cannot be related in this way, as the end of a sentence; "" if they can."""
        for name, need in self.needed:
            if need and getattr(fields[name], need) is None:
                return f"but column {name!r} {LACKS[need]}."
        return "" if self.units_agree(fields) else "whose columns are not of one unit: dates, durations and numbers differ."

    def first_breaks(self, fields: Fields, n_rows: int = 3) -> str:
        """The first rows that break it, in words."""
        kept, about = self.kept(fields)
        cells = []
        for row in np.flatnonzero(about & ~kept)[:n_rows]:
            parts = (f"{quoted(name)} = {fields[name].shown(row)}" for name in dict.fromkeys(self.columns))
            cells.append(f"row {row} ({', '.join(parts)})")
        return ", ".join(cells)


class CategoricalRelation(AbstractRelation):
    """Which values may stand side by side in a row."""

    @abstractmethod
    def correct(self, cells: Mapping[Any, Cells], fields: Fields, rows: np.ndarray, known: Mapping[Any, np.ndarray]) -> bool:
        """Change cells in rows that break it, whose cells were drawn each by itself; returns whether any was changed.

        cells, fields : the same cells, by column; rows : by index; known : (n,) of each column, cells not to be changed.
        """
