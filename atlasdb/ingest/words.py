"""English enough for relation names: verb forms, singulars, and the seams of "athleteplayssport"."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple


def words_in(text: str) -> frozenset[str]:
    """The set of the words of a text: how the lists here are written."""
    return frozenset(text.split())


PREPOSITIONS: Final = words_in(
    "about across after against among as at before between by during for from in inside into like near of off on onto "
    "over through to toward towards under until upon via with within without"
)

_REGULAR: Final = words_in(
    "abolish accept accuse achieve acquire act add address adjoin administer adopt affect affiliate agree aim allow "
    "animate announce appear apply appoint approve arrange arrest arrive ask assist associate attack attend author "
    "award ban base beat belong border broadcast bury call capture carry cast cause celebrate chair challenge change "
    "choreograph cite claim classify close coach cofound collaborate collect combine command commission compete "
    "complete compose comprise conduct connect conquer consist construct contain continue contribute control convict "
    "cooperate cover create criticise criticize cross crown damage date deal decide dedicate defeat defend define "
    "deliver depart depend depict derive describe design desire destroy develop die differ direct discover discuss "
    "display dissolve distribute divide divorce draft dub edit educate elect employ enable encode end endorse engage "
    "enrol enroll enter erect establish evolve examine execute exhibit exist export express feature film finance "
    "finish flow focus follow form formulate found fund generate govern graduate guide happen head headquarter help "
    "hire host identify illustrate implement import imprison include indicate induce infect influence inhabit inherit "
    "inhibit inspire install intend interact introduce invade invent invest investigate involve issue join judge kill "
    "label land launch license like link list live locate maintain major manage manufacture marry measure mention "
    "mentor migrate minor modify motivate move murder name narrate nominate note occupy occur offer open operate "
    "oppose organise organize originate own paint participate partner pass perform phosphorylate photograph place "
    "plan play possess precede predict prefer premiere present preserve prevent process produce program promote "
    "propose protect provide publish purchase rank receive recommend record recruit refer regulate relate release "
    "remix rename replace report represent require research reside resign result retire reveal review reward rule "
    "sample schedule score serve settle share sign situate source specialise specialize sponsor star start state "
    "store study succeed sue suffer supervise supply support surround survive target taste terminate tour train "
    "transfer translate transmit transport travel treat trigger turn unite use utilise utilize vacation value visit "
    "voice vote want watch work"
)

_FORMS: Final = (
    "bear bore born, beat beat beaten, become became become, begin began begun, bind bound bound, "
    "broadcast broadcast broadcast, build built built, buy bought bought, cast cast cast, come came come, "
    "do did done, draw drew drawn, drive drove driven, fall fell fallen, fight fought fought, find found found, "
    "fly flew flown, get got got, give gave given, go went gone, grow grew grown, hold held held, keep kept kept, "
    "know knew known, lead led led, leave left left, lose lost lost, make made made, meet met met, pay paid paid, "
    "put put put, read read read, run ran run, say said said, see saw seen, sell sold sold, send sent sent, "
    "set set set, shoot shot shot, show showed shown, sing sang sung, sit sat sat, speak spoke spoken, "
    "spend spent spent, stand stood stood, swim swam swum, take took taken, teach taught taught, tell told told, "
    "think thought thought, understand understood understood, wear wore worn, win won won, write wrote written"
)
_IRREGULAR: Final = {base: (past, participle) for base, past, participle in map(str.split, _FORMS.split(", "))}
"""Verb -> its past and its participle."""

# Third persons that are nouns oftener, alone: "influences" is a verb in front of an object and a plural without one.
_PLURAL_NOUNS: Final = words_in(
    "acts awards borders causes changes claims classes colleges covers crosses dates designs desires displays ends "
    "exports features films forms funds guides headquarters heads hosts imports influences issues judges labels lands "
    "languages leads likes lists locations majors measures minors names notes offers partners places plans plays "
    "presents processes programs projects ranks records reports results reviews rewards rules runs sales samples "
    "scores sets shares shows signs sources sponsors stars starts states stores studies supplies targets tours "
    "transfers uses values visits voices votes wins works"
)

_NOUNS: Final = words_in(
    "academic academy account acronym activity actor address administrative advisor agency agent agricultural album "
    "alma ancestor animal anniversary architect area arena art artery arthropod artist athlete attraction author "
    "automaker award band bank battle beverage bird birth birthplace blog board body bone book brand bridge brother "
    "budget building burial business candidate capital car cardgame case category celebrity cell ceo chain channel "
    "character charity chef chemical child citizen city class clothing club coach code cognitive color colour "
    "comedian comic committee company competition conference congress consumer continent control convention "
    "corporation council country county creative creator crime criminal crop crustacean currency data daughter day "
    "death degree deity department description developer device diet director disease distributor district division "
    "domain drug economic economist editor education element email emotion employee employer engine entity episode "
    "equipment ethnic ethnicity event eye facility family father female festival field file film fish flower food "
    "football format founder friend fruit function fungus furniture game gender gene genre geo geographic geometric "
    "geopolitical god goods government grain group hall head headquarters health height high highway hobby hockey "
    "holiday home hospital hotel house human husband id image income industry infant insect institution instrument "
    "insurance invertebrate island item job journal journalist judge key killer kingdom kitchen label lake language "
    "law lead leader league lecturer legal length level library life line list literary location lyrics machine "
    "magazine major male mammal manager map market mater material maximum mayor meat medal media medical medicine "
    "medium member military minimum model mollusk monarch money month monument mother mountain movie muscle museum "
    "music musical musician name nation national nationality nerve news newspaper nonprofit novel number object "
    "occupation office officer official opponent organ organisation organization origin owner page painting parent "
    "park part partner party patient people period person philosophy phone physical place planet plant player podcast "
    "poet point political politician population port position power predecessor president price primary prize "
    "producer product profession professor profit programming project proper property protein province proxy "
    "publication publisher race radio range rate region relation relative religion reptile restaurant retail river "
    "road role room roster school science scientific scientist sea season sector series service sex ship shopping "
    "show sibling side sister site size skyscraper soda software soldier son song source species speed spices spin "
    "sport sports spouse stadium star state station statistical stock store street student style sub subject "
    "subsidiary successor super superclass supervisor surface symbol symptom synonym system table team technology "
    "television territory terrorist theatre theory ticker time title tool top topic tournament town tradition train "
    "transportation treatment tree trophy type union university url vegetable vehicle venue version video village "
    "visual volcano war water weapon weather web website wife wine word work worker world writer year zone zoo"
)
_FUNCTION_WORDS: Final = words_in(
    "a against as at by for from has have in into is near of off on over that the to under was were with"
)

_SINGULARS: Final = {
    "people": "person", "children": "child", "men": "man", "women": "woman", "series": "series", "species": "species",
    "headquarters": "headquarters", "olympics": "olympics", "news": "news", "means": "means", "lyrics": "lyrics",
    "genera": "genus", "criteria": "criterion", "phenomena": "phenomenon", "alumni": "alumnus", "taxa": "taxon",
    "movies": "movie", "cookies": "cookie", "wives": "wife", "lives": "life", "analyses": "analysis", "bases": "basis",
    "crises": "crisis", "theses": "thesis", "headquarter": "headquarters", "buses": "bus", "gas": "gas",
    "campuses": "campus", "viruses": "virus", "statuses": "status", "bonuses": "bonus",
}  # fmt: skip


class Verb(NamedTuple):
    """A verb as found in a name: its dictionary form, its participle, and whether it stood as "plays"."""

    lemma: str
    participle: str
    third_person: bool


def third_person(lemma: str) -> str:
    """plays, teaches, carries."""
    if lemma.endswith(("s", "x", "z", "ch", "sh", "o")):
        return lemma + "es"
    return lemma[:-1] + "ies" if _consonant_y(lemma) else lemma + "s"


def regular_participle(lemma: str) -> str:
    """played, produced, carried, controlled."""
    if lemma.endswith("e"):
        return lemma + "d"
    if _consonant_y(lemma):
        return lemma[:-1] + "ied"
    doubled = lemma in {"ban", "plan", "star", "refer", "transfer", "control", "program", "dub", "enrol", "transmit"}
    return lemma + (lemma[-1] if doubled else "") + "ed"


def gerund(verb: Verb) -> str:
    """playing, producing, carrying; from the participle where the verb is regular, which doubles as it should."""
    word, lemma = verb.participle, verb.lemma
    if not word.endswith("ed") or word == lemma:
        return lemma[:-1] + "ing" if lemma.endswith("e") and not lemma.endswith("ee") else _doubling(lemma) + "ing"
    if lemma == "die":
        return "dying"
    return word[:-3] + "ying" if word.endswith("ied") else word[:-2] + "ing"


def _doubling(lemma: str) -> str:
    return lemma + lemma[-1] if lemma in {"begin", "get", "put", "run", "set", "sit", "swim", "win"} else lemma


def _consonant_y(word: str) -> bool:
    return word.endswith("y") and word[-2:-1] not in tuple("aeiou")


def _verb_forms() -> Mapping[str, Verb]:
    forms: dict[str, Verb] = {}
    for lemma in sorted(_REGULAR):
        past, participle = _IRREGULAR.get(lemma, (regular_participle(lemma),) * 2)
        _add_forms(forms, lemma, past, participle)
    for lemma, (past, participle) in _IRREGULAR.items():
        _add_forms(forms, lemma, past, participle)
    return forms


def _add_forms(forms: dict[str, Verb], lemma: str, past: str, participle: str) -> None:
    verb = Verb(lemma, participle, third_person=False)
    for form in (lemma, gerund(verb), past, participle):
        forms.setdefault(form, verb)
    forms.setdefault(third_person(lemma), verb._replace(third_person=True))


_VERBS: Final = _verb_forms()
_KNOWN: Final = _NOUNS | frozenset(_VERBS) | _FUNCTION_WORDS | PREPOSITIONS
_VERBAL_ENDINGS: Final = ("ates", "izes", "ises", "ifies")


def as_verb(word: str) -> Verb | None:
    """The verb that a word is a form of; a word never seen counts by its ending ("hyperlinked", "upregulates")."""
    if verb := _VERBS.get(word):
        return verb
    if len(word) > 4 and word.endswith("ed") and not word.endswith("eed") and word not in _KNOWN:
        return Verb(_base_of_participle(word), word, third_person=False)
    if len(word) > 6 and word.endswith(_VERBAL_ENDINGS) and word not in _KNOWN:
        lemma = word[:-3] + "y" if word.endswith("ifies") else word[:-1]
        return Verb(lemma, regular_participle(lemma), third_person=True)
    return None


def _base_of_participle(word: str) -> str:
    if word.endswith("ied"):
        return word[:-3] + "y"
    stem = word[:-2]
    if stem[-2:-1] == stem[-1:] and stem[-1] not in "lsz":
        return stem[:-1]
    return stem + "e" if stem.endswith(("at", "iz", "is", "c", "v", "g", "u", "rs", "ur", "ir")) else stem


def is_participle(word: str) -> bool:
    """Whether the word is the past participle of a verb: played, written, hyperlinked."""
    verb = as_verb(word)
    return verb is not None and verb.participle == word and word != verb.lemma


def is_known(word: str) -> bool:
    """Whether the word is in the built-in list, as it is or in the singular."""
    return word in _KNOWN or singular(word) in _KNOWN


def is_plural_noun(word: str) -> bool:
    """Whether a word that could be a third person ("results") is a plural more often."""
    return word in _PLURAL_NOUNS


def singular(word: str) -> str:
    """film for films, country for countries; a word that is no plural as it is."""
    if word in _SINGULARS:
        return _SINGULARS[word]
    if len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us", "is", "ics", "'s")):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("ches", "shes", "sses", "xes", "zes")):
        return word[:-2]
    return word[:-1]


@lru_cache(maxsize=4096)
def segmented(word: str) -> tuple[str, ...]:
    """The words of a name written without spaces: "teamplaysinleague" is team, plays, in, league.

    The split of the longest known words (greatest sum of squared lengths) wins; a word that is known, short, or not
    covered by known ones stays whole. The work is quadratic in the length, which is cut off at 64 letters.
    """
    if is_known(word) or word.endswith("ship") or not 8 <= len(word) <= 64:
        return (word,)
    best: list[tuple[int, tuple[str, ...]] | None] = [(0, ())] + [None] * len(word)
    for end in range(2, len(word) + 1):
        for start in range(end - 1):
            before, piece = best[start], word[start:end]
            if before is None or not _is_piece(piece):
                continue
            score = before[0] + len(piece) ** 2
            current = best[end]
            if current is None or score > current[0]:
                best[end] = (score, (*before[1], piece))
    whole = best[-1]
    return whole[1] if whole else (word,)


def _is_piece(piece: str) -> bool:
    if len(piece) <= 3:
        return piece in _FUNCTION_WORDS or piece in {"car", "ceo", "geo", "god", "led", "sub", "top", "web", "won"}
    return is_known(piece)
