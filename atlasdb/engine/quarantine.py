"""Answers from what is sound: a piece that a fetch finds damaged is noted, and the fetch begins again without it."""

import logging
from collections.abc import Callable, Iterable
from typing import TypeVar

from atlasdb.engine.engine import Engine
from atlasdb.format import shown
from atlasdb.store.registry import Out
from atlasdb.store.view import View
from atlasdb.tree.soundness import Unsound
from atlasdb_contract.errors import DataLoss
from atlasdb_contract.types import Ids, Vectors

log = logging.getLogger("atlasdb.engine")
T = TypeVar("T")

NAMED = 5
"""Damaged pieces that one line of the log names."""
TRIES = 64
"""Times that one fetch begins again; each time there is less that is damaged."""


class _UnsoundValues(Exception):
    """Values that a fetch chose are damaged: these."""

    def __init__(self, out: Iterable[Out]) -> None:
        super().__init__()
        self.out = tuple(out)


def answered(engine: Engine, name: str, answer: Callable[[View], T]) -> T:
    """What `answer` makes of a view; anew where it met slots or values that are damaged, which are noted."""
    for _ in range(TRIES):
        with engine.store.view(name) as view:
            try:
                return answer(view)
            except Unsound as error:
                out = view.slots_out(error.slots)
            except _UnsoundValues as error:
                out = list(error.out)
            record = view.record
        log.error("%r is damaged, and served without %d slots or values: %s", name, len(out), _shown(out))
        engine.store.note(record, out)
    raise DataLoss(f"{name!r} has damage all over; run `atlasdb repair`")


def _shown(out: list[Out]) -> str:
    """The first few."""
    told = [f"{one.table}: {shown(one.table, one.key)}, row {one.row}" for one in out[:NAMED]]
    return "; ".join(told) + ("; …" if len(out) > NAMED else "")


def values_of(view: View, ids: Ids) -> Vectors:
    """The values of these ids, to be called in an `answer`."""
    try:
        return view.values(ids)
    except DataLoss:
        raise _UnsoundValues(view.damaged_values(ids)) from None
