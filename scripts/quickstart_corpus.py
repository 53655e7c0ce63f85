"""Write a small German-English parallel corpus, drawn from a seeded synchronous grammar.

The grammar is made so that decoders and ways to train differ in quality after minutes on a CPU:

* order: the verb is second in main clauses and last in subordinate and relative clauses; participles,
  infinitives and separable prefixes are last (``nimmt ... an`` accepts, ``nimmt ... ab`` removes); time comes
  before manner before place;
* agreement: a phrase or a relative clause separates the English verb from the head of its subject; ``sie`` is
  she or they, ``ihr`` her or their, as a verb form says, often the last word; ``wird`` is future or passive;
* senses: ``schloss`` is a castle or a lock, ``wenn`` if or when, ``schwer`` heavy or difficult, as other
  words say. A weak verb (``gefunden``) leaves it to the agent, which tells the sense in most sentences only;
* register: a hidden variable, hinted at by a German particle and by word order, decides all English doublets
  of a sentence together: children or kids, purchase or buy, where the time goes, passive or active. Formal
  English has one wording, informal English several: the likeliest first word need not begin the likeliest
  sentence.

`sentence` draws clauses (`Clause`, which holds both languages) and puts their words in order. No German
sentence occurs twice, and test and valid do not change with ``--train``.
"""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from quickstart_files import generate

from seqsearch_fairseq.programs import run_program

MIN_TOKENS, MAX_TOKENS = 5, 25

# In all tables, "/" separates English options: the formal one, then the informal ones, the likeliest first.

# class : gender singular plural = English ; ...  "m*": weak, the other singular cases look like the plural
NOUNS = """
person : m mann männer = man men / guy guys ; f frau frauen = woman women
person : n kind kinder = child children / kid kids ; f mutter mütter = mother mothers / mom moms
person : m lehrer lehrer = teacher teachers ; f lehrerin lehrerinnen = teacher teachers
person : m* student studenten = student students ; f ärztin ärztinnen = physician physicians / doctor doctors
person : m* polizist polizisten = officer officers / cop cops ; f touristin touristinnen = tourist tourists
person : m könig könige = king kings ; f richterin richterinnen = judge judges
person : m gärtner gärtner = gardener gardeners ; m dieb diebe = thief thieves
person : f köchin köchinnen = cook cooks / chef chefs
friend : m freund freunde = friend friends / buddy buddies ; m hund hunde = dog dogs
friend : f schwester schwestern = sister sisters
animal : n pferd pferde = horse horses ; m vogel vögel = bird birds
clothes : m hut hüte = hat hats ; f jacke jacken = jacket jackets
device : f maschine maschinen = machine machines ; m fernseher fernseher = television televisions / tv tvs
document : n buch bücher = book books ; m brief briefe = letter letters
picture : n foto fotos = photograph photographs / photo photos / picture pictures
plan : m plan pläne = plan plans ; n angebot angebote = offer offers
food : m apfel äpfel = apple apples ; m kuchen kuchen = cake cakes
vehicle : n auto autos = automobile automobiles / car cars
vehicle : n fahrrad fahrräder = bicycle bicycles / bike bikes
gift : n geschenk geschenke = gift gifts / present presents
container : f tasche taschen = bag bags ; m koffer koffer = suitcase suitcases
task : f prüfung prüfungen = examination examinations / test tests / exam exams
task : f aufgabe aufgaben = task tasks / job jobs
place : f stadt städte = city cities / town towns ; m garten gärten = garden gardens
place : m park parks = park parks ; n büro büros = office offices ; f schule schulen = school schools
"""

