"""How people ask for one fact: questions composed from openings, cores and endings.

An unseen phrasing is read only by a model that has seen very many, so cores that fit any relation
are multiplied by openings and endings, and common relations have wordings of their own.
"""

from collections.abc import Mapping, Sequence

import numpy as np

OPENINGS = (
    *("",) * 14, "please ", "hello, ", "hi! ", "ok, ", "now ", "quick question: ", "i wonder, ", "so ",
    "could you help? ", "question: ", "hey, ", "excuse me, ", "dear assistant, ", "i was wondering, ", "and ",
)  # fmt: skip
ENDINGS = ("?", "?", "?", ".", "", "", "? thanks.", " please?", " ?", "!")
CORES = (
    "what is the {r} of {h}", "what is {h}'s {r}", "what was the {r} of {h}", "who is the {r} of {h}",
    "what are the {r} of {h}", "tell me the {r} of {h}", "tell me {h}'s {r}", "what {r} does {h} have",
    "what {r} did {h} have", "which {r} does {h} have", "provide the {r} of {h}", "{h}: what is the {r}",
    "can you give the {r} of {h}", "can you tell me the {r} of {h}", "for {h}, name the {r}",
    "i want to know the {r} of {h}", "i'd like to know {h}'s {r}", "do you know {h}'s {r}", "{h}'s {r}",
    "which {r} is recorded for {h}", "state the {r} that {h} has", "who knows the {r} of {h}", "find {h}'s {r}",
    "what about the {r} of {h}", "show {r} for {h}", "describe the {r} of {h}", "give me {h}'s {r}",
    "say the {r} of {h}", "would you tell me {h}'s {r}", "i need the {r} of {h}", "{r} of {h}", "{r} for {h}",
    "the {r} of {h} is what", "the {r} of {h} is", "regarding {h}, what is the {r}", "is there a {r} for {h}",
    "what's the {r} for {h}", "what's {h}'s {r}", "list the {r} of {h}", "name {h}'s {r}", "name the {r} of {h}",
    "remind me of the {r} of {h}", "how would you state the {r} of {h}", "{h} {r}", "{r} {h}", "{h}, {r}",
    "{h} has which {r}", "{h} has what {r}", "in the case of {h}, what is the {r}", "about {h}: {r}",
    "what do you know about the {r} of {h}", "what do we know of {h}'s {r}", "look up {h}'s {r}",
    "when it comes to {h}, which {r} applies", "{h} is known for which {r}", "search {r} of {h}",
)  # fmt: skip
WORDINGS: Mapping[str, Sequence[str]] = {
    "place of birth": (
        "where was {h} born", "in which city was {h} born", "what is the birthplace of {h}", "{h} was born where",
        "where is {h} from", "where did {h} come into the world", "in what place was {h} born", "{h}'s birthplace",
        "which town was {h} born in", "where does {h} originally come from",
    ),
    "place of death": (
        "where did {h} die", "in which city did {h} die", "{h} died where", "where did {h} pass away",
        "in what place did {h} die", "what city did {h} die in", "where did the life of {h} end",
    ),
    "nationality": (
        "what country is {h} from", "which country is {h} a citizen of", "what nationality is {h}",
        "what is the citizenship of {h}", "what nationality was {h}", "{h} was a citizen of which country",
        "which nation did {h} belong to",
    ),
    "profession": (
        "what did {h} do for a living", "what does {h} do", "what was {h}'s job", "what is {h}'s occupation",
        "what kind of work did {h} do", "as what did {h} work", "what was {h} by profession", "what did {h} work as",
        "what is {h} known as by trade",
    ),
    "gender": ("is {h} a man or a woman", "is {h} male or female", "what sex is {h}", "was {h} a man or a woman"),
    "religion": (
        "what religion did {h} follow", "which faith did {h} have", "what did {h} believe in",
        "what is {h}'s faith", "which church did {h} belong to",
    ),
    "cause of death": (
        "how did {h} die", "what did {h} die of", "what killed {h}", "why did {h} die", "of what did {h} die",
    ),
    "institution": (
        "where did {h} study", "which university did {h} attend", "what school did {h} go to",
        "where was {h} educated", "at which institution was {h}", "where did {h} work and study",
    ),
    "location": ("where did {h} live", "where does {h} live", "in which place did {h} live", "where was {h}"),
    "ethnicity": ("what ethnic group did {h} belong to", "what is the ethnic origin of {h}", "what people is {h} of"),
    "spouse": (
        "who was {h} married to", "who did {h} marry", "who is the husband of {h}", "who is the wife of {h}",
        "who was {h}'s wife", "who was {h}'s husband", "to whom was {h} married", "{h} was married to whom",
    ),
    "children": (
        "who is a child of {h}", "who was the son of {h}", "who was the daughter of {h}", "who are {h}'s kids",
        "what child did {h} have", "whose parent was {h}",
    ),
    "parents": (
        "who was the father of {h}", "who was the mother of {h}", "who are {h}'s parents", "whose child was {h}",
        "of whom is {h} a child", "who is {h}'s father", "who is {h}'s mother",
    ),
    "capital": ("which city is the capital of {h}", "{h}'s capital city", "what city is {h} governed from"),
    "currency": ("what money is used in {h}", "with what does one pay in {h}", "which money does {h} use"),
    "official language": (
        "which language is spoken in {h}", "what do people speak in {h}", "what language does {h} use officially",
    ),
    "language": ("in which language is {h}", "what language is {h} in", "which language is used in {h}"),
    "continent": ("on which continent is {h}", "which continent is {h} on", "in what part of the world is {h}"),
    "country": (
        "in which country is {h}", "which country is {h} in", "where is {h}", "what country does {h} belong to",
    ),
    "author": ("who wrote {h}", "who is the writer of {h}", "by whom was {h} written", "whose book is {h}"),
    "writer": ("who wrote {h}", "by whom was {h} written"),
    "painter": ("who painted {h}", "by whom was {h} painted", "whose painting is {h}"),
    "inventor": ("who invented {h}", "by whom was {h} invented", "whose invention is {h}"),
    "discoverer": ("who discovered {h}", "by whom was {h} discovered", "who found {h}"),
    "director": ("who directed {h}", "by whom was {h} directed", "who made the film {h}"),
    "genre": ("what kind of work is {h}", "what genre is {h}", "to which genre does {h} belong"),
    "hypernym": ("what kind of thing is {h}", "what is {h} a kind of", "{h} is a kind of what"),
}  # fmt: skip


def question(phrase: str, head: str, random: np.random.Generator) -> str:
    """A question for "the `phrase` of `head`", in one of many wordings; lower case, as the model reads it."""
    own = WORDINGS.get(phrase, ())
    cores = own if own and random.random() < 0.4 else CORES
    core = cores[int(random.integers(len(cores)))]
    opening = OPENINGS[int(random.integers(len(OPENINGS)))]
    ending = ENDINGS[int(random.integers(len(ENDINGS)))]
    return f"{opening}{core.format(r=phrase, h=head)}{ending}"
