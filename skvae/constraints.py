"""What relations say of the cells of a chain: which of them follow from others, and which codes they may not have."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from skvae.abstract_likelihood import AbstractLikelihood
from skvae.constraint_specs import Exclusion, Identity, Support

OUT_OF_REACH = 1e4  # log-odds by which a code is forbidden


def log_probs_of_keeping(n_rows: int) -> tuple[float, float]:
    """Logs of the probabilities that a row keeps, and breaks, what all of n rows keep (Laplace, 1774)."""
    return math.log1p(-1 / (n_rows + 2)), -math.log(n_rows + 2)


class Identities(nn.Module):
    """Cells that follow from others.

    In any order of cells, the last member of an identity follows from the others, where rows keep it: it has no probability
    of its own, but that of the gate, which says whether, and with which offset, it does. A gate is looked at in the place of
    that last cell, and no cell sees it. So of a cell that follows in some rows there is an atom, with a probability that
    depends on all cells before it, beside its own distribution.

    Parameters
    ----------
    identities : sequence of Identity
    indicators : sequence of int
        Of each variable, as in `Variable`.
    n_rows : int
        That the table was fitted to.
    dependents : Dependents
        Solves them, without torch.
    """

    hidden: Tensor

    def __init__(self, identities: Sequence[Identity], indicators: Sequence[int], n_rows: int, dependents: Any):
        super().__init__()
        self.identities, self.dependents, self.n_rows = list(identities), dependents, n_rows
        self.gates = [one.gate for one in self.identities if one.gate >= 0]
        hidden = torch.zeros(len(indicators), dtype=torch.bool)
        hidden[self.gates] = True
        self.register_buffer("hidden", hidden, persistent=False)
        gaps = [one for one in self.identities if one.gate < 0]
        self.indicators = list(indicators)
        self.members_missing = {  # of a gap, the indicators that say whether a cell is missing that it is made of
            one.members[-1]: [indicators[j] for j in one.members[:-1] if indicators[j] >= 0] for one in gaps
        }

    def __bool__(self) -> bool:
        return bool(self.identities)

    def in_order(self, order: Sequence[int]) -> list[int]:
        """An order of all cells, in which each that follows from others comes right after them."""
        needed: dict[int, set[int]] = {j: {self.indicators[j]} - {-1} for j in order}
        leaders = {one.members[1] for one in self.identities if one.leads}
        order = sorted(order, key=lambda j: j not in leaders)
        for one in self.identities:
            needed[one.members[0]] |= set(one.members[1:])
        for gap, missing in self.members_missing.items():
            needed[gap] |= set(missing)
        followers = {one.members[0] for one in self.identities}
        for one in self.identities:
            others = set(one.members[1:]) - {one.pivot}
            if one.pivot >= 0 and not any(one.pivot in self._all_needed(other, needed) for other in others):
                needed[one.pivot] |= others
        for one in self.identities:  # what its target may follow from otherwise comes before the pivot as well
            for other in needed[one.members[0]] - set(one.members) if one.pivot >= 0 else ():
                if one.pivot not in self._all_needed(other, needed):
                    needed[one.pivot].add(other)
        out: list[int] = []
        left = list(order)
        while left:
            ready = [j for j in left if needed[j] <= set(out)]
            out.append(next((j for j in ready if j in followers), ready[0]))
            left.remove(out[-1])
        return out

    @staticmethod
    def _all_needed(j: int, needed: dict[int, set[int]]) -> set[int]:
        """Whatever has to come before variable j."""
        seen: set[int] = set()
        left = [j]
        while left:
            new = needed[left.pop()] - seen
            seen |= new
            left += new
        return seen | {j}

    def last_of(self, one: Identity, place: Sequence[int]) -> int | None:
        """The last member of an identity in an order, if it can follow from the others; place : of each variable."""
        last = max(one.members, key=lambda j: place[j])
        return last if last in one.solvable else None

    def see(self, before: Tensor, place: Sequence[int]) -> Tensor:
        """Who sees whom, (n_variables, n_variables), where gates are looked at in the place of the last member."""
        if not self.gates:
            return before
        before = before.clone()
        for one in self.identities:
            last = self.last_of(one, place)
            if one.gate >= 0 and last is not None:
                before[one.gate] = before[last]
        before[:, self.hidden] = 0.0
        return before

    def kept(self, one: Identity, x: Tensor, observed: Tensor | None) -> Tensor:
        """Which rows keep an identity, (n,); x : (n, n_variables), observed : the same, bool, or None."""
        own = one.gate if one.gate >= 0 else one.members[-1]
        there = torch.ones(len(x), dtype=torch.bool, device=x.device) if observed is None else observed[:, own]
        return there if one.gate < 0 else there & (x[:, one.gate] < one.n_offsets)

    def count(
        self, log_probs: Tensor, of_no_offset: Tensor | None, x: Tensor, observed: Tensor | None, place: Sequence[int]
    ):
        """Nats of cells where some of them follow from others, (n, n_variables).

        log_probs : the same, of every cell by itself; of_no_offset : the same, were gates at the code of rows that do not
        keep the equation; place : of each variable in the order.
        """
        cells, taken = list(log_probs.unbind(1)), set()
        for one in self.identities:
            last = self.last_of(one, place)
            if last is None or last in taken:
                if one.gate >= 0:
                    cells[one.gate] = torch.zeros_like(cells[one.gate])
                continue
            taken.add(last)
            kept = self.kept(one, x, observed)
            if one.gate >= 0:
                assert of_no_offset is not None
                cells[one.gate] = self._of_gate(one, last, kept, cells, of_no_offset[:, one.gate])
            cells[last] = torch.where(kept, 0.0, cells[last])
        return torch.stack(cells, 1)

    def _of_gate(self, one: Identity, last: int, kept: Tensor, cells: Sequence[Tensor], of_none: Tensor) -> Tensor:
        """Nats of a gate, and of the cell that follows where rows keep the equation: (n,)."""
        of_code, of_cell = cells[one.gate], cells[last]
        if one.exact:
            log_kept, log_broken = log_probs_of_keeping(self.n_rows)
            among = of_code - torch.log1p(-of_none.exp().clamp(max=1 - 1e-6)) if one.n_offsets > 1 else of_code * 0
            of_code, of_none = torch.where(kept, log_kept + among, log_broken), torch.full_like(of_none, log_broken)
        if not one.discrete[one.members.index(last)]:
            return of_code
        # a cell with a probability may have the very value also where it does not follow
        return torch.where(kept, torch.logaddexp(of_code, of_none + of_cell), of_code)

    def without_followers(self, log_probs: Tensor, x: Tensor, observed: Tensor | None) -> Tensor:
        """Nats of cells each by itself, (..., n, n_variables), but none of the cells that follow from others."""
        for one in self.identities:
            counted = torch.ones_like(log_probs[..., 0, :])
            counted[..., one.members[0]] = 0.0
            kept = self.kept(one, x, observed).unsqueeze(-1)
            log_probs = torch.where(kept, log_probs * counted.unsqueeze(-2), log_probs)
        return log_probs

    # --- drawing -----------------------------------------------------------------------------------------------------

    def solve(self, at: int, member: int, x: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """The cell (n,) of a member that follows from the others, and whether a cell can be that, (n,), bool."""
        packed, valid = self.dependents.solve(at, member, _array(x), _array(codes))
        return torch.as_tensor(packed).to(x), torch.as_tensor(np.ascontiguousarray(valid), device=x.device)

    def repack(self, at: int, x: Tensor) -> Tensor:
        """The gate or gap (n,) of rows x (n, n_variables)."""
        return torch.as_tensor(self.dependents.repack(at, _array(x))).to(x)

    def log_jacobian(self, x: Tensor, counted: Tensor) -> Tensor:
        """Nats from packed to the data's units of counted (n, n_variables) members: (n,)."""
        total = x.new_zeros(len(x))
        numbers = {j for one in self.identities for j, is_mass in zip(one.members, one.discrete, strict=True) if not is_mass}
        for j in sorted(numbers):
            nats = torch.as_tensor(self.dependents.log_jacobian(j, _array(x[:, j])).copy()).to(x)
            total = total + nats * counted[:, j]
        return total


