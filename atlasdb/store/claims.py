"""Which page of LMDB's file belongs to what: two things that claim a page are told apart, or both are damaged."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]


FREE: Final = "free pages"
"""In a table's place: the list of pages that the next writes may use."""


class Fault(NamedTuple):
    """Damage: the table that it is in (FREE; "": the file as a whole), the page, what is wrong."""

    table: str
    page: int
    what: str

    def __str__(self) -> str:
        where = f" (table {self.table})" if self.table else ""
        return f"page {self.page}{where} {self.what}"


@dataclass(frozen=True, slots=True)
class Claims:
    """Runs of pages of one table, as a Fault names it: first pages and lengths int64 (n,), and which of them do not
    begin with the head of a long record though they must, bool (n,)."""

    table: str
    starts: Numbers
    counts: Numbers
    headless: npt.NDArray[np.bool_]

    @staticmethod
    def of(table: str, pages: Sequence[int] | Numbers) -> "Claims":
        """Single pages."""
        starts = np.asarray(pages, np.int64)
        return Claims(table, starts, np.ones_like(starts), np.zeros(len(starts), np.bool_))

    def and_pages(self, pages: Sequence[int]) -> "Claims":
        """The same, and single pages."""
        more = Claims.of(self.table, pages)
        return Claims(
            self.table,
            np.concatenate([self.starts, more.starts]),
            np.concatenate([self.counts, more.counts]),
            np.concatenate([self.headless, more.headless]),
        )

    def on(self, marked: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Which runs have one of the pages that are marked."""
        before = np.concatenate([[0], np.cumsum(marked)])
        found: npt.NDArray[np.bool_] = before[self.starts + self.counts] > before[self.starts]
        return found


def shared(claims: list[Claims], pages: int) -> tuple[list[Fault], npt.NDArray[np.int32], dict[int, int]]:
    """Faults of pages that more than one thing claims; how often each page is claimed, (pages,); and the heads of long
    records that are missing: page -> pages of the record.

    Where a long record is to begin on a page that another thing has, and its head is not there, what led there is
    wrong, and the other thing is sound. Else nobody knows who is right: all of them are damaged.
    """
    faults: list[Fault] = []
    used = _used(claims, pages)
    if (twice := used > 1).any():
        kept = []
        for claim in claims:
            astray = claim.starts[claim.on(twice) & claim.headless]
            if len(astray):
                faults.append(Fault(claim.table, int(astray[0]), "is to begin a long record, and is something else"))
            else:
                kept.append(claim)
        claims, used = kept, _used(kept, pages)
    if (twice := used > 1).any():
        page, more = int(np.flatnonzero(twice)[0]), int(twice.sum()) - 1
        theirs = [claim.table for claim in claims if claim.on(twice).any()]
        faults += [Fault(table, page, f"is used by two, as are {more} more") for table in dict.fromkeys(theirs)]
    heads = {
        int(start): int(count)
        for claim in claims
        for start, count in zip(claim.starts[claim.headless], claim.counts[claim.headless], strict=True)
    }
    return faults, used, heads


def _used(claims: list[Claims], pages: int) -> npt.NDArray[np.int32]:
    change = np.zeros(pages + 1, np.int32)
    for claim in claims:
        np.add.at(change, claim.starts, 1)
        np.add.at(change, claim.starts + claim.counts, -1)
    return np.cumsum(change[:-1], dtype=np.int32)
