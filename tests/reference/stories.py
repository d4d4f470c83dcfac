"""Short stories with events that refer back to earlier facts, and questions about them."""

from __future__ import annotations

import random
from dataclasses import dataclass

from grammar import Bindings, Domain, Grammar, Slot, choices, derived, other_than

GIRLS = ("Mia", "Anna", "Lily", "Zoe", "Ella", "Rosa", "Nora", "Ivy")
BOYS = ("Tom", "Ben", "Max", "Sam", "Leo", "Jack", "Finn", "Hugo")
NAMES = GIRLS + BOYS
COLOURS = ("red", "blue", "green", "yellow", "white", "brown", "pink", "purple")

PLACES = {
    "park": ("under a bench", "behind the old tree", "next to the pond", "beside the swings"),
    "beach": ("behind a big rock", "under a towel", "in an old boat", "beside the sand castle"),
    "farm": ("in the hay", "behind the barn", "under the cart", "next to the well"),
    "market": ("under a table", "behind a basket", "next to the flower stand", "between two boxes"),
    "school": ("under a chair", "behind the door", "on the top shelf", "next to the window"),
    "lake": ("in the tall grass", "behind the little hut", "under the bridge", "next to a log"),
}
GAMES = {
    "park": ("fed the ducks", "climbed the trees", "played on the swings"),
    "beach": ("built a sand castle", "jumped over the waves", "picked up shells"),
    "farm": ("fed the hens", "brushed the pony", "rode on the cart"),
    "market": ("looked at the flowers", "tasted the cheese", "listened to the music"),
    "school": ("painted a picture", "sang a song", "read a long story"),
    "lake": ("threw stones into the water", "watched the fish", "picked flowers"),
}

# animal: (trap, why bare hands do not help, tool, how the tool helps)
RESCUES = {
    "kitten": ("high up in a tree", "the branch was too high", "ladder", "climbed up the ladder"),
    "lamb": ("deep in the mud", "the mud was too deep", "rope", "pulled with the rope"),
    "duckling": ("in an old net", "the knots were too tight", "knife", "cut the net with the knife"),
    "puppy": ("at the bottom of a hole", "the hole was too deep", "basket", "let the basket down"),
    "owl": ("in a thorn bush", "the thorns were too sharp", "pair of gloves", "put on the gloves"),
}
PEOPLE = ("baker", "farmer", "teacher", "gardener", "miller", "sailor")
FOODS = ("apples", "cookies", "pears", "plums", "muffins", "sandwiches")
# trouble: (how it starts, what the friend takes out, what they do with it)
TROUBLES = {
    "rain": ("it began to rain", "umbrella", "They stood close together under the umbrella and stayed dry."),
    "cold": ("a cold wind began to blow", "blanket", "They sat close together under the blanket and stayed warm."),
    "dark": ("it grew very dark", "lantern", "They walked home in the light of the lantern."),
    "thirst": ("the sun grew very hot", "bottle of water", "They both drank from the bottle and felt much better."),
}
# present: (missing part, who has it)
PRESENTS = {
    "honey cake": ("honey", "beekeeper"),
    "apple pie": ("flour", "miller"),
    "paper kite": ("string", "sailor"),
    "warm scarf": ("wool", "shepherd"),
    "wooden boat": ("wood", "carpenter"),
    "pretty candle": ("wax", "beekeeper"),
}
SELLERS = ("beekeeper", "miller", "sailor", "shepherd", "carpenter")
CHORES = ("sweep the floor", "feed the hens", "water the flowers", "wash the windows", "carry the baskets")
CHORES_DONE = dict(
    zip(CHORES, ("swept the floor", "fed the hens", "watered the flowers", "washed the windows", "carried the baskets"))
)
REWARDS = ("a sweet bun", "a shiny coin", "a red apple", "a bag of nuts")
# fear: (what helps, the outing, what happens there, what the hero does)
FEARS = {
    "the dark": ("a small lamp", "slept in a tent", "it grew very dark", "lit the small lamp"),
    "thunder": ("a brave song", "walked around the lake", "there was a loud storm", "sang the brave song"),
    "deep water": ("a swimming ring", "rowed across the lake", "the boat tipped over", "held on to the swimming ring"),
    "big dogs": ("a bag of bones", "went to the farm", "a big dog ran up to them", "gave the dog a bone"),
}


