"""What torch must know of the relations of a table: which of its variables they bind, as plain values that files hold."""

from dataclasses import dataclass

import numpy as np

from skvae.persistence import Saved


@dataclass(frozen=True)
class Identity(Saved):
    """What torch must know of a gap or an equation.

    Attributes
    ----------
    members : tuple of int
        Variables: the one that follows, its sources, and the gap if there is one.
    solvable : tuple of int
        Those that follow from all others.
    gate : int
        The variable that says which offset a row has; -1 where there is a gap.
    n_offsets : int
        Codes of the gate; the one after them says that a row does not keep the equation.
    exact : bool
        Whether all rows kept it.
    discrete : tuple of bool
        Of each member, whether its cells have probabilities rather than densities.
    pivot : int
        The source that is best drawn after all others, as it has the most values: where the target is known, it follows
        from the rest, and can be anything; -1 where no source follows.
    log_widths : tuple of float
        Of each member, the log of the width of its last digit, over which the probability of what follows is spread.
    leads : bool
        Whether the source is best drawn before all else: of a date, much follows.
    """

    members: tuple[int, ...]
    solvable: tuple[int, ...]
    gate: int
    n_offsets: int
    exact: bool
    discrete: tuple[bool, ...]
    log_widths: tuple[float, ...] = ()
    pivot: int = -1
    leads: bool = False


@dataclass(frozen=True)
class Support(Saved):
    """Which codes of two variables never occur together.

    first, second : int; forbidden : (n_codes, n_codes), bool, of either.
    """

    first: int
    second: int
    forbidden: np.ndarray


@dataclass(frozen=True)
class Exclusion(Saved):
    """Of yes-or-no variables exactly one, or at most one, is yes."""

    members: tuple[int, ...]
    exactly: bool