class Supports(nn.Module):
    """Codes that cells may not have, given those of others: what is left to them is made likelier by as much.

    A row that breaks what all rows of the table kept has a small probability, and then codes as likely as they are among
    those that break it.

    Parameters
    ----------
    supports : sequence of Support
    exclusions : sequence of Exclusion
    likelihoods : sequence of AbstractLikelihood
        Of each variable, by itself.
    n_rows : int
        That the table was fitted to.
    """

    def __init__(
        self,
        supports: Sequence[Support],
        exclusions: Sequence[Exclusion],
        likelihoods: Sequence[AbstractLikelihood],
        n_rows: int,
    ):
        super().__init__()
        self.log_kept, self.log_broken = log_probs_of_keeping(n_rows)
        self.exclusions: dict[int, list[Exclusion]] = {}
        for exclusion in exclusions:
            for j in exclusion.members:
                self.exclusions.setdefault(j, []).append(exclusion)
        self.sources: dict[int, list[tuple[int, str]]] = {}
        usable = [one for one in supports if all(likelihoods[j].code_places[0] for j in (one.first, one.second))]
        for at, one in enumerate(usable):
            forbidden = torch.as_tensor(one.forbidden).float()
            for j, source, table in ((one.second, one.first, forbidden), (one.first, one.second, forbidden.T)):
                name = f"table{at}_{j}"
                self.register_buffer(name, table.contiguous(), persistent=False)
                self.sources.setdefault(j, []).append((source, name))
        self.targets = sorted({*self.sources, *self.exclusions})
        self.is_boolean = [len(one.code_places[0]) == 1 for one in likelihoods]
        self.code_places = [one.code_places[0] for one in likelihoods]

    def __bool__(self) -> bool:
        return bool(self.targets)

    def forbidden(self, j: int, codes: Tensor, x: Tensor, seen: Tensor) -> Tensor:
        """Which codes cell j may not have, (n, n_codes), one or zero; where it may have none, it may have all.

        codes : (n_variables, n), int; x : (n, n_variables); seen : (n, n_variables), one where it sees a cell.
        """
        total = x.new_zeros(len(x), 1)
        for source, name in self.sources.get(j, ()):
            total = total + self.get_buffer(name)[self._codes(source, codes, x)] * seen[:, source, None]
        for exclusion in self.exclusions.get(j, ()):
            total = total + self._excluded(exclusion, j, x, seen)
        total = total.clamp(max=1.0)
        return total * (total.amin(1, keepdim=True) < 0.5)

    def _codes(self, j: int, codes: Tensor, x: Tensor) -> Tensor:
        return (x[:, j] > 0.5).long() if self.is_boolean[j] else codes[j]

    def breaks(self, j: int, cells: Tensor, codes: Tensor, forbidden: Tensor) -> Tensor:
        """Which of cells j, (n,), with codes (n,), are forbidden, (n, n_codes): (n,), bool."""
        codes = (cells > 0.5).long() if self.is_boolean[j] else codes
        return forbidden.gather(1, codes[:, None])[:, 0] > 0.5

    def _excluded(self, exclusion: Exclusion, j: int, x: Tensor, seen: Tensor) -> Tensor:
        """That flag j may not be no, or yes, (n, 2), given the others of its group that it sees."""
        others = [other for other in exclusion.members if other != j]
        yes = ((x[:, others] > 0.5) & (seen[:, others] > 0.5)).any(1)
        none = (seen[:, others] > 0.5).all(1) & ~yes if exclusion.exactly else torch.zeros_like(yes)
        return torch.stack([none, yes], 1).to(x)

    def bias(self, j: int, forbidden: Tensor) -> Tensor:
        """What to add to the log-odds of cell j, (n, its places). forbidden : (n, n_codes)."""
        if self.is_boolean[j]:
            return OUT_OF_REACH * (forbidden[:, :1] - forbidden[:, 1:])
        return -OUT_OF_REACH * forbidden

    def narrow(
        self, codes: Tensor, x: Tensor, observed: Tensor | None, before: Tensor
    ) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Of each cell concerned what to add to its log-odds, (n, its places), and to its nats, (n,).

        codes, x : as in `forbidden`; observed : (n, n_variables), bool, or None; before : (n_variables, n_variables), one
        where the cell of the row sees that of the column.
        """
        for j in self.targets:
            seen = before[j].expand(len(x), -1) if observed is None else before[j] * observed
            forbidden = self.forbidden(j, codes, x, seen)
            limited = forbidden.amax(1) > 0.5
            broken = self.breaks(j, x[:, j], codes[j], forbidden)
            forbidden = torch.where(broken[:, None], 1 - forbidden, forbidden)
            nats = torch.where(broken, self.log_broken, self.log_kept).to(x) * limited
            yield j, self.bias(j, forbidden), nats


def _array(x: Tensor) -> np.ndarray:
    return x.detach().cpu().double().numpy()