# gender singular plural = English of this sense : verbs that give it away : agents that hint at it
# The first sense of a word is the more frequent one. Plural "-": a mass noun.
SENSES = """
n schloss schlösser = castle castles : besichtigen verlassen : könig touristin
n schloss schlösser = lock locks : reparieren aufmachen : dieb gärtner
f bank banken = bank banks : gründen verlassen : dieb könig
f bank bänke = bench benches : streichen reparieren : gärtner mutter
f schlange schlangen = snake snakes : füttern einfangen : touristin gärtner
f schlange schlangen = queue queues / line lines : verlassen : polizist mutter
n gericht gerichte = dish dishes : kochen essen : köchin mutter
n gericht gerichte = court courts : überzeugen verlassen : richterin dieb
m leiter leiter = leader leaders / boss bosses : überzeugen anrufen : lehrerin richterin
f leiter leitern = ladder ladders : streichen reparieren : gärtner mann
f erde - = earth - : retten verlassen : student könig
f erde - = soil - / dirt - : gießen kaufen : gärtner köchin
f decke decken = blanket blankets : waschen kaufen : mutter kind
f decke decken = ceiling ceilings : streichen reparieren : mann lehrer
m kiefer kiefer = jaw jaws : untersuchen : ärztin polizist
f kiefer kiefern = pine pines : gießen : gärtner lehrer
m ton töne = sound sounds / noise noises : hören aufnehmen : student touristin
m ton - = clay - : formen kaufen : köchin kind
m strauß sträuße = bouquet bouquets : kaufen : mutter gärtner
m strauß strauße = ostrich ostriches : füttern einfangen : könig polizist
"""
WEAK_VERBS = "sehen finden fotografieren suchen"  # these go with every sense

# [prefix+]infinitive third-person participle = English base past participle [particle] : what it governs
# Governs: classes of its object, after "dat", "mit" or "auf" where that is no plain accusative; "-": no
# object; "sein": the same, perfect with sein; "dir": and with a direction; "cue": an object of SENSES only.
VERBS = """
lesen liest gelesen = read read read : document
kaufen kauft gekauft = purchase purchased purchased / buy bought bought / get got got : vehicle clothes food
reparieren repariert repariert = repair repaired repaired / fix fixed fixed : vehicle device
suchen sucht gesucht = seek sought sought / look looked looked for : container animal
finden findet gefunden = discover discovered discovered / find found found : gift container
sehen sieht gesehen = see saw seen : person
helfen hilft geholfen = assist assisted assisted / help helped helped : dat person
warten wartet gewartet = wait waited waited for : auf person
an+fangen fängt gefangen = begin began begun with / start started started with : mit task
auf+hören hört gehört = cease ceased ceased / stop stopped stopped : mit task
ein+fangen fängt gefangen = capture captured captured / catch caught caught : animal
an+nehmen nimmt genommen = accept accepted accepted / take took taken : plan gift
ab+nehmen nimmt genommen = remove removed removed / take took taken off : clothes
auf+nehmen nimmt genommen = record recorded recorded : cue
mit+nehmen nimmt genommen = bring brought brought / take took taken along : clothes gift container
zu+nehmen nimmt genommen = gain gained gained weight : -
ab+nehmen nimmt genommen = lose lost lost weight : -
aus+stellen stellt gestellt = exhibit exhibited exhibited / show showed shown : picture vehicle
ein+stellen stellt gestellt = hire hired hired / take took taken on : person
ein+stellen stellt gestellt = adjust adjusted adjusted / set set set up : device
vor+stellen stellt gestellt = introduce introduced introduced : person
vor+stellen stellt gestellt = present presented presented / show showed shown : plan picture
an+kommen kommt gekommen = arrive arrived arrived : sein
mit+kommen kommt gekommen = come came come along : sein
zurück+kommen kommt gekommen = return returned returned / come came come back : sein
an+machen macht gemacht = switch switched switched on / turn turned turned on : device
aus+machen macht gemacht = switch switched switched off / turn turned turned off : device
auf+machen macht gemacht = open opened opened : container document
zu+machen macht gemacht = close closed closed / shut shut shut : container document
auf+geben gibt gegeben = abandon abandoned abandoned / give gave given up : plan
zurück+geben gibt gegeben = return returned returned / give gave given back : document gift
an+rufen ruft gerufen = call called called / phone phoned phoned : person
ab+lehnen lehnt gelehnt = reject rejected rejected / turn turned turned down : plan gift
arbeiten arbeitet gearbeitet = work worked worked : -
fahren fährt gefahren = travel traveled traveled / drive drove driven / go went gone : dir
gehen geht gegangen = walk walked walked / go went gone : dir
besichtigen besichtigt besichtigt = visit visited visited / see saw seen : cue
gründen gründet gegründet = establish established established / set set set up : cue
streichen streicht gestrichen = paint painted painted : cue
füttern füttert gefüttert = feed fed fed : animal
verlassen verlässt verlassen = leave left left : place
kochen kocht gekocht = prepare prepared prepared / cook cooked cooked : cue
essen isst gegessen = eat ate eaten : food
überzeugen überzeugt überzeugt = convince convinced convinced : person
retten rettet gerettet = rescue rescued rescued / save saved saved : animal
gießen gießt gegossen = water watered watered : cue
waschen wäscht gewaschen = wash washed washed : clothes
untersuchen untersucht untersucht = examine examined examined : cue
hören hört gehört = hear heard heard : animal
formen formt geformt = shape shaped shaped : cue
fotografieren fotografiert fotografiert = photograph photographed photographed : animal
"""

