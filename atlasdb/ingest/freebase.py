"""Freebase paths: what `/people/person/place_of_birth` asks for; design (1).

A path is /domain/type/property. Two paths joined by "./" go through a node without a name (a marriage, a nomination):
the first property leads there, the second from there to the tail.
"""

import re
from collections.abc import Sequence
from typing import Final

from atlasdb.ingest.lexicon import table
from atlasdb.ingest.rules import noun_phrase
from atlasdb.ingest.words import segmented, singular, words_in

_DOTTED: Final = re.compile(r"[a-z0-9_]+(?:\.{1,2}[a-z0-9_]+){2,}")

# Properties which say nothing by themselves: what they belong to goes before them.
_GENERIC: Final = words_in(
    "actor artist category city club company country county currency degree district entry episode film genre group "
    "institution item language list location medal member month name number olympics participant people person place "
    "position program rank region role school season source sport state student subject team title topic track type "
    "value winner work year"
)
_WORKS: Final = words_in("album book composition episode film game opera play program song title track work")
_MAKERS: Final = ("er", "or", "ist", "ian")


def as_path(name: str) -> list[list[str]] | None:
    """The segments of a Freebase path, one list for each part of a compound; None for any other name.

    Every part has a domain, a type and a property at least.
    """
    if _DOTTED.fullmatch(name):
        parts = [part.split(".") for part in name.split("..")]
        return parts if all(len(part) > 2 for part in parts) else None
    if not name.startswith("/") or name.startswith("//") or " " in name:
        return None
    parts = [[segment for segment in part.split("/") if segment] for part in name.replace("./", "/./").split("/./")]
    return parts if all(len(part) > 2 for part in parts) else None


def path_phrase(path: Sequence[Sequence[str]]) -> str:
    """The noun phrase of a path from `as_path`."""
    if known := PATHS.get("./".join("/".join(part[-2:]) for part in path)):
        return known
    last = _property_words(path[-1][-1])
    phrase = noun_phrase(last)
    if len(path) == 1:
        owner = _property_words(path[0][-2])
        return f"{phrase} as {' '.join(owner)}" if last[-1] in _WORKS and owner[-1].endswith(_MAKERS) else phrase
    if len(last) > 1 or last[0] not in _GENERIC:
        return phrase
    way = _property_words(path[-2][-1])
    if last[0] in map(singular, way):
        return noun_phrase(way)
    return phrase if "this" in way else f"{noun_phrase(way)} {phrase}"


def _property_words(name: str) -> list[str]:
    """release_date_s is release date, colors color, disciplines_or_subjects discipline or subject: one tail of many."""
    words = [piece for word in name.split("_") if word for piece in segmented(word.lower())]
    if len(words) > 1 and words[-1] == "s":
        words.pop()
    for at in (index for index, word in enumerate(words) if index and word in ("and", "or")):
        words[at - 1 : at + 1] = [singular(words[at - 1]), "or"]
    if words and words[-2:-1] != ["of"]:
        words[-1] = singular(words[-1])
    return words or [name]


