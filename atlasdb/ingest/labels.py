"""Labels: what an entity or a literal is called when its name is read aloud; design (1) of docs/design.md.

Graphs carry their entities as plain labels, as identifiers (`Albert_Einstein`, `dbr:New_York_City`), as URIs, or as
literals with a language tag. The encoder was trained on prose, so a key should hold the words and nothing else.
Cleaning is careful rather than thorough: text that holds a space is taken for prose and keeps every visible
character; case is kept always; nothing is cut, however long; no script is treated unlike another.
"""

import re
import unicodedata
from typing import Final
from urllib.parse import unquote

from atlasdb.ingest.words import words_in

_NOTATION: Final = re.compile(r'[_%"<:]|  |^ | $')
_LITERAL: Final = re.compile(r'"((?:[^"\\]|\\.)*)"(?:@[A-Za-z]+(?:-[A-Za-z0-9]+)*|\^\^\S+)?', re.DOTALL)
_ESCAPE: Final = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|([tbnrf\"'\\]))")
_ESCAPED: Final = {"t": " ", "b": " ", "n": " ", "r": " ", "f": " ", '"': '"', "'": "'", "\\": "\\"}
_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")
_PERCENT: Final = re.compile(r"%[0-9A-Fa-f]{2}")
_NELL: Final = re.compile(r"concept(?::[a-z0-9]+:|_[a-z]+_)(?=\S)")
_CURIE: Final = re.compile(r"([A-Za-z][A-Za-z0-9_-]*):(?=[^\s:/])")
_SNAKE: Final = re.compile(r"[a-z][a-z0-9]{0,9}:(?=[A-Za-z0-9]+(?:_[A-Za-z0-9]+)+$)")

# Path segments that mark a web address as the identifier of an entity, and not as a value worth keeping whole.
_IDENTIFIER_PATHS: Final = words_in(
    "resource wiki entity ontology ns prop property id data concept class vocab schema terms kb graph page"
)
PREFIXES: Final = words_in(
    "dbr dbo dbp dbc dbpedia dbpedia-owl wd wdt fb ns concept rdf rdfs owl skos schema foaf xsd ex geo "
    "gn yago yago2 umbel sumo wn wn18 nell dct dcterms dc dcmi vcard bibo prov sioc obo uniprot kb kg ent entity rel"
)


def tidy(text: str) -> str:
    """The text in NFC, without control characters, lone surrogates or byte order marks, white space collapsed."""
    normal = unicodedata.normalize("NFC", text)
    if not normal.isprintable():
        normal = "".join(map(_visible, normal))
    return " ".join(normal.split())


def _visible(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Cc":
        return " "
    return "" if category == "Cs" or character == "\ufeff" else character


def entity_label(text: str) -> str:
    """The words of an entity's name or of a literal's value: `dbr:New_York_City` is "New York City".

    Idempotent. Where cleaning would leave nothing, the tidied text stands ("_" stays "_"); the result is empty only
    for a text without a visible character.
    """
    if not _NOTATION.search(text) and text.isprintable() and (text.isascii() or unicodedata.is_normalized("NFC", text)):
        return text
    label = tidy(text)
    while True:
        cleaned = tidy(_peel(label)) or label
        if cleaned == label:
            return label
        label = cleaned


def _peel(text: str) -> str:
    """The text with one layer of notation removed; each layer makes it shorter, or has one underscore less."""
    if literal := _LITERAL.fullmatch(text):
        return _ESCAPE.sub(_unescape, literal[1])
    if " " in text:
        return text
    if text.startswith("<") and text.endswith(">"):
        inner = text[1:-1]
        return last_segment(inner) if _URI.fullmatch(inner) else inner
    if _URI.fullmatch(text):
        return last_segment(text) if _names_an_entity(text) else text
    return percent_decoded(_without_prefix(text)).replace("_", " ")


def _without_prefix(text: str) -> str:
    curie = _CURIE.match(text)
    prefix = _NELL.match(text) or (curie if curie and curie[1] in PREFIXES else _SNAKE.match(text))
    return text[prefix.end() :] if prefix else text


def last_segment(uri: str) -> str:
    """What a URI ends in: its fragment, or the last segment of its path that holds anything, percent-decoded."""
    rest = uri.split("://", 1)[1]
    fragment = rest.rpartition("#")[2] if "#" in rest else ""
    segments = [segment for segment in rest.split("#", 1)[0].split("/") if segment]
    return percent_decoded(fragment or (segments[-1] if segments else uri))


def percent_decoded(text: str) -> str:
    """The text with `%C3%BC` read as UTF-8, where all of it is UTF-8; else the text as it is."""
    if not _PERCENT.search(text):
        return text
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        return text


def _names_an_entity(uri: str) -> bool:
    if "?" in uri:
        return False
    path = uri.split("://", 1)[1].split("/")
    return path[-1].find("#") > 0 or not _IDENTIFIER_PATHS.isdisjoint(segment.lower() for segment in path[1:-1])


def _unescape(match: re.Match[str]) -> str:
    code = match[1] or match[2]
    if code is None:
        return _ESCAPED[match[3]]
    number = int(code, 16)
    return chr(number) if number <= 0x10FFFF else match[0]
