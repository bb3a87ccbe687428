"""What training reads: the facts of some collections with their vectors, taken from a running store."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import msgpack
import numpy as np
import numpy.typing as npt

from atlasdb_contract.errors import InvalidArgument
from atlasdb_contract.types import Entry

Halves = npt.NDArray[np.float16]
Indices = npt.NDArray[np.int64]
NUMBERS = tuple(str(number) for number in range(2101))
"""Values that graphs hold and few training graphs show: counts and years."""
_TEXTS = ("heads", "phrases", "values")
_ARRAYS = ("head_of", "phrase_of", "key_of", "value_of", "key_vectors", "value_vectors")


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

    def save(self, path: Path) -> None:
        """Write the graph to a compressed `.npz`."""
        texts = {name: np.frombuffer(msgpack.packb(list(getattr(self, name))), np.uint8) for name in _TEXTS}
        np.savez_compressed(path, **texts, **{name: getattr(self, name) for name in _ARRAYS})

    @staticmethod
    def load(path: Path) -> "FactGraph":
        """Read what `save` wrote; InvalidArgument where it is something else."""
        try:
            with np.load(path) as file:
                texts = [msgpack.unpackb(file[name].tobytes()) for name in _TEXTS]
                arrays = [file[name] for name in _ARRAYS]
        except (OSError, ValueError, KeyError) as error:
            raise InvalidArgument(f"{path} holds no facts; `atlas-llm facts` writes such a file: {error}") from error
        return FactGraph(*texts, *arrays)


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


def batches_of(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Consecutive slices."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