PATHS: Final = table("""
actor/dubbing_performances./dubbing_performance/language = language of dubbing
actor/film./performance/film = film role
actor/film./performance/special_performance_type = special type of performance
administrative_division/first_level_division_of = country of the first level division
artist/track_contributions./track_contribution/role = instrument or role on tracks
award_category/nominees./award_nomination/nominated_for = nominated work
award_category/winners./award_honor/ceremony = award ceremony
award_ceremony/awards_presented./award_honor/honored_for = honored work
award_nominated_work/award_nominations./award_nomination/nominated_for = fellow nominated work
award_nominee/award_nominations./award_nomination/award = nominated award
award_nominee/award_nominations./award_nomination/award_nominee = fellow award nominee
award_nominee/award_nominations./award_nomination/nominated_for = award-nominated work
award_winner/awards_won./award_honor/award_winner = fellow award winner
award_winning_work/awards_won./award_honor/award = won award
award_winning_work/awards_won./award_honor/honored_for = fellow honored work
capital_of_administrative_division/capital_of./administrative_division_capital_relationship/administrative_division = governed territory
cause_of_death/people = victim
celebrity/breakup./breakup/participant = former partner
celebrity/canoodled./canoodled/participant = casual romantic partner
celebrity/dated./dated/participant = romantic partner
celebrity/friendship./friendship/participant = friend
celebrity/sexual_relationships./romantic_relationship/celebrity = sexual partner
continents/countries_within = country
director/film = directed film
disease/notable_people_with_this_condition = notable sufferer
educational_degree/people_with_this_degree./education/institution = institution awarding the degree
educational_degree/people_with_this_degree./education/major_field_of_study = field of study for the degree
educational_degree/people_with_this_degree./education/student = holder
educational_institution/students_graduates./education/major_field_of_study = field of study of the students
educational_institution/students_graduates./education/student = student or graduate
ethnicity/people = person with the ethnicity
field_of_study/students_majoring./education/major_field_of_study = related field of study
field_of_study/students_majoring./education/student = student
film/cinematography = cinematographer
film/dubbing_performances./dubbing_performance/actor = dubbing actor
film/music = composer
film/other_crew./film_crew_gig/crewmember = crew member
film/personal_appearances./personal_film_appearance/person = person appearing as themselves
film/runtime./film_cut/film_release_region = region of the film cut
film_subject/films = film on the subject
gardening_hint/split_to = topic split off
government_office_category/officeholders./government_position_held/jurisdiction_of_office = jurisdiction of the office
group_member/membership./group_membership/group = music group
group_member/membership./group_membership/role = role in the music group
hud_foreclosure_area/estimated_number_of_mortgages./dated_integer/source = source of the mortgage figures
human_language/countries_spoken_in = country of speakers
instrument/family = instrument family
job_title/people_with_this_title./employment_tenure/company = company with the job title
legislative_session/members./government_position_held/legislative_sessions = other session of the members
location/contains = constituent place
marriage_union_type/unions_of_this_type./marriage/location_of_ceremony = location of ceremonies
military_combatant/military_conflicts./military_combatant_group/combatants = fellow combatant
netflix_genre/titles = title in the genre
non_character_role/tv_regular_personal_appearances./tv_regular_personal_appearance/person = person with the television role
olympic_participating_country/athletes./olympic_athlete_affiliation/olympics = olympics of the athletes
olympic_participating_country/medals_won./olympic_medal_honor/olympics = olympics with medals
olympic_sport/athletes./olympic_athlete_affiliation/country = country of the athletes
olympic_sport/athletes./olympic_athlete_affiliation/olympics = olympics with the sport
organization/child./organization_relationship/child = child organization
organization/headquarters./mailing_address/citytown = headquarters city
organization/headquarters./mailing_address/state_province_region = headquarters state or province
organization_extra/phone_number./phone_sandbox/contact_category = phone contact category
organization_extra/phone_number./phone_sandbox/service_language = phone service language
organization_extra/phone_number./phone_sandbox/service_location = phone service location
organization_member/member_of./organization_membership/organization = organization of membership
performance_role/guest_performances./recording_contribution/performance_role = related guest performance role
performance_role/regular_performances./group_membership/group = group performing the role
performance_role/regular_performances./group_membership/role = related regular performance role
performance_role/track_performances./track_contribution/role = related track performance role
person/employment_history./employment_tenure/company = employer
person/places_lived./place_lived/location = place of residence
person/spouse_s./marriage/location_of_ceremony = location of the marriage ceremony
person/spouse_s./marriage/type_of_union = type of marriage union
politician/government_positions_held./government_position_held/basic_title = government title
ranked_item/appears_in_ranked_lists./ranking/list = ranked list
role/leaders./leadership/organization = organization with the role
snl_cast_member/seasons./snl_season_tenure/cast_members = fellow cast member
special_film_performance_type/film_performance_type./performance/film = film with the performance type
sport/pro_athletes./pro_sports_played/athlete = professional athlete
sports_position/players./sports_team_roster/position = related roster position
sports_position/players./sports_team_roster/team = team with the position
statistical_region/gdp_real./adjusted_money_value/adjustment_currency = real gdp currency
statistical_region/rent50_2./dated_money_value/currency = rent currency
travel_destination/climate./travel_destination_monthly_climate/month = month of the climate record
tv_personality/tv_regular_appearances./tv_regular_personal_appearance/program = television program of regular appearance
tv_producer/programs_produced./tv_producer_term/producer_type = type of producer
tv_program/regular_cast./regular_tv_appearance/actor = regular cast member
tv_program/tv_producer./tv_producer_term/producer_type = type of producer
tv_writer/tv_programs./tv_program_writer_relationship/tv_program = written television program
""")  # noqa: E501
"""type/property of each part -> phrase: paths whose words mislead or fall short; the others are left to the rules."""