# stem = English : noun classes ("sense" stands for the nouns of SENSES)
ADJECTIVES = """
alt = old : person friend animal clothes device document vehicle place sense
jung = young : person friend animal
klug = intelligent / smart / clever : person friend
neu = new : clothes device document picture plan vehicle container place sense
groß = large / big : picture gift place animal
klein = small / little : picture gift place animal sense
schön = beautiful / lovely / nice : document picture gift place
schwer = heavy : container device
schwer = difficult / hard / tough : task
leicht = light : container clothes
leicht = simple / easy : task plan
"""
STATES = "müde = tired ; krank = ill / sick ; glücklich = content / happy / glad ; arm = poor / broke"
MANNERS = "schnell = rapidly / quickly / fast ; vorsichtig = cautiously / carefully ; allein = alone"
TIMES = {
    "present": "heute = today ; jetzt = currently / now / right now ; jeden morgen = every morning",
    "past": "gestern = yesterday ; letzte woche = last week ; am montag = on monday",
    "future": "morgen = tomorrow ; bald = shortly / soon ; nächste woche = next week ; am montag = on monday",
}
TIMES |= {"narrative": TIMES["past"], "modal": TIMES["future"]}

# German singular plural = English singular, plural / ...
MODALS = """muss müssen = must, must / has to, have to / has got to, have got to
; kann können = is able to, are able to / can, can ; will wollen = wishes to, wish to / wants to, want to
; soll sollen = is to, are to / is supposed to, are supposed to / should, should"""
SPEECH = """sagt sagen = states that, state that / says that, say that / says, say
; glaubt glauben = believes that, believe that / thinks that, think that / thinks, think
; hofft hoffen = hopes that, hope that / hopes, hope ; weiß wissen = knows that, know that / knows, know"""

CONJUNCTIONS = {"weil": "because / since / as", "obwohl": "although / even though / though", "als": "when"}
CONTRACTIONS = {"in dem": "im", "in das": "ins", "von dem": "vom", ", ,": ",", ", .": "."}
DEFINITE = {"nom": "der die das die", "acc": "den die das die", "dat": "dem der dem den"}  # m f n plural
DIESER = {"nom": "er e es e", "acc": "en e es e", "dat": "em er em en"}
EIN = {"nom": "- e - e", "acc": "en e - e", "dat": "em er em en"}  # and mein, sein, ihr, unser

English = list[list[str]]  # options, each a list of words
# A tense is "present", "past", "narrative" (past, but never the English perfect), "future" or "modal".


class Noun(NamedTuple):
    kind: str
    gender: str  # "m", "f" or "n"
    weak: bool
    singular: str
    plural: str  # "-": a mass noun
    english: English  # singular, plural


class Verb(NamedTuple):
    prefix: str
    infinitive: str  # without the prefix; also the third person plural
    third: str
    participle: str
    english: English  # base, past, participle, *particles
    governs: str  # "", "acc", "dat", "mit", "auf"
    kinds: list[str]  # noun classes of its object
    auxiliary: tuple[str, str]  # singular, plural
    direction: bool


class Sense(NamedTuple):
    noun: Noun
    cues: list[Verb]
    agents: list[Noun]


class Event(NamedTuple):
    verb: Verb
    nouns: list[Noun]  # its object, or nothing
    agent: Noun


class Draw(NamedTuple):
    rng: Random
    informal: bool


class Phrase(NamedTuple):
    de: list[str]
    en: list[str]
    may_front: bool = True


class Nominal(NamedTuple):
    de: list[str]
    en: list[str]
    plural: bool
    definite: bool
    possessive: tuple[str, str]  # German stem, English word
    pronoun: tuple[str, str]


