"""What training reads: the facts of some collections with their vectors, taken from a running store."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from random import Random

import numpy as np
import numpy.typing as npt

from atlasdb_contract.errors import InvalidArgument
from atlasdb_contract.types import Entry

Halves = npt.NDArray[np.float16]
Indices = npt.NDArray[np.int64]
NUMBERS = tuple(str(number) for number in range(2101))
"""Values that graphs hold and few training graphs show: counts and years."""
MOST_TAILS = 6
"""A drawn key has at most so many: an answer that names one of a hundred tails teaches little."""


@dataclass(frozen=True)
class FactGraph:
    """Facts as indices into tables of distinct texts.

    `heads`, `phrases`, `values` are texts; `head_of`, `phrase_of`, `key_of`, `value_of` int64 (M,), one
    per fact; `key_vectors` float16 (keys, D), `value_vectors` float16 (values, D). Facts with the same
    head and relation share a key. Values past those of facts are labels that training may put in
    a fact's place.
    """

    heads: Sequence[str]
    phrases: Sequence[str]
    values: Sequence[str]
    head_of: Indices
    phrase_of: Indices
    key_of: Indices
    value_of: Indices
    key_vectors: Halves
    value_vectors: Halves

    def __len__(self) -> int:
        return len(self.head_of)

    def where(self, chosen: npt.NDArray[np.bool_]) -> "FactGraph":
        """The same tables with the chosen facts (bool (M,)) alone."""
        return FactGraph(
            self.heads,
            self.phrases,
            self.values,
            self.head_of[chosen],
            self.phrase_of[chosen],
            self.key_of[chosen],
            self.value_of[chosen],
            self.key_vectors,
            self.value_vectors,
        )


class _Table:
    """Distinct texts in order of appearance, each with a vector."""

    def __init__(self) -> None:
        self.index: dict[str, int] = {}
        self.vectors: list[Halves] = []

    def add(self, text: str, vector: Halves | None) -> int:
        at = self.index.get(text)
        if at is None:
            at = self.index[text] = len(self.index)
            if vector is not None:
                self.vectors.append(vector)
        return at


def phrase_in(key_text: str, head: str) -> str | None:
    """The noun phrase of "the <phrase> of <head>"; None where the text is of another form."""
    text, ending = key_text.lower(), f" of {head.lower()}"
    if not text.startswith("the ") or not text.endswith(ending):
        return None
    return text[len("the ") : -len(ending)]


def from_entries(entries: Iterable[Entry], labels: Callable[[Sequence[str]], Halves] | None) -> FactGraph:
    """Facts of scanned entries (texts, keys and values asked for). `labels`: an encoder (texts) -> float16 (N, D);
    with it heads and NUMBERS become values as well. Texts are lower case, as the encoder reads them."""
    heads, phrases, keys, values = _Table(), _Table(), _Table(), _Table()
    rows: list[tuple[int, int, int, int]] = []
    for entry in entries:
        head = entry.triple.head.replace("_", " ").lower()
        phrase = phrase_in(entry.key_text, head)
        if entry.inverse or phrase is None or entry.key is None or entry.value is None:
            continue
        key = keys.add(entry.key_text.lower(), entry.key.floats()[0].astype(np.float16))
        value = values.add(entry.value_text.lower(), entry.value.floats()[0].astype(np.float16))
        rows.append((heads.add(head, None), phrases.add(phrase, None), key, value))
    if not rows:
        raise InvalidArgument("the collections hold no facts to train on; load a graph first")
    if labels is not None:
        more = [text for text in (*heads.index, *NUMBERS) if text not in values.index and len(text) < 60]
        for text, vector in zip(more, labels(more), strict=True):
            values.add(text, vector)
    columns = np.array(rows, np.int64).T
    return FactGraph(
        list(heads.index),
        list(phrases.index),
        list(values.index),
        columns[0],
        columns[1],
        columns[2],
        columns[3],
        np.stack(keys.vectors),
        np.stack(values.vectors),
    )


def draw(entries: Iterable[Entry], keys: int, random: Random) -> Iterator[Entry]:
    """The entries of at most `keys` keys (head, relation) with at most MOST_TAILS tails, drawn by `random`."""
    tails: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        tails.setdefault((entry.triple.head, entry.triple.relation), []).append(entry)
    few = [key for key, found in tails.items() if len(found) <= MOST_TAILS]
    random.shuffle(few)
    for key in few[:keys]:
        yield from tails[key]


def held_out(heads: Sequence[str], share: float) -> npt.NDArray[np.bool_]:
    """Which heads stay unseen: by a hash of the text, so that any run and any order agrees. bool (heads,)."""
    limit = int(share * 2**64)
    return np.array([int.from_bytes(blake2b(h.encode(), digest_size=8).digest(), "big") < limit for h in heads], bool)


def split(graph: FactGraph, share: float, also: Collection[str] = ()) -> tuple[FactGraph, FactGraph]:
    """Training and unseen facts, by head: a `share` of the heads, and those in `also`, stay out of training."""
    apart = held_out(graph.heads, share)
    names = {name.lower() for name in also}
    kept_out = apart | np.array([head in names for head in graph.heads], bool)
    return graph.where(~kept_out[graph.head_of]), graph.where(apart[graph.head_of])