# What is the same in every story about a hero: so small a model knows its characters rather than keep track of them.
# hero: (best friend, colour and name of the favourite thing, relative, favourite food, how much of it, character)
HEROES = {
    "Mia": ("Ben", "red", "kite", "grandmother", "apples", "two", "brave"),
    "Anna": ("Lily", "blue", "ball", "aunt", "cookies", "four", "happy"),
    "Lily": ("Anna", "yellow", "hat", "grandfather", "pears", "six", "clever"),
    "Zoe": ("Max", "green", "book", "uncle", "plums", "eight", "quiet"),
    "Ella": ("Hugo", "pink", "scarf", "grandmother", "muffins", "two", "kind"),
    "Rosa": ("Nora", "purple", "drum", "aunt", "sandwiches", "four", "funny"),
    "Nora": ("Rosa", "white", "boat", "uncle", "apples", "six", "brave"),
    "Ivy": ("Finn", "brown", "key", "grandfather", "cookies", "eight", "kind"),
    "Tom": ("Sam", "green", "cup", "grandfather", "pears", "two", "clever"),
    "Ben": ("Mia", "blue", "bell", "uncle", "plums", "four", "quiet"),
    "Max": ("Zoe", "red", "drum", "grandmother", "muffins", "six", "funny"),
    "Sam": ("Tom", "yellow", "boat", "aunt", "sandwiches", "eight", "happy"),
    "Leo": ("Jack", "brown", "hat", "grandfather", "apples", "two", "kind"),
    "Jack": ("Leo", "white", "kite", "aunt", "cookies", "four", "brave"),
    "Finn": ("Ivy", "purple", "ball", "uncle", "pears", "six", "happy"),
    "Hugo": ("Ella", "pink", "book", "grandmother", "plums", "eight", "clever"),
}
OTHER_COLOUR = dict(zip(COLOURS, COLOURS[1:] + COLOURS[:1]))
LENDERS = {"ladder": "farmer", "rope": "sailor", "knife": "baker", "basket": "miller", "pair of gloves": "gardener"}


def _gender(girl: str, boy: str) -> dict[str, str]:
    return {name: girl if name in GIRLS else boy for name in NAMES}


def _column(table: dict[str, tuple[str, ...]], index: int) -> dict[str, str]:
    return {key: row[index] for key, row in table.items()}


def _person(var: str, prefix: str) -> dict[str, Domain]:
    forms = {"He": ("She", "He"), "he": ("she", "he"), "him": ("her", "him"), "his": ("her", "his"), "His": ("Her", "His")}
    return {prefix + form: derived(var, _gender(*pair)) for form, pair in forms.items()}


GRAMMAR = Grammar(
    {
        "hero": choices(*NAMES),
        "friend": derived("hero", _column(HEROES, 0)),
        **_person("hero", ""),
        **_person("friend", "f"),
        "kid": derived("hero", _gender("girl", "boy")),
        "mood": derived("hero", _column(HEROES, 6)),
        "weather": choices("sunny", "warm", "windy", "bright"),
        "time": choices("morning", "afternoon", "day"),
        "colour": derived("hero", _column(HEROES, 1)),
        "colour2": derived("colour", OTHER_COLOUR),
        "thing": derived("hero", _column(HEROES, 2)),
        "giver": derived("hero", _column(HEROES, 3)),
        "place": choices(*PLACES),
        "spot": other_than(derived("place", PLACES), "spot1"),
        "spot1": other_than(derived("place", PLACES), "spot"),
        "Spot": derived("spot", {s: s.capitalize() for spots in PLACES.values() for s in spots}),
        "game": derived("place", GAMES),
        "game2": other_than(derived("place", GAMES), "game"),
        "junk": choices("an old shoe", "a snail", "a frog", "some leaves", "a spoon"),
        "finder": lambda b: (b["hero"], b["friend"]),
        "animal": choices(*RESCUES),
        "trap": derived("animal", _column(RESCUES, 0)),
        "reason": derived("animal", _column(RESCUES, 1)),
        "tool": derived("animal", _column(RESCUES, 2)),
        "rescue": derived("animal", _column(RESCUES, 3)),
        "person": lambda b: (LENDERS[RESCUES[b["animal"]][2]],) if "animal" in b else PEOPLE,
        "count": derived("hero", _column(HEROES, 5)),
        "half": derived("count", {"two": "one", "four": "two", "six": "three", "eight": "four"}),
        "food": derived("hero", _column(HEROES, 4)),
        "trouble": choices(*TROUBLES),
        "start": derived("trouble", _column(TROUBLES, 0)),
        "shelter": derived("trouble", _column(TROUBLES, 1)),
        "relief": derived("trouble", _column(TROUBLES, 2)),
        "a_shelter": derived("shelter", {"umbrella": "an", "blanket": "a", "lantern": "a", "bottle of water": "a"}),
        "present": choices(*PRESENTS),
        "a_present": derived("present", {p: "an" if p[0] == "a" else "a" for p in PRESENTS}),
        "part": derived("present", _column(PRESENTS, 0)),
        "seller": derived("present", _column(PRESENTS, 1)),
        "chore": derived("seller", dict(zip(SELLERS, CHORES))),
        "chored": derived("chore", CHORES_DONE),
        "reward": choices(*REWARDS),
        "fear": choices(*FEARS),
        "charm": derived("fear", _column(FEARS, 0)),
        "trip": derived("fear", _column(FEARS, 1)),
        "event": derived("fear", _column(FEARS, 2)),
        "answer": derived("fear", _column(FEARS, 3)),
        "elder": derived("hero", _column(HEROES, 3)),
    }
)