class Determiner(NamedTuple):
    de: str
    en: str  # "a" becomes "an" later
    declension: str  # of an adjective behind it, named by a determiner: "der", "ein" or "zwei"


class VerbGroup(NamedTuple):
    finite: str
    prefix: str  # separable
    ending: list[str]  # participle, infinitive or state
    en: list[str]


class Clause(NamedTuple):
    subject: Nominal
    verb: VerbGroup
    time: Phrase
    middle: list[Phrase]
    en_subject: list[str]  # not `subject.en` where a passive becomes an active
    en_predicate: list[str]  # without the time


def table(text: str, separator: str = ";") -> list[tuple[str, English, list[list[str]]]]:
    """Rows "german = option / option : words : words" as (german, options, [words, words])."""
    found = []
    for row in text.strip().split(separator):
        german, rest = row.split(" = ")
        english, *fields = rest.split(" : ")
        options = [option.split() for option in english.split("/")]
        found.append((german.strip(), options, [field.split() for field in fields]))
    return found


def read_noun(kind: str, german: str, english: English) -> Noun:
    gender, singular, plural = german.split()
    return Noun(kind, gender[0], gender.endswith("*"), singular, plural, english)


def read_nouns() -> dict[str, list[Noun]]:
    nouns: dict[str, list[Noun]] = {}
    for line in NOUNS.strip().splitlines():
        kind, entries = line.split(" : ")
        nouns.setdefault(kind, []).extend(read_noun(kind, row[0], row[1]) for row in table(entries))
    return nouns


def read_verbs() -> list[Verb]:
    verbs = []
    for german, english, (words,) in table(VERBS, "\n"):
        infinitive, third, participle = german.split()
        prefix, _, infinitive = infinitive.rpartition("+")
        first, moves = words[0], words[0] in ("sein", "dir")
        governs = "" if moves or first == "-" else first if first in ("dat", "mit", "auf") else "acc"
        kinds = [word for word in words if word in PLAIN_NOUNS]
        forms = (prefix, infinitive, third, participle, english, governs, kinds)
        verbs.append(Verb(*forms, ("ist", "sind") if moves else ("hat", "haben"), first == "dir"))
    return verbs


def read_senses() -> dict[str, list[Sense]]:
    verb_named = {verb.prefix + verb.infinitive: verb for verb in ALL_VERBS if verb.governs == "acc"}
    person_named = {noun.singular: noun for noun in PLAIN_NOUNS["person"]}
    senses: dict[str, list[Sense]] = {}
    for german, english, (cues, agents) in table(SENSES, "\n"):
        noun = read_noun("sense", german, english)
        sense = Sense(noun, [verb_named[name] for name in cues], [person_named[name] for name in agents])
        senses.setdefault(noun.singular, []).append(sense)
    return senses


PLAIN_NOUNS = read_nouns()  # class -> nouns
ALL_VERBS = read_verbs()
OBJECT_VERBS = [verb for verb in ALL_VERBS if verb.kinds]
BARE_VERBS = [verb for verb in ALL_VERBS if not verb.governs]
WEAK = [verb for verb in ALL_VERBS if verb.infinitive in WEAK_VERBS.split()]
AMBIGUOUS = read_senses()  # German singular -> senses
ADJECTIVES_OF = {
    kind: [row for row in table(ADJECTIVES, "\n") if kind in row[2][0]] for kind in [*PLAIN_NOUNS, "sense"]
}


def chance(draw: Draw, probability: float) -> bool:
    return draw.rng.random() < probability


def english(draw: Draw, options: English) -> list[str]:
    """Formal: the first, nearly always. Informal: mostly one of the others, with skewed weights."""
    if len(options) == 1 or not chance(draw, 0.9 if draw.informal else 0.04):
        return options[0]
    return draw.rng.choices(options[1:], weights=(3, 2)[: len(options) - 1])[0]


def listed(draw: Draw, text: str) -> Phrase:
    german, options, _ = draw.rng.choice(table(text))
    return Phrase(german.split(), english(draw, options))


def agreeing(draw: Draw, text: str, plural: bool) -> Phrase:
    """A row of MODALS or SPEECH in the given number."""
    german, options, _ = draw.rng.choice(table(text))
    forms = " ".join(english(draw, options)).split(", ")
    return Phrase([german.split()[plural]], forms[plural].split())


