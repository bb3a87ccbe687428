"""Rules of KG2KV: the words of a relation name to a noun phrase that " of <head>" can follow; design (1).

A name tells what the tail is to the head in one of a few ways, and each has its rule:

    noun                    place of birth, capital        stays
    has + noun              has capital                    the noun
    is + anything           is married to                  what follows
    deed + by               directed by                    the doer: director
    noun + deed             languages spoken               spoken language
    verb + preposition      born in, evacuated from        place of birth, evacuating source
    the same + noun         born in city, plays in league  city of birth, league
    verb + noun             produces product               produced product
    subject + any of these  athlete plays sport            as without the subject

The lexicon goes before the rules at every step.
"""

from collections.abc import Sequence
from typing import Final

from atlasdb.ingest.lexicon import NAMES
from atlasdb.ingest.nouns import AGENTS, EVENTS, TARGETS
from atlasdb.ingest.words import (
    PREPOSITIONS,
    Verb,
    as_verb,
    gerund,
    is_participle,
    is_plural_noun,
    singular,
    third_person,
    words_in,
)

_UNFIT_TO_END: Final = words_in("a an the and or of to in on at by for from with as into its his her their")
_BE: Final = words_in("is was are were be been being")
_HAVE: Final = words_in("has have had having")
_ARTICLES: Final = words_in("a an the")
_PLACES: Final = words_in("city country county district location place province region site state town venue")
_ANYTHING: Final = words_in("agent entity object organization person thing")
_MEMBERSHIPS: Final = words_in("member part instance")

# Verbs that add nothing to the noun after their preposition: "located in country" asks for the country.
_BARE: Final = words_in(
    "act appear apply base belong come compete include lie locate participate play relate situate star work"
)
_NEVER_VERBS: Final = words_in("awards records works")
_DOERS: Final = {"graphy": "grapher", "ction": "ctor", "ation": "ator", "ition": "itor", "ment": "er"}
_ADJECTIVES: Final = ("able", "ible", "al", "ant", "ar", "ent", "ic", "ive", "ous", "some")


def noun_phrase(words: Sequence[str]) -> str:
    """The noun phrase of a relation name given as lower-case words; empty only for no words.

    Never ends in a preposition, an article or a conjunction, unless there is no other word.
    """
    rest = _without_auxiliary(list(words))
    phrase = (
        _by_heart(rest) or _has(rest) or _done_by(rest) or _noun_participle(rest) or _verbal(rest) or _trailing(rest)
    )
    return _fit_to_end((phrase or " ".join(rest)).split()) or _fit_to_end(list(words)) or " ".join(words)


def _without_auxiliary(words: list[str]) -> list[str]:
    if len(words) > 2 and words[1] in _BE and words[0] not in _HAVE:
        words = words[1:]
    while len(words) > 1 and words[0] in _BE:
        words = words[1:]
    while len(words) > 1 and words[0] in _ARTICLES:
        words = words[1:]
    return words


def _by_heart(words: list[str]) -> str | None:
    """The lexicon's phrase for the name, or for the name with its verb in the dictionary form."""
    if phrase := NAMES.get(" ".join(words)):
        return phrase if len(words) > 1 or not _is_noun(words[0]) else None
    verb = as_verb(words[0]) if words else None
    if verb is None or _is_noun(words[0]):
        return None
    return NAMES.get(" ".join([verb.lemma, *words[1:]]))


def _is_noun(word: str) -> bool:
    """Whether a bare word that could be a verb is a noun first: cause, influence, work."""
    return is_plural_noun(third_person(word))


def _has(words: list[str]) -> str | None:
    if len(words) < 2 or words[0] not in _HAVE:
        return None
    rest = _without_auxiliary(words[1:])
    return noun_phrase(rest if as_verb(rest[0]) and len(rest) > 1 else [*rest[:-1], singular(rest[-1])])


def _done_by(words: list[str]) -> str | None:
    """Rule "deed by": "directed by" is the director; with an object, "produced by company", the producing company."""
    at = words.index("by") if "by" in words else 0
    if at == 0:
        return None
    deed, modifiers, by_whom = words[at - 1], words[: at - 1], _without_auxiliary(words[at + 1 :])
    modifiers = [word for word in modifiers if not word.endswith("ly") and word not in _BE | _HAVE]
    verb = as_verb(deed)
    if by_whom and verb:
        return " ".join([gerund(verb), *by_whom])
    if known := NAMES.get(f"{verb.lemma if verb else deed} by"):
        return " ".join([*modifiers, known])
    return " ".join([*modifiers, _agent(deed, verb)])


def _agent(deed: str, verb: Verb | None) -> str:
    """Who does it: the deed is a verb form ("directed"), or a noun ("direction", "cinematography")."""
    lemma = verb.lemma if verb else deed
    if lemma in AGENTS or deed in AGENTS:
        return AGENTS.get(lemma) or AGENTS[deed]
    if verb is None:
        for ending, doer in _DOERS.items():
            if deed.endswith(ending):
                return deed.removesuffix(ending) + doer
        return f"{deed} author"
    if lemma.endswith(("ct", "ate", "it", "ess", "vent", "nsor")):
        return lemma.removesuffix("e") + "or"
    if lemma.endswith("e"):
        return lemma + "r"
    if lemma.endswith("y"):
        return lemma[:-1] + "ier" if lemma[-2:-1] not in tuple("aeiou") else lemma + "er"
    return gerund(verb)[:-3] + "er"