_INTRO: Slot = (
    "Once there was a {mood} {kid} named {hero}.",
    "{hero} was a {mood} {kid}.",
    "There once was a {kid} called {hero}.",
)


@dataclass(frozen=True)
class Plot:
    slots: tuple[Slot, ...]
    questions: tuple[tuple[str, str], ...]  # (question, answer) templates over the same variables


LOST = Plot(
    (
        _INTRO,
        ("{He} had a {colour} {thing} and loved it very much.", "{His} {giver} had given {him} a {colour} {thing}."),
        ("One {weather} {time}, {hero} took the {thing} to the {place}.", "One {time}, {he} went to the {place} with the {thing}."),
        ("{His} friend {friend} came too.", "There {he} met {his} friend {friend}."),
        ("They {game} and {game2}.", "The two friends {game}.", "First they {game}, and then they {game2}."),
        ("But when it was time to go home, the {thing} was gone.", "Then {hero} looked around. The {colour} {thing} was gone!"),
        ('"Oh no! I have lost my {thing}!" cried {hero}.', "{hero} was very sad and began to cry."),
        ('"Do not worry," said {friend}. "We will find it together."', '"I will help you," said {friend}.'),
        ("They looked {spot1}, but it was not there.", "They looked {spot1}, but they found only {junk}."),
        ("Then {finder} looked {spot}. There was the {colour} {thing}!", "At last {finder} found the {thing} {spot}."),
        ('"Thank you, {friend}! You are a good friend," said {hero}.', "{hero} laughed and gave {friend} a big hug."),
        ("{hero} held the {colour} {thing} tight all the way home.", "They walked home together, and {hero} carried the {thing}."),
        ("", "From that day on, {hero} took good care of the {thing}."),
    ),
    (
        ("What did {hero} lose?", "{hero} lost a {colour} {thing}."),
        ("Where was the {thing}?", "The {thing} was {spot}."),
        ("Who found the {thing}?", "{finder} found the {thing}."),
        ("Where did {hero} go?", "{hero} went to the {place}."),
    ),
)