def any_noun(draw: Draw, *kinds: str) -> Noun:
    return draw.rng.choice(PLAIN_NOUNS[draw.rng.choice(kinds)])


def column(forms: str, noun: Noun, plural: bool) -> str:
    return forms.split()[3 if plural else "mfn".index(noun.gender)].replace("-", "")


def determiner(draw: Draw, noun: Noun, case: str, plural: bool, owner: Nominal | None) -> Determiner:
    roll = draw.rng.random()
    if owner and roll < 0.4:
        stem, possessive = owner.possessive
        return Determiner(stem + column(EIN[case], noun, plural), possessive, "ein")
    if noun.plural == "-" or roll < 0.75:
        return Determiner(column(DEFINITE[case], noun, plural), "the", "der")
    if roll < 0.83:
        return Determiner("dies" + column(DIESER[case], noun, plural), "these" if plural else "this", "der")
    if not plural:
        return Determiner("ein" + column(EIN[case], noun, plural), "a", "ein")
    if roll < 0.91:
        return Determiner("zwei", "two", "zwei")
    return Determiner("vielen" if case == "dat" else "viele", "many", "zwei")


def adjective_ending(declension: str, case: str, noun: Noun, plural: bool) -> str:
    if declension == "zwei" and case != "dat":
        return "e"
    if case == "dat" or plural or (case == "acc" and noun.gender == "m"):
        return "en"
    return {"m": "er", "f": "e", "n": "es"}[noun.gender] if declension == "ein" else "e"


def noun_form(noun: Noun, case: str, plural: bool) -> str:
    if plural:
        return noun.plural + "n" * (case == "dat" and noun.plural[-1] not in "ns")
    return noun.plural if noun.weak and case != "nom" else noun.singular


def noun_phrase(draw: Draw, noun: Noun, case: str, owner: Nominal | None = None) -> Nominal:
    countable = noun.plural != "-"
    plural = countable and chance(draw, 0.4)
    german, article, declension = determiner(draw, noun, case, plural, owner)
    de, en = [german], [article]
    if countable and ADJECTIVES_OF[noun.kind] and chance(draw, 0.3):
        stem, options, _ = draw.rng.choice(ADJECTIVES_OF[noun.kind])
        de.append(stem + adjective_ending(declension, case, noun, plural))
        en += english(draw, options)
    de.append(noun_form(noun, case, plural))
    en.append(english(draw, noun.english)[plural])
    definite = article not in ("a", "two", "many")
    if article == "a" and en[1][0] in "aeiou":
        en[0] = "an"
    if plural:
        return Nominal(de, en, True, definite, ("ihr", "their"), ("sie", "they"))
    if noun.gender == "f":
        return Nominal(de, en, False, definite, ("ihr", "her"), ("sie", "she"))
    pronoun = ("er", "he") if noun.gender == "m" else ("es", "he")
    return Nominal(de, en, False, definite, ("sein", "his"), pronoun)


def pronoun_for(nominal: Nominal) -> Nominal:
    return nominal._replace(de=[nominal.pronoun[0]], en=[nominal.pronoun[1]])


def attach(nominal: Nominal, de: list[str], en: list[str]) -> Nominal:
    return nominal._replace(de=nominal.de + de, en=nominal.en + en)


def subject_phrase(draw: Draw) -> Nominal:
    """Somebody, alone or followed by a phrase or a relative clause that separates the head from its verb."""
    if chance(draw, 0.06):
        return Nominal(["wir"], ["we"], True, True, ("unser", "our"), ("wir", "we"))
    noun = any_noun(draw, "person")
    head = noun_phrase(draw, noun, "nom")
    roll = draw.rng.random()
    if roll < 0.15:
        inner = noun_phrase(draw, any_noun(draw, "container", "clothes"), "dat")
        return attach(head, ["mit", *inner.de], ["with", *inner.en])
    if roll < 0.3:
        inner = noun_phrase(draw, any_noun(draw, "place"), "dat")
        return attach(head, ["aus", *inner.de], ["from", *inner.en])
    if roll < 0.42:
        relative = head._replace(de=[column(DEFINITE["nom"], noun, head.plural)])
        part = active_clause(draw, relative, draw.rng.choice(["present", "past"]), chance(draw, 0.3))
        who = english(draw, [["who"], ["that"]])
        return attach(head, [",", *verb_last(part), ","], who + part.en_predicate + part.time.en)
    return head


