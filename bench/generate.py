"""Worlds to measure on: the real graphs with the real encoder and the real reader, and any number of entries like them.

    python bench/generate.py real --data DIR [--graphs fb13,fb15k237,wn18rr] [--questions N]
    python bench/generate.py synthetic --data DIR --entries N [--out DIR] [--questions N] [--seed N]
    python bench/generate.py likeness --data DIR [--out DIR] [--entries N] [--json]

`real` leaves DIR/real: all splits of the graphs with their inverse entries (without the graphs, the sample), worded and
encoded as a store does it, and the rows that the shipped reader asks with about heads that it never saw in training.
Encoding is the long part; it goes on where it was stopped. `synthetic` leaves DIR/synthetic-N, made by
bench/moved.py of the forward entries of DIR/real's first graph. `likeness` compares the two: how near heads lie to each
other, what rank the right entry has, and what indexes find at what cost.
"""

import argparse
import gzip
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from grounding import unseen_facts
from moved import Material, Synthesis
from store import SAMPLE, SHARED, show
from world import World

from atlasdb.ingest.encoder import Encoder
from atlasdb.ingest.phrases import Phrasing
from atlasdb_contract.codec import quantise
from atlasdb_contract.errors import InvalidArgument
from atlasdb_contract.ids import EntryId
from atlasdb_contract.types import Entry, Floats, Triple, Vectors

PART = 1 << 14
"""Texts encoded between two saves."""
SPLITS = ("train", "valid", "test")


def lines_of(graph: str) -> Iterator[tuple[str, str, str]]:
    """(head, relation, tail) of all splits, each once."""
    files = [SHARED / f"{graph}.{split}.tsv.gz" for split in SPLITS] if graph != "sample" else [SAMPLE]
    seen = set()
    for path in files:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
            for line in file:
                head, relation, tail = line.rstrip("\n").split("\t")[:3]
                if (head, relation, tail) not in seen:
                    seen.add((head, relation, tail))
                    yield head, relation, tail


class Entries:
    """What KG2KV makes of the graphs, in numbers."""

    def __init__(self, graphs: list[str]) -> None:
        self.texts: dict[str, int] = {}
        self.heads: dict[tuple[str, str], int] = {}
        self.relations: dict[tuple[str, str], int] = {}
        self.table: list[tuple[int, int, int, int]] = []
        """(graph, head, 2 * relation + inverse, text)"""
        self._phrasing = Phrasing(inverse="all")
        for number, graph in enumerate(graphs):
            for fact in lines_of(graph):
                self._add(number, graph, *fact)

    def _add(self, number: int, graph: str, head: str, relation: str, tail: str) -> None:
        try:
            texts = self._phrasing.texts(head, relation, tail)
        except InvalidArgument:
            return
        kind = 2 * self.relations.setdefault((graph, relation), len(self.relations))
        for end, text in zip((head, tail), texts, strict=True):
            place = self.heads.setdefault((graph, end), len(self.heads))
            self.table.append((number, place, kind + text.inverse, self.texts.setdefault(text.key, len(self.texts))))


def encoded(texts: list[str], folder: Path) -> Vectors:
    """The vectors of the texts, in parts that are kept in the folder; those of other texts than these are refused."""
    folder.mkdir(parents=True, exist_ok=True)
    listing = folder / "texts.txt"
    if not listing.exists():
        listing.write_text("\n".join(texts), encoding="utf-8")
    if listing.read_text(encoding="utf-8").split("\n") != texts:
        sys.exit(f"{folder} holds the vectors of other texts: remove it, or use another --data")
    parts = []
    encoder = None
    for start in range(0, len(texts), PART):
        path = folder / f"{start // PART:05}.npz"
        if not path.exists():
            encoder = encoder or Encoder.start()
            part = quantise(encoder.encode(texts[start : start + PART]))
            temporary = path.with_suffix(".tmp.npz")
            np.savez(temporary, data=part.data, scales=part.scales)
            temporary.rename(path)
            print(f"{start + len(part):,} of {len(texts):,} texts encoded", file=sys.stderr)
        with np.load(path) as file:
            parts.append(Vectors(file["data"], file["scales"]))
    if encoder:
        encoder.close()
    return Vectors(np.concatenate([p.data for p in parts]), np.concatenate([p.scales for p in parts]))


class AllRows:
    """A recorder of the rows of all tokens at each KB layer: of question i (T_i, H, D)."""

    def __init__(self, mask: torch.Tensor) -> None:
        self.mask = mask.bool()
        self.layers: dict[int, list[Floats]] = {}

    def record(self, layer: int, reading: object) -> None:
        rows: torch.Tensor = reading.rows  # type: ignore[attr-defined]
        items = [item[mask].float().numpy() for item, mask in zip(rows, self.mask, strict=True)]
        self.layers.setdefault(int(layer), []).extend(items)