RESCUE = Plot(
    (
        _INTRO,
        ("One {weather} {time}, {hero} walked to the {place}.", "One {time}, {he} was on {his} way to the {place}."),
        ("There {he} heard a small cry. A little {animal} was stuck {trap}.", "There {he} saw a little {animal}. It was stuck {trap}."),
        ("{hero} tried to help, but {reason}.", "{He} wanted to help it, but {reason}."),
        ('"Wait here, little {animal}," said {hero}. "I will get help."', '"I need a {tool}," said {hero}.', "{He} thought for a while and had an idea."),
        ("{He} ran to the {person} and asked for a {tool}.", 'Then {he} ran to the {person}. "Please, can you lend me a {tool}?" {he} asked.'),
        ('"Of course," said the {person}, and they went back together.', "The {person} gave {him} the {tool}, and {he} hurried back."),
        ("{hero} {rescue}, and soon the {animal} was free.", "{hero} {rescue} and saved the {animal}."),
        ("The {animal} was so happy that it danced around {him}.", "The little {animal} looked at {him} and was not afraid any more."),
        ("{hero} took the {tool} back to the {person} and said thank you.", "Then {he} brought back the {tool} and thanked the {person}."),
        ("From that day on, the {animal} and {hero} were friends.", "The {animal} followed {hero} home, and they became best friends."),
    ),
    (
        ("Which animal was stuck?", "A little {animal} was stuck {trap}."),
        ("Who helped {hero}?", "The {person} helped {hero}."),
        ("What did {hero} ask for?", "{hero} asked for a {tool}."),
        ("Where did {hero} go?", "{hero} went to the {place}."),
    ),
)

SHARE = Plot(
    (
        _INTRO,
        ("One {weather} {time}, {he} went to the {place} with {his} friend {friend}.", "One {time}, {hero} and {his} friend {friend} went to the {place}."),
        ("{hero} had {count} {food} in {his} bag.", "In {his} bag {hero} had {count} {food}."),
        ("They {game} until they were hungry.", "They {game}, and then they sat down to eat."),
        ("But {friend} had forgotten {fhis} lunch.", '"Oh dear, I left my lunch at home," said {friend}.'),
        ('"You can have half of my {food}," said {hero}.', '"Do not be sad. We will share," said {hero}.'),
        ("{He} gave {friend} {half} and kept {half}.", "So {friend} got {half} of the {count} {food}."),
        ("On the way home {start}.", "Later {start}."),
        ("{hero} did not know what to do.", "{hero} was worried."),
        ('"Now I can help you," said {friend}, and took out {a_shelter} {shelter}.', "But {friend} had {a_shelter} {shelter} in {fhis} bag."),
        ("{relief}",),
        ('"You shared your {food} and I share my {shelter}," said {friend}.', "{hero} was glad that {he} had shared the {food}.", "Good friends help each other."),
    ),
    (
        ("What did {hero} share?", "{hero} shared the {food}."),
        ("How many {food} did {friend} get?", "{friend} got {half}."),
        ("What did {friend} have in the bag?", "{friend} had {a_shelter} {shelter}."),
        ("Who forgot the lunch?", "{friend} forgot the lunch."),
    ),
)

PRESENT = Plot(
    (
        _INTRO,
        ("The next day was the birthday of {his} friend {friend}.", "{His} best friend was {friend}, and it was {friend}'s birthday."),
        ("{hero} wanted to make {a_present} {present} for {fhim}.", '"I will make {a_present} {present} for {friend}," said {hero}.'),
        ("But there was no {part} in the house.", "{He} looked everywhere, but {he} had no {part}."),
        ("So {he} went to the {seller}.", "{hero} put on {his} shoes and ran to the {seller}."),
        ('"Please, may I have some {part}?" {he} asked.', '"I need some {part} for {a_present} {present}," said {hero}.'),
        ('"Yes, if you {chore} for me," said the {seller}.', '"First you must {chore}," said the {seller}.'),
        ("{hero} {chored}, and the {seller} gave {him} the {part}.", "So {hero} {chored}. Then the {seller} gave {him} the {part}."),
        ("At home {he} made the {present}.", "{He} worked until late, and at last the {present} was ready."),
        ("{friend} was very happy with the {present}.", 'When {friend} saw the {present}, {fhe} jumped for joy.'),
        ('"This is the best present of all!" said {friend}.', '"Thank you, {hero}!" said {friend}. "Did you make it yourself?"', ""),
        ("{hero} smiled and told {fhim} about the {seller}.", "They ate, laughed and played all day.", "{hero} was happy too."),
    ),
    (
        ("What did {hero} make?", "{hero} made {a_present} {present}."),
        ("Who had a birthday?", "{friend} had a birthday."),
        ("Who gave {hero} the {part}?", "The {seller} gave {hero} the {part}."),
        ("What did {hero} do for the {seller}?", "{hero} {chored}."),
    ),
)