def third_person(base: str) -> str:
    if base.endswith(("s", "sh", "ch", "x", "o")):
        return base + "es"
    return base[:-1] + "ies" if base.endswith("y") and base[-2] not in "aeiou" else base + "s"


def auxiliary(draw: Draw, word: str, negative: bool) -> list[str]:
    contracted = "won't" if word == "will" else word + "n't"
    return english(draw, [[word, "not"], [contracted]]) if negative else [word]


def english_verb(draw: Draw, verb: Verb, tense: str, plural: bool, negative: bool, timed: bool) -> list[str]:
    base, past, participle, *particles = english(draw, verb.english)
    past_time = tense in ("past", "narrative")
    if tense == "past" and not timed and not draw.informal:  # a past time would rule the perfect out
        words = [*auxiliary(draw, "have" if plural else "has", negative), participle]
    elif tense == "future":
        words = [*auxiliary(draw, "will", negative), base]
    elif tense == "modal":
        words = [base]
    elif negative:
        words = [*auxiliary(draw, "did" if past_time else "do" if plural else "does", True), base]
    else:
        words = [past if past_time else base if plural else third_person(base)]
    return words + particles


def verb_group(draw: Draw, verb: Verb, tense: str, plural: bool, negative: bool, timed: bool) -> VerbGroup:
    words = english_verb(draw, verb, tense, plural, negative, timed)
    if tense == "present":
        return VerbGroup(verb.infinitive if plural else verb.third, verb.prefix, [], words)
    if tense in ("past", "narrative"):
        return VerbGroup(verb.auxiliary[plural], "", [verb.prefix + verb.participle], words)
    future = Phrase(["werden" if plural else "wird"], [])
    finite = agreeing(draw, MODALS, plural) if tense == "modal" else future
    return VerbGroup(finite.de[0], "", [verb.prefix + verb.infinitive], finite.en + words)


def time_phrase(draw: Draw, tense: str, timed: bool) -> Phrase:
    return listed(draw, TIMES[tense]) if timed else Phrase([], [])


def adjuncts(draw: Draw, owner: Nominal, direction: bool = False) -> list[Phrase]:
    """Manner or company, then place."""
    found = []
    if chance(draw, 0.2):
        found.append(listed(draw, MANNERS))
    elif chance(draw, 0.2):
        friend = noun_phrase(draw, any_noun(draw, "friend"), "dat", owner)
        found.append(Phrase(["mit", *friend.de], ["with", *friend.en]))
    if direction or chance(draw, 0.25):
        place = noun_phrase(draw, any_noun(draw, "place"), "acc" if direction else "dat", owner)
        found.append(Phrase(["in", *place.de], ["to" if direction else "in", *place.en]))
    return found


def ambiguous_event(draw: Draw) -> Event:
    """The verb gives the sense of the object away, or else the agent hints at it."""
    senses = AMBIGUOUS[draw.rng.choice(list(AMBIGUOUS))]
    sense = draw.rng.choices(senses, weights=(3, 2))[0]
    if chance(draw, 0.7):
        return Event(draw.rng.choice(sense.cues), [sense.noun], any_noun(draw, "person"))
    agent = draw.rng.choice(sense.agents) if chance(draw, 0.85) else any_noun(draw, "person")
    return Event(draw.rng.choice(WEAK), [sense.noun], agent)


def event(draw: Draw) -> Event:
    roll = draw.rng.random()
    if roll < 0.25:
        return ambiguous_event(draw)
    verb = draw.rng.choice(OBJECT_VERBS if roll < 0.75 else BARE_VERBS)
    nouns = [any_noun(draw, *verb.kinds)] if verb.kinds else []
    return Event(verb, nouns, any_noun(draw, "person"))


def active_clause(draw: Draw, subject: Nominal, tense: str, timed: bool) -> Clause:
    return event_clause(draw, subject, tense, timed, event(draw))


