"""KG2KV: a triple as the texts that are encoded; design (1) of docs/design.md.

(Tom Hanks, /people/person/place_of_birth, Concord) becomes the entry

    key "the place of birth of Tom Hanks"      value "Concord"

and, where the relation has an inverse, a second one:

    key "the person born in Concord"           value "Tom Hanks"
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Literal, NamedTuple

from atlasdb.ingest.freebase import as_path, path_phrase
from atlasdb.ingest.labels import entity_label, last_segment, percent_decoded, tidy
from atlasdb.ingest.nouns import INVERSES
from atlasdb.ingest.rules import noun_phrase
from atlasdb.ingest.words import as_verb, is_known, segmented, singular, words_in
from atlasdb_contract.errors import InvalidArgument

_URI: Final = re.compile(r"<?([A-Za-z][A-Za-z0-9+.-]*://[^\s>]+)>?")
_PREFIX: Final = re.compile(r"<?[A-Za-z][A-Za-z0-9_.-]*:+(?=[^\s:/])")
_ITEM: Final = re.compile(r"[PQ]\d+")
_SEAM: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_HYPHENS: Final = re.compile(r"(?<=[A-Za-z])-(?=[A-Za-z])")
_COMPOUNDING: Final = words_in("co non sub pre post ex self vice step anti multi inter e")


@lru_cache(maxsize=65536)
def relation_phrase(relation: str) -> str:
    """The noun phrase for a relation name, such that "the <phrase> of <head>" reads as English.

    Freebase paths, URIs, prefixed names, camelCase, snake_case and names written without spaces are taken apart first.
    Deterministic, and empty only for a name without a visible character. Remembered for the latest 65,536 names.
    """
    name = tidy(relation)
    if path := as_path(_bare(name, keep_path=True)):
        return path_phrase(path)
    bare = _bare(name, keep_path=False)
    if not bare or _ITEM.fullmatch(bare):
        return bare or name
    words = name_words(bare)
    phrase = noun_phrase([word.lower() for word in words])
    spelled = {word.lower(): word for word in words if word != word.lower()}
    return " ".join(spelled.get(word, word) for word in phrase.split()) or name


def _bare(name: str, *, keep_path: bool) -> str:
    """The name without what says where it comes from: angle brackets, URI, prefix."""
    if uri := _URI.fullmatch(name):
        return tidy(last_segment(uri[1]))
    if " " in name:
        return name
    if prefix := _PREFIX.match(name):
        name = name[prefix.end() :]
    name = tidy(percent_decoded(name.strip("<>")))
    if keep_path:
        return name
    return name.rstrip("/").rpartition("/")[2] if name.startswith("/") else name


def name_words(name: str) -> list[str]:
    """The words of a bare name, lower-case unless the name is prose or the word an acronym: hasISBN is has, ISBN."""
    if " " in name:
        return name.replace("_", " ").replace("(s)", "").split() or [name]
    if name.isupper():
        words = name.lower().replace("-", "_").split("_")
        return [name] if len(words) == 1 and len(name) < 6 and not is_known(words[0]) else _pieces(words) or [name]
    parts = [part for chunk in name.split("_") for part in _SEAM.split(_HYPHENS.sub(_hyphen, chunk))]
    words = [part if part.isupper() and len(part) > 1 else part.lower() for part in " ".join(parts).split()]
    return _pieces(words) or [name]


def _hyphen(match: re.Match[str]) -> str:
    before = re.split(r"[^A-Za-z]", match.string[: match.start()])[-1]
    return "-" if before.lower() in _COMPOUNDING else " "


def _pieces(words: list[str]) -> list[str]:
    return [piece for word in words if word for piece in segmented(word)]


class EntryText(NamedTuple):
    """The two texts of one entry; `inverse` marks the one that points back."""

    key: str
    value: str
    inverse: bool


Inverse = Literal["none", "all"] | frozenset[str]


@dataclass(frozen=True, slots=True)
class Phrasing:
    """How one collection words its triples.

    `overrides` (relation -> phrase) goes before the rules; `inverse` names the relations that get a second entry.
    """

    overrides: Mapping[str, str] = field(default_factory=dict)
    inverse: Inverse = "none"

    def __post_init__(self) -> None:
        for relation, phrase in self.overrides.items():
            if not tidy(phrase):
                raise InvalidArgument(f"the phrase for relation {relation!r} is empty; leave it out to use the rules")
        if isinstance(self.inverse, str) and self.inverse not in ("none", "all"):
            raise InvalidArgument(f"inverse is 'none', 'all' or a set of relations, not {self.inverse!r}")

    def phrase(self, relation: str) -> str:
        """The noun phrase for a relation. Raises InvalidArgument where the name holds no visible character."""
        return self.overrides.get(relation) or relation_phrase(relation) or _refuse("relation")

    def key_text(self, head: str, relation: str) -> str:
        """As in "the place of birth of Tom Hanks". Raises InvalidArgument for an empty head or relation."""
        return f"the {self.phrase(relation)} of {entity_label(head) or _refuse('head')}"

    def value_text(self, tail: str) -> str:
        """The tail's label. Raises InvalidArgument for an empty one."""
        return entity_label(tail) or _refuse("tail")

    def inverse_key_text(self, tail: str, relation: str) -> str:
        """The key of the entry that points back: "the person born in Concord"; its value is the head's label."""
        return inverse_template(self.phrase(relation)).replace("{}", self.value_text(tail), 1)

    def has_inverse(self, relation: str) -> bool:
        """Whether a triple of this relation gets a second entry."""
        return self.inverse == "all" or (self.inverse != "none" and relation in self.inverse)

    def texts(self, head: str, relation: str, tail: str) -> tuple[EntryText, ...]:
        """The entries of a triple: one, or two where the relation has an inverse. Raises InvalidArgument."""
        forward = EntryText(self.key_text(head, relation), self.value_text(tail), inverse=False)
        if not self.has_inverse(relation):
            return (forward,)
        return (forward, EntryText(self.inverse_key_text(tail, relation), entity_label(head), inverse=True))


@lru_cache(maxsize=65536)
def inverse_template(phrase: str) -> str:
    """The key text of inverse entries, "{}" for the tail: a plural phrase includes its tail, a singular one is it."""
    if known := INVERSES.get(phrase):
        return f"the {known}"
    noun = phrase.split(" of ")[0].split()[-1]
    verb = "is" if singular(noun) == noun or as_verb(noun) else "include"
    return f"the entity whose {phrase.replace('{}', '{ }')} {verb} {{}}"


def _refuse(field_name: str) -> str:
    raise InvalidArgument(f"the {field_name} is empty; a triple needs a head, a relation and a tail")