FOUND = Plot(
    (
        _INTRO,
        ("One {weather} {time}, {he} was walking at the {place}.", "One {time}, {hero} went to the {place}."),
        ("{Spot} {he} found a {colour} {thing}.", "There {he} found a {colour} {thing} {spot}."),
        ('"Whose {thing} is this?" {he} asked.', '"Someone must miss this {thing}," {he} thought.'),
        ("First {he} asked the {person}.", "{He} showed it to the {person}."),
        ('"No, my {thing} is {colour2}," said the {person}.', '"It is not mine. I have a {colour2} {thing}," said the {person}.'),
        ('"But {friend} has lost a {thing}," said the {person}.', '"Ask {friend}," said the {person}. "{fHe} was here today."'),
        ("So {hero} went to {friend} and showed {fhim} the {thing}.", "{hero} ran to the house of {friend} and knocked on the door."),
        ('"My {colour} {thing}!" cried {friend}. "I looked for it all day."', '"Yes, the {colour} {thing} is mine!" said {friend}.'),
        ("{fHe} thanked {hero} and gave {him} {reward}.", "{friend} was so glad that {fhe} gave {him} {reward}."),
        ("{hero} and {friend} became good friends.", "From then on, {hero} and {friend} played together every day."),
    ),
    (
        ("What did {hero} find?", "{hero} found a {colour} {thing}."),
        ("Where was the {thing}?", "The {thing} was {spot}."),
        ("Who had lost the {thing}?", "{friend} had lost the {thing}."),
        ("What did {hero} get?", "{hero} got {reward}."),
    ),
)

FEAR = Plot(
    (
        _INTRO,
        ("{hero} was afraid of {fear}.", "There was one thing {he} did not like: {he} was afraid of {fear}."),
        ("{He} told {his} {elder} about it.", 'One day {he} told {his} {elder}. "I am afraid of {fear}," {he} said.'),
        ('"Everyone is afraid of something," said {his} {elder}.', '"I was afraid of {fear} too when I was little," said {his} {elder}.'),
        ("Then {his} {elder} gave {him} {charm}.", "{His} {elder} smiled and gave {him} {charm}."),
        ("A week later {hero} and {his} friend {friend} {trip}.", "The next day {hero} {trip} with {friend}."),
        ("At first it was fun, but then {event}.", "Then {event}."),
        ("{friend} was afraid and held {his} hand.", '"Help!" cried {friend}.'),
        ("{hero} thought of {his} {elder} and {answer}.", "But {hero} remembered the words of {his} {elder}. {He} {answer}."),
        ("Soon {friend} was not afraid any more, and {hero} was not afraid either.", "And all at once {hero} was not afraid of {fear} any more."),
        ('"You are very brave, {hero}," said {friend}.', "{friend} thanked {hero} and they went home together."),
        ("That evening {hero} told {his} {elder} the whole story.", "{His} {elder} was very proud of {him}."),
    ),
    (
        ("What was {hero} afraid of?", "{hero} was afraid of {fear}."),
        ("What did {hero} get?", "{hero} got {charm}."),
        ("Who was with {hero}?", "{friend} was with {hero}."),
        ("Who gave {hero} {charm}?", "The {elder} gave {hero} {charm}."),
    ),
)

PLOTS = (LOST, RESCUE, SHARE, PRESENT, FOUND, FEAR)


def write_story(rng: random.Random, plot: Plot | None = None, given: Bindings | None = None) -> tuple[str, Plot, Bindings]:
    """A story, its plot and what happened in it."""
    plot = plot or rng.choice(PLOTS)
    bindings = dict(given or {})
    return GRAMMAR.write(plot.slots, bindings, rng), plot, bindings


def read_story(text: str) -> tuple[Plot, Bindings] | None:
    """The plot and facts of a text that obeys the grammar, or None if anything in it is inconsistent."""
    for plot in PLOTS:
        bindings = GRAMMAR.match(plot.slots, text)
        if bindings is not None:
            return plot, bindings
    return None


def ask(rng: random.Random, plot: Plot, bindings: Bindings) -> list[tuple[str, str]]:
    """All questions about a story with their answers."""
    return [(GRAMMAR.fill(q, bindings, rng), GRAMMAR.fill(a, bindings, rng)) for q, a in plot.questions]