def event_clause(draw: Draw, subject: Nominal, tense: str, timed: bool, given: Event) -> Clause:
    verb, nouns, _ = given
    case = "dat" if verb.governs in ("dat", "mit") else "acc"
    preposition = [verb.governs] if verb.governs in ("mit", "auf") else []
    found = [(noun, noun_phrase(draw, noun, case, subject)) for noun in nouns]
    definite = all(nominal.definite for _, nominal in found)
    # "die frau sieht das kind": with a person in front, subject and object could be swapped
    objects = [Phrase(preposition + nominal.de, nominal.en, noun.kind != "person") for noun, nominal in found]
    negative = definite and tense != "modal" and chance(draw, 0.15)
    group = verb_group(draw, verb, tense, subject.plural, negative, timed)
    extra = adjuncts(draw, subject, verb.direction)
    denial = [Phrase(["nicht"], [], False)] * negative
    middle = objects + denial + extra if definite and not preposition else extra + denial + objects
    predicate = group.en + [word for phrase in objects + extra for word in phrase.en]
    return Clause(subject, group, time_phrase(draw, tense, timed), middle, subject.en, predicate)


def ambiguous_clause(draw: Draw, tense: str, timed: bool) -> Clause:
    given = ambiguous_event(draw)
    return event_clause(draw, noun_phrase(draw, given.agent, "nom"), tense, timed, given)


def passive_clause(draw: Draw, tense: str, timed: bool) -> Clause:
    """In the present or past. Informal English may name the agent first, in the active."""
    verb, nouns, doer = ambiguous_event(draw)
    patient, agent = noun_phrase(draw, nouns[0], "nom"), noun_phrase(draw, doer, "dat")
    negative, timing = chance(draw, 0.1), time_phrase(draw, tense, timed)
    finite, be = {
        "present": (("wird", "is"), ("werden", "are")),
        "past": (("wurde", "was"), ("wurden", "were")),
    }[tense][patient.plural]
    by = [Phrase(["von", *agent.de], ["by", *agent.en])] if chance(draw, 0.75) else []
    middle = by + [Phrase(["nicht"], [], False)] * negative
    group = VerbGroup(finite, "", [verb.prefix + verb.participle], [])
    if by and draw.informal and chance(draw, 0.5):
        predicate = english_verb(draw, verb, tense, agent.plural, negative, timed) + patient.en
        return Clause(patient, group, timing, middle, agent.en, predicate)
    predicate = auxiliary(draw, be, negative) + english(draw, verb.english)[2:] + (by[0].en if by else [])
    return Clause(patient, group, timing, middle, patient.en, predicate)


def state_clause(draw: Draw, subject: Nominal, tense: str, timed: bool) -> Clause:
    """Somebody is or was tired, ill, ..."""
    state = listed(draw, STATES)
    finite, be = {
        "present": (("ist", "is"), ("sind", "are")),
        "past": (("war", "was"), ("waren", "were")),
    }["present" if tense == "present" else "past"][subject.plural]
    very = english(draw, [["very"], ["really"], ["so"]]) if chance(draw, 0.4) else []
    group = VerbGroup(finite, "", ["sehr"] * len(very) + state.de, [])
    return Clause(subject, group, time_phrase(draw, tense, timed), [], subject.en, [be, *very, *state.en])


def any_clause(draw: Draw, tense: str, timed: bool) -> Clause:
    roll = draw.rng.random()
    if roll < 0.25:
        return ambiguous_clause(draw, tense, timed)
    if roll < 0.45 and tense in ("present", "past"):
        return passive_clause(draw, tense, timed)
    if roll < 0.5 and tense in ("present", "past"):
        return state_clause(draw, subject_phrase(draw), tense, timed)
    return active_clause(draw, subject_phrase(draw), tense, timed)


def verb_last(part: Clause) -> list[str]:
    middle = [word for phrase in part.middle for word in phrase.de]
    return [*part.subject.de, *part.time.de, *middle, *part.verb.ending, part.verb.prefix + part.verb.finite]


def verb_second(draw: Draw, part: Clause, preceded: bool = False) -> list[str]:
    """`preceded`: a subordinate clause stands in first place already."""
    first, time, middle = [], part.time.de, list(part.middle)
    topics = [phrase for phrase in middle if phrase.may_front]
    if not preceded and time and chance(draw, 0.35 if draw.informal else 0.55):
        first, time = time, []
    elif not preceded and topics and chance(draw, 0.25):
        topic = draw.rng.choice(topics)
        first = topic.de
        middle.remove(topic)
    finite, subject = [part.verb.finite], part.subject.de
    start = first + finite + subject if first or preceded else subject + finite
    particle = [draw.rng.choice(["ja", "halt"])] if chance(draw, 0.25 if draw.informal else 0.03) else []
    rest = [word for phrase in middle for word in phrase.de]
    return start + particle + time + rest + part.verb.ending + [part.verb.prefix] * bool(part.verb.prefix)