@torch.inference_mode()
def asked(facts: list[Triple], count: int, folder: Path) -> list[tuple[Triple, list[Floats]]]:
    """Questions about some of the facts, and the rows (T, H, D) at each KB layer, with all the facts attended to."""
    from llm_runtime.context import attending
    from llm_runtime.evaluate import questions_of
    from llm_runtime.hook import attached
    from llm_runtime.reader import Reader, quiet
    from llm_runtime.source import WholeStore

    quiet()
    reader, phrasing = Reader.load(), Phrasing()
    pairs = [(phrasing.key_text(fact.head, fact.relation), phrasing.value_text(fact.tail)) for fact in facts]
    place = {text: i for i, text in enumerate(dict.fromkeys(text for pair in pairs for text in pair))}
    floats = encoded(list(place), folder).floats()
    keys, values = (torch.from_numpy(floats[[place[text] for text in column]]) for column in zip(*pairs, strict=True))
    ids = np.arange(len(facts), dtype=np.uint64)
    source = WholeStore(reader.adapter.centre_keys(keys), reader.adapter.centre_values(values), ids)
    entries = (
        Entry(EntryId(i), fact, key_text=pair[0]) for i, (fact, pair) in enumerate(zip(facts, pairs, strict=True))
    )
    questions = questions_of(entries, count, seed=1)
    found: list[tuple[Triple, list[Floats]]] = []
    for start in range(0, len(questions), 16):
        batch = questions[start : start + 16]
        inputs = reader.tokens([q.text for q in batch])
        rows = AllRows(inputs["attention_mask"])
        with attached(reader.model, reader.adapter), attending(source, rows):
            reader.model(**inputs)
        for i, question in enumerate(batch):
            about = Triple(question.head, question.relation, "?")
            found.append((about, [layer[i] for layer in rows.layers.values()]))
    return found


def make_real(data: Path, graphs: list[str], questions: int) -> None:
    """DIR/real."""
    entries = Entries(graphs)
    keys = encoded(list(entries.texts), data / "vectors")
    table = np.array(entries.table, np.int64)
    facts = [Triple(*fact) for fact in lines_of(graphs[0])]
    found = asked(unseen_facts(facts, 10**9), questions, data / "reader-vectors")
    phrasing = Phrasing()
    everything, gold = [], []
    for about, layers in found:
        for rows in layers:
            everything.append(rows)
            gold.append(entries.texts[phrasing.key_text(about.head, about.relation)])
    folder = data / "real"
    World(
        keys.take(table[:, 3]),
        table[:, 1].astype(np.int32),
        table[:, 3].astype(np.int32),
        np.stack([rows[-1] for rows in everything]),
        np.array(gold, np.int32),
        np.concatenate(everything).astype(np.float16),
        np.concatenate([[0], np.cumsum([len(rows) for rows in everything])]),
    ).save(folder)
    np.save(folder / "graphs.npy", table[:, 0].astype(np.uint8))
    np.save(folder / "relations.npy", table[:, 2].astype(np.int16))
    print(f"{folder}: {len(table):,} entries, {len(entries.texts):,} texts, {len(gold):,} fetches", file=sys.stderr)


def first_graph(folder: Path) -> World:
    """The forward entries of a real world's first graph: what its rows ask about."""
    world = World.load(folder)
    forward = (np.load(folder / "graphs.npy") == 0) & (np.load(folder / "relations.npy") % 2 == 0)
    return world.kept(np.flatnonzero(forward))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("real", "synthetic", "likeness"))
    parser.add_argument("--data", type=Path, required=True, help="the folder of all worlds")
    parser.add_argument("--out", type=Path, help="the folder of synthetic worlds, if it is another")
    parser.add_argument("--graphs", default="fb13,fb15k237,wn18rr", help="rows ask about the first")
    parser.add_argument("--entries", type=int, default=300_000)
    parser.add_argument("--questions", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.what == "real":
        graphs = args.graphs.split(",")
        if not all((SHARED / f"{graph}.train.tsv.gz").is_file() for graph in graphs):
            print(f"the graphs are not here: {SAMPLE.name} instead", file=sys.stderr)
            graphs = ["sample"]
        make_real(args.data, graphs, args.questions)
    elif args.what == "synthetic":
        synthesis = Synthesis(Material.of(first_graph(args.data / "real")), args.seed)
        synthesis.world((args.out or args.data) / f"synthetic-{args.entries}", args.entries, args.questions)
    else:
        from likeness import compared

        real = first_graph(args.data / "real").cut(args.entries)
        other = World.load((args.out or args.data) / f"synthetic-{args.entries}")
        show(compared(real, other), args.json)


if __name__ == "__main__":
    main()