def _verbal(words: list[str]) -> str | None:
    """The rules that begin with a verb, tried where the name begins and then after a subject of one or two words."""
    for at in range(min(3, len(words))):
        verb = as_verb(words[at])
        if verb is None or (at > 0 and words[at - 1].endswith("ly")):
            continue
        after = words[at + 1 :]
        if after and after[0] in PREPOSITIONS:
            phrase = _verb_preposition(words[at], verb, after, words[:at])
        elif after:
            phrase = _verb_object(words[at], verb, after, subject=at > 0)
        else:
            phrase = _bare_verb(words[at], verb) if at == 0 else None
        if phrase:
            return phrase
    return None


def _verb_preposition(word: str, verb: Verb, after: list[str], subject: list[str]) -> str | None:
    preposition, target = after[0], _without_auxiliary(after[1:])
    conjugated = verb.third_person or word not in (verb.lemma, gerund(verb))
    if not conjugated and (preposition == "of" or _is_noun(word) or subject):
        return None
    if not target and subject and singular(subject[-1]) in _PLACES:
        return f"{' '.join([*subject[:-1], singular(subject[-1])])} of {event(verb)}"
    asked = [verb.lemma, preposition, *(target if target != subject else [])]
    if known := NAMES.get(" ".join(asked)):
        return known
    if target:
        place = " ".join([*target[:-1], singular(target[-1])])
        if verb.lemma in _BARE or is_plural_noun(word):
            return _fit_to_end(place.split())
        return f"{place} of {EVENTS[verb.lemma]}" if verb.lemma in EVENTS else f"{gerund(verb)} {place}"
    if preposition in ("in", "at", "within"):
        return f"place of {event(verb)}"
    return f"{event(verb)} {TARGETS.get(preposition, 'target')}"


def _verb_object(word: str, verb: Verb, after: list[str], *, subject: bool) -> str | None:
    if word in _NEVER_VERBS or is_participle(after[-1]) or word == gerund(verb):
        return None
    irregular_past = word not in (verb.lemma, verb.participle) and not verb.third_person
    if not (verb.third_person or irregular_past or (subject and word == verb.participle)):
        return None
    if known := NAMES.get(" ".join([verb.lemma, *after])):
        return known
    return " ".join([verb.participle, *_without_auxiliary(after)])


def _noun_participle(words: list[str]) -> str | None:
    """Rule "noun deed": "languages spoken" is the spoken language, "place founded" the place of foundation."""
    if len(words) < 2 or not is_participle(words[-1]) or not PREPOSITIONS.isdisjoint(words):
        return None
    noun = " ".join([*words[:-2], singular(words[-2])])
    if (verb := as_verb(words[-1])) and verb.lemma in EVENTS and words[-2] in _PLACES:
        return f"{noun} of {EVENTS[verb.lemma]}"
    return f"{words[-1]} {noun}" if noun.split()[-1] != words[-2] else None


def _bare_verb(word: str, verb: Verb) -> str | None:
    if word in (verb.lemma, gerund(verb)) or (verb.third_person and is_plural_noun(word)):
        return None
    return f"{verb.participle} thing"


def event(verb: Verb) -> str:
    """The noun of what happened: birth, publication, collaboration, filming."""
    if verb.lemma in EVENTS:
        return EVENTS[verb.lemma]
    if verb.lemma.endswith("ate") and len(verb.lemma) > 5:
        return verb.lemma[:-1] + "ion"
    if verb.lemma.endswith(("ize", "ise")) and len(verb.lemma) > 6:
        return verb.lemma[:-1] + "ation"
    return verb.lemma[:-1] + "ication" if verb.lemma.endswith("ify") else gerund(verb)


def _trailing(words: list[str]) -> str | None:
    """Names of a noun or adjective and a preposition: "member of team", "ambassador of", "adjacent to"."""
    at = words.index("of") if "of" in words[:3] else 0
    if at and words[at + 1 :] and words[at - 1] in _MEMBERSHIPS:
        return _fit_to_end(_without_auxiliary(words[at + 1 :]))
    if len(words) == 3 and words[2] in _ANYTHING and (known := NAMES.get(" ".join(words[:2]))):
        return known
    if len(words) > 2 and words[-1] in _PLACES and words[-2] in ("in", "at"):
        return " ".join([*words[:-2], words[-1]])
    if len(words) < 2 or words[-1] not in PREPOSITIONS:
        return None
    stem = _fit_to_end(words[:-1])
    if not stem:
        return None
    if stem.endswith(_ADJECTIVES):
        return f"{stem} thing"
    return f"{stem} relation" if words[-1] == "of" else f"{stem} {TARGETS.get(words[-1], 'target')}"


def _fit_to_end(words: list[str]) -> str:
    while words and words[-1] in _UNFIT_TO_END:
        words = words[:-1]
    return " ".join(words)
