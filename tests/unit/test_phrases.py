"""KG2KV: what triples are called. The tables of docs/kg2kv.md are the examples."""

import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from atlasdb.ingest.freebase import PATHS
from atlasdb.ingest.labels import entity_label
from atlasdb.ingest.lexicon import NAMES
from atlasdb.ingest.phrases import Phrasing, relation_phrase
from atlasdb.ingest.words import words_in
from atlasdb_contract.errors import InvalidArgument

DOCS = Path(__file__).parents[2] / "docs" / "kg2kv.md"
BAD_ENDINGS = words_in("a an the and or of to in on at by for from with as")

prose = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)
names = st.text(st.sampled_from("abcdefgstAB_:/.%#<>\"-  @^\\'12éу日\x00\u200d"), min_size=1, max_size=40)
VOCABULARY = (
    "is has was the played directed city of in by for located works written team author film person plays award"
)
words = st.sampled_from(sorted(words_in(VOCABULARY)))
sentences = st.lists(words, min_size=1, max_size=5)


def table(heading: str) -> list[list[str]]:
    """The cells of the rows of one section's table, backticks off."""
    section = DOCS.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ") and "`" in line]
    return [[cell.strip().strip("`") for cell in row.strip("|").split("|")] for row in rows]


def visible(text: str) -> bool:
    return any(unicodedata.category(c) not in ("Cc", "Cs") and not c.isspace() and c != "\ufeff" for c in text)


def fits(phrase: str) -> bool:
    """Whether " of X" can follow."""
    return phrase.split()[-1].lower() not in BAD_ENDINGS


@pytest.mark.parametrize(("_kind", "relation", "phrase"), table("Relations"))
def test_documented_relations_become_their_phrase(_kind: str, relation: str, phrase: str) -> None:
    assert relation_phrase(relation) == phrase


@pytest.mark.parametrize(("_kind", "text", "label"), table("Labels"))
def test_documented_values_become_their_label(_kind: str, text: str, label: str) -> None:
    assert entity_label(text) == label


@pytest.mark.parametrize(("relation", "tail", "key"), table("Entries that point back"))
def test_documented_inverse_keys_point_back(relation: str, tail: str, key: str) -> None:
    assert Phrasing().inverse_key_text(tail, relation) == key


def test_every_phrase_of_the_lexicon_fits_before_of() -> None:
    phrases = [*NAMES.values(), *PATHS.values()]
    assert [phrase for phrase in phrases if not fits(phrase)] == []


@given(sentences)
@example(["is"])
@example(["is", "the"])
@example(["of", "the"])
def test_phrases_of_words_in_any_order_fit_before_of(sentence: list[str]) -> None:
    for name in (" ".join(sentence), "_".join(sentence), sentence[0] + "".join(map(str.title, sentence[1:]))):
        phrase = relation_phrase(name)
        assert phrase
        assert fits(phrase) or BAD_ENDINGS.union(("is", "has", "was")).issuperset(sentence)


@given(prose | names)
@example("%00")
@example("<>")
def test_phrases_of_any_text_are_visible(name: str) -> None:
    phrase = relation_phrase(name)
    assert visible(phrase) == visible(name)
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", phrase)


@given(prose | names)
@example("%2541_b")
@example('"<a_b>"')
@example("concept_city_concept_city_a_b")
@example("http://#")
def test_labels_are_idempotent_visible_and_without_control_characters(text: str) -> None:
    label = entity_label(text)
    assert entity_label(label) == label
    assert visible(label) == visible(text)
    assert not any(unicodedata.category(character) in ("Cc", "Cs") for character in label)
    assert label == unicodedata.normalize("NFC", label)


@given(st.text(st.characters(categories=["Lu", "Ll", "Lo", "Nd"]), min_size=1, max_size=400))
def test_letters_of_every_script_are_kept_whole(text: str) -> None:
    assert entity_label(text) == unicodedata.normalize("NFC", text)


def test_long_values_are_kept_whole() -> None:
    text = "the quick brown fox " * 5000
    assert entity_label(text) == text.strip()


def test_a_percent_sign_that_encodes_nothing_stays() -> None:
    assert [entity_label(text) for text in ("100%", "%zz", "100%ab")] == ["100%", "%zz", "100%ab"]


def test_a_title_in_quotes_keeps_them_beside_other_words() -> None:
    assert entity_label('"Heroes" and "Villains"') == '"Heroes" and "Villains"'


def test_overrides_go_before_the_rules() -> None:
    phrasing = Phrasing(overrides={"directed by": "maker"})
    assert phrasing.key_text("Jaws", "directed by") == "the maker of Jaws"
    assert phrasing.key_text("Jaws", "written by") == "the writer of Jaws"


def test_a_triple_is_one_entry_or_two() -> None:
    triple = ("Tom_Hanks", "/people/person/place_of_birth", "Concord")
    forward = ("the place of birth of Tom Hanks", "Concord", False)
    back = ("the person born in Concord", "Tom Hanks", True)
    assert Phrasing().texts(*triple) == (forward,)
    assert Phrasing(inverse="all").texts(*triple) == (forward, back)
    assert Phrasing(inverse=frozenset({triple[1]})).texts(*triple) == (forward, back)
    assert Phrasing(inverse=frozenset({"spouse"})).texts(*triple) == (forward,)


def test_a_tail_with_braces_stays_as_it_is() -> None:
    assert Phrasing().inverse_key_text("{}", "spouse") == "the spouse of {}"
    assert Phrasing(overrides={"r": "a {} b"}).inverse_key_text("t", "r") == "the entity whose a { } b is t"


@pytest.mark.parametrize("field", ["head", "relation", "tail"])
def test_an_empty_field_is_refused_by_name(field: str) -> None:
    triple = {"head": "a", "relation": "b", "tail": "c", field: "\x00 \n"}
    with pytest.raises(InvalidArgument, match=f"the {field} is empty"):
        Phrasing().texts(**triple)


def test_bad_settings_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="phrase for relation 'r' is empty"):
        Phrasing(overrides={"r": "  "})
    with pytest.raises(InvalidArgument, match="inverse is"):
        Phrasing(inverse="some")  # type: ignore[arg-type]
