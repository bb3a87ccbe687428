"""A world: entries, and the fetches that are asked of them. What bench/generate.py makes and bench/peers.py measures
on.

A folder holds keys.npy int8 (M, D), scales.npy float32 (M,), heads.npy and texts.npy int32 (M,), the number of each
entry's head and of its key text (entries of one text have the same key), rows.npy float32 (N, R, D), the rows of N
fetches, and gold.npy int32 (N,), the text that each is about. A real world has more, so
that a part of it can be told: relations.npy int16 (M,), twice the relation's number, one more for an inverse entry, and
graphs.npy uint8 (M,). Where the rows of all question tokens were kept there are everything.npy float16
(T, R, D), those of all fetches end to end, and bounds.npy int64 (N + 1,).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from atlasdb_contract.types import Floats, Vectors

Ints = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class World:
    """As the module says; `keys` may lie in a file."""

    keys: Vectors
    heads: Ints
    texts: Ints
    rows: Floats
    gold: Ints
    everything: npt.NDArray[np.float16] | None = None
    bounds: Ints | None = None

    def __len__(self) -> int:
        return len(self.heads)

    @staticmethod
    def load(folder: Path) -> "World":
        """Keys stay in the file until they are touched."""
        if not (folder / "gold.npy").is_file():
            raise SystemExit(f"skipped: {folder} holds no world; `python bench/generate.py` makes one")

        def array(name: str, mapped: bool = False) -> Any:
            return np.load(folder / f"{name}.npy", mmap_mode="r" if mapped else None)

        more = (folder / "everything.npy").is_file()
        return World(
            Vectors(array("keys", mapped=True), array("scales")),
            array("heads"),
            array("texts"),
            array("rows"),
            array("gold"),
            array("everything", mapped=True) if more else None,
            array("bounds") if more else None,
        )

    def save(self, folder: Path) -> None:
        """All but the model's material. Keys that lie in a file (a memmap) are there already."""
        folder.mkdir(parents=True, exist_ok=True)
        arrays = {"scales": self.keys.scales, "heads": self.heads, "texts": self.texts}
        for name, array in (arrays | {"rows": self.rows, "gold": self.gold}).items():
            np.save(folder / f"{name}.npy", array)
        if not isinstance(self.keys.data, np.memmap):
            np.save(folder / "keys.npy", self.keys.data)
        if self.everything is not None and self.bounds is not None:
            np.save(folder / "everything.npy", self.everything)
            np.save(folder / "bounds.npy", self.bounds)

    def kept(self, positions: Ints) -> "World":
        """Some of the entries, copied; the fetches stay."""
        keys = Vectors(self.keys.data[positions], self.keys.scales[positions])
        return World(
            keys,
            self.heads[positions],
            self.texts[positions],
            self.rows,
            self.gold,
            self.everything,
            self.bounds,
        )

    def cut(self, entries: int, seed: int = 0) -> "World":
        """`entries` of the entries by whole heads (but the last), those of the golds first; all if that is more."""
        if entries >= len(self):
            return self
        rng = np.random.default_rng(seed)
        sizes = np.bincount(self.heads)
        wanted = np.unique(self.heads[np.isin(self.texts, self.gold)])
        others = rng.permutation(np.setdiff1d(np.flatnonzero(sizes), wanted))
        ranked = np.concatenate([wanted, others])
        taken = ranked[: np.searchsorted(np.cumsum(sizes[ranked]), entries) + 1]
        last = np.flatnonzero(self.heads == taken[-1])
        whole = np.flatnonzero(np.isin(self.heads, taken[:-1]))
        return self.kept(np.sort(np.concatenate([whole, last[: max(0, entries - len(whole))]])[:entries]))

    def asked(self, queries: int, seed: int = 0) -> "World":
        """`queries` of the fetches whose text is here, drawn anew."""
        there = np.flatnonzero(np.isin(self.gold, self.texts))
        chosen = np.sort(np.random.default_rng(seed).permutation(there)[:queries])
        everything, bounds = self.everything, self.bounds
        if everything is not None and bounds is not None:
            everything = np.concatenate([everything[bounds[i] : bounds[i + 1]] for i in chosen])
            bounds = np.concatenate([[0], np.cumsum(np.diff(bounds)[chosen])])
        return World(self.keys, self.heads, self.texts, self.rows[chosen], self.gold[chosen], everything, bounds)

    def chunks(self, size: int = 1 << 16) -> Iterator[tuple[int, Vectors]]:
        """(start, keys), copied from the file piece by piece."""
        for start in range(0, len(self), size):
            span = slice(start, start + size)
            yield start, Vectors(np.array(self.keys.data[span]), self.keys.scales[span])


@contextmanager
def at_size(folder: Path, size: int, scratch: Path | None) -> Iterator[Path]:
    """The folder of a world of `size` entries: this one, or one cut from it for the time."""
    whole = World.load(folder)
    if size >= len(whole):
        yield folder
        return
    with TemporaryDirectory(prefix="atlasdb-world-", dir=scratch) as cut:
        whole.cut(size).save(Path(cut))
        yield Path(cut)