def english_clause(draw: Draw, part: Clause, may_front: bool) -> list[str]:
    """Formal English likes the time first, informal English last."""
    words = part.en_subject + part.en_predicate
    if may_front and part.time.en and chance(draw, 0.1 if draw.informal else 0.85):
        return [*part.time.en, ",", *words]
    return words + part.time.en


def simple_sentence(draw: Draw) -> Phrase:
    tense = draw.rng.choice(["present", "past", "past", "future", "modal"])
    part = any_clause(draw, tense, chance(draw, 0.6))
    return Phrase(verb_second(draw, part), english_clause(draw, part, True))


def reported_sentence(draw: Draw) -> Phrase:
    """die lehrerin sagt , dass ..."""
    speaker = subject_phrase(draw)
    speech = agreeing(draw, SPEECH, speaker.plural)
    tense, timed = draw.rng.choice(["present", "past", "future", "modal"]), chance(draw, 0.5)
    if chance(draw, 0.25):
        part = active_clause(draw, pronoun_for(speaker), tense, timed)
    else:
        part = any_clause(draw, tense, timed)
    de = [*speaker.de, *speech.de, ",", "dass", *verb_last(part)]
    return Phrase(de, speaker.en + speech.en + english_clause(draw, part, False))


def conjunction(draw: Draw, tense: str) -> Phrase:
    """`wenn` is when before a habit and if before a plan: the tense of the main clause tells."""
    times = ["als"] if tense == "narrative" else ["wenn", "wenn"]
    german = draw.rng.choice(["weil", "obwohl", *times])
    if german == "wenn":
        return Phrase([german], ["when" if tense == "present" else "if"])
    return Phrase([german], english(draw, [option.split() for option in CONJUNCTIONS[german].split("/")]))


def complex_sentence(draw: Draw) -> Phrase:
    """A main and a subordinate clause, in either order: the pronoun may come before its noun."""
    tense = draw.rng.choice(["present", "narrative", "narrative", "future", "modal"])
    timed = chance(draw, 0.4)
    main = active_clause(draw, subject_phrase(draw), tense, timed)
    coreferent, state = chance(draw, 0.65), chance(draw, 0.4)
    other = pronoun_for(main.subject) if coreferent else noun_phrase(draw, any_noun(draw, "person"), "nom")
    inner = "narrative" if tense == "narrative" else "present"
    part = (state_clause if state else active_clause)(draw, other, inner, not timed and chance(draw, 0.4))
    link = conjunction(draw, tense)
    de, en = link.de + verb_last(part), link.en + english_clause(draw, part, False)
    if chance(draw, 0.5):
        rest = english_clause(draw, main, False)
        return Phrase([*de, ",", *verb_second(draw, main, preceded=True)], [*en, ",", *rest])
    return Phrase([*verb_second(draw, main), ",", *de], english_clause(draw, main, True) + en)


def contract(words: list[str]) -> list[str]:
    """in dem -> im; and one comma where two meet, none before the full stop."""
    text = f" {' '.join(words)} "
    for pair, contraction in CONTRACTIONS.items():
        text = text.replace(f" {pair} ", f" {contraction} ")
    return text.split()


def sentence(rng: Random) -> tuple[str, str]:
    """A German and an English sentence, lower-cased, with spaces between tokens."""
    kinds = [simple_sentence, reported_sentence, complex_sentence]
    while True:
        draw = Draw(rng, informal=rng.random() < 0.6)
        phrase = rng.choices(kinds, weights=(9, 5, 6))[0](draw)
        de, en = contract([*phrase.de, "."]), [*phrase.en, "."]
        if all(MIN_TOKENS <= len(side) <= MAX_TOKENS for side in (de, en)):
            return " ".join(de), " ".join(en)


def main() -> int:
    return generate(
        "Write a small German-English corpus", ("de", "en"), sentence, {"train": 6000, "valid": 300, "test": 500}
    )


if __name__ == "__main__":
    run_program(main)
