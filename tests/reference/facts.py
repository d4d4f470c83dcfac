"""The fixed world that the English model answers about: every fact with its one answer and its phrasings."""

from __future__ import annotations

from dataclasses import dataclass

COLOUR_OF = {
    "the sky": "blue", "grass": "green", "snow": "white", "the sun": "yellow", "a banana": "yellow", "coal": "black",
    "a strawberry": "red", "a carrot": "orange", "a lemon": "yellow", "an elephant": "grey", "a frog": "green",
    "milk": "white", "a tomato": "red", "chocolate": "brown", "a pig": "pink", "a crow": "black", "the sea": "blue",
    "a plum": "purple",
}  # fmt: skip
SOUND = {
    "dog": "barks", "cat": "meows", "cow": "moos", "duck": "quacks", "sheep": "bleats", "lion": "roars", "bee": "buzzes",
    "horse": "neighs", "pig": "oinks", "owl": "hoots", "frog": "croaks", "snake": "hisses", "mouse": "squeaks",
    "wolf": "howls", "rooster": "crows",
}  # fmt: skip
HOME = {
    "bee": "in a hive", "bird": "in a nest", "fish": "in the water", "fox": "in a den", "bear": "in a cave",
    "rabbit": "in a burrow", "horse": "in a stable", "dog": "in a kennel", "spider": "in a web",
    "camel": "in the desert", "penguin": "on the ice", "monkey": "in the trees",
}  # fmt: skip
FOOD = {
    "cow": "grass", "rabbit": "carrots", "cat": "fish", "monkey": "bananas", "bear": "honey", "mouse": "cheese",
    "squirrel": "nuts", "horse": "hay", "panda": "bamboo", "frog": "flies", "dog": "bones", "bird": "seeds",
}  # fmt: skip
LEGS = {
    "dog": "four", "cat": "four", "horse": "four", "cow": "four", "bird": "two", "duck": "two", "spider": "eight",
    "ant": "six", "bee": "six", "snake": "no", "fish": "no",
}  # fmt: skip
BABY = {
    "dog": "puppy", "cat": "kitten", "cow": "calf", "horse": "foal", "sheep": "lamb", "pig": "piglet",
    "duck": "duckling", "hen": "chick", "bear": "cub", "goat": "kid", "frog": "tadpole", "goose": "gosling",
}  # fmt: skip
OPPOSITES = [
    ("hot", "cold"), ("big", "small"), ("up", "down"), ("day", "night"), ("happy", "sad"), ("fast", "slow"),
    ("old", "young"), ("open", "closed"), ("full", "empty"), ("light", "dark"), ("wet", "dry"), ("long", "short"),
    ("high", "low"), ("hard", "soft"), ("left", "right"), ("black", "white"), ("good", "bad"), ("loud", "quiet"),
    ("rich", "poor"), ("strong", "weak"), ("early", "late"), ("yes", "no"), ("first", "last"), ("thick", "thin"),
]  # fmt: skip
CAPITALS = {
    "France": "Paris", "Germany": "Berlin", "Italy": "Rome", "Spain": "Madrid", "Portugal": "Lisbon",
    "England": "London", "Ireland": "Dublin", "Austria": "Vienna", "Greece": "Athens", "Poland": "Warsaw",
    "Norway": "Oslo", "Sweden": "Stockholm", "Finland": "Helsinki", "Denmark": "Copenhagen", "Hungary": "Budapest",
    "Russia": "Moscow", "Egypt": "Cairo", "Kenya": "Nairobi", "Japan": "Tokyo", "China": "Beijing",
    "India": "New Delhi", "Canada": "Ottawa", "Cuba": "Havana", "Peru": "Lima",
}  # fmt: skip
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
MONTHS = [
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
]  # fmt: skip
SIDES = {"triangle": "three", "square": "four", "pentagon": "five", "hexagon": "six"}
COUNTS = [
    ("days", "a week", "seven"), ("months", "a year", "twelve"), ("hours", "a day", "24"),
    ("minutes", "an hour", "60"), ("seconds", "a minute", "60"), ("weeks", "a year", "52"),
]  # fmt: skip
NUMBERS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]

SELF = [
    (["Who are you?", "What is your name?", "What are you?"], "I am Nibble, a small language model."),
    (["How big are you?", "Are you big?"], "I am very small: two million numbers in one file."),
    (["Where do you live?", "Where are you?"], "I live in one small file on your computer."),
    (["Who made you?", "Where do you come from?"], "I was trained on made-up stories and simple questions."),
    (["Are you a human?", "Are you a person?", "Are you real?"], "No, I am a computer program."),
    (["Can you do maths?", "Can you calculate?", "Do you like maths?"], "Yes, I use a calculator for sums. Try one!"),
    (["Can you tell stories?", "Do you know any stories?"], "Yes, just ask me for a story about someone."),
    (
        ["What can you do?", "Help!", "What do you know?", "What can I ask you?"],
        "I can tell stories, do sums, and answer questions about animals, colours, opposites, capitals and days.",
    ),
    (["Do you need the internet?", "Are you online?"], "No, everything I know is in my file."),
    (["How old are you?", "When were you born?"], "I am quite new. Models do not have birthdays."),
    (["What is your favourite colour?", "Which colour do you like?"], "I like green, like fresh grass."),
    (["What language do you speak?", "Do you speak English?"], "I speak simple English."),
    (["Hello!", "Hi!", "Hello", "Hi", "Good morning!", "Hey"], "Hello! How can I help you?"),
    (["How are you?", "How do you do?"], "I am fine, thank you. What would you like to know?"),
    (["Thank you!", "Thanks!", "Thank you very much."], "You are welcome!"),
    (["Goodbye!", "Bye!", "See you!"], "Goodbye! Have a nice day."),
]
UNKNOWN_ANSWER = "I am sorry, I do not know that."
UNKNOWN = [
    "Who is the president?", "How do I bake bread?", "What is the weather like?", "Who won the game?",
    "What is love?", "How far away is the moon?", "What is the meaning of life?", "Can you write a poem?",
    "Who wrote this book?", "What time is it?", "How do planes fly?", "What is in the news?", "Why is the sky blue?",
    "How deep is the sea?", "What is a computer?", "Who was the first king?", "How do I get rich?",
    "What should I eat today?", "Can you drive a car?", "What is the capital of Mars?",
    "What is the capital of the moon?", "How much does a house cost?", "Who is your best friend?",
    "What is the best film?",
]  # fmt: skip


@dataclass(frozen=True)
class Fact:
    topic: str
    answer: str
    questions: tuple[str, ...]


def article(noun: str) -> str:
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _pairs(topic: str, pairs: list[tuple[str, str]], answer: str, *questions: str) -> list[Fact]:
    """One fact per (a, b): {a}, {b} and {an} (a with its article) in every template."""
    facts = []
    for a, b in pairs:
        fields = {"a": a, "b": b, "an": article(a)}
        facts.append(Fact(topic, capital(answer.format(**fields)), tuple(capital(q.format(**fields)) for q in questions)))
    return facts


def _cycle(names: list[str], kind: str) -> list[Fact]:
    following = list(zip(names, names[1:] + names[:1]))
    after = ("Which {k} comes after {{a}}?", "What {k} comes after {{a}}?", "What comes after {{a}}?")
    before = ("Which {k} comes before {{b}}?", "What {k} comes before {{b}}?", "What comes before {{b}}?")
    return _pairs(kind, following, "{b} comes after {a}.", *(q.format(k=kind) for q in after)) + _pairs(
        kind, following, "{a} comes before {b}.", *(q.format(k=kind) for q in before)
    )


def _counting() -> list[Fact]:
    pairs = [(str(n), str(n + 1)) for n in range(50)]
    facts = _pairs("counting", pairs, "{b} comes after {a}.", "What number comes after {a}?", "What comes after {a}?")
    facts += _pairs("counting", pairs, "{a} comes before {b}.", "What number comes before {b}?", "What comes before {b}?")
    for n in range(3, 11):
        numbers = ", ".join(NUMBERS[:n])
        facts.append(Fact("counting", capital(numbers) + ".", (f"Count to {NUMBERS[n - 1]}.", f"Can you count to {NUMBERS[n - 1]}?", f"Count to {n}.")))
    return facts


def all_facts() -> list[Fact]:
    """Every fact of the world; the topics name the groups that the measurements report."""
    opposites = OPPOSITES + [(b, a) for a, b in OPPOSITES]
    countries = list(CAPITALS.items())
    facts = _pairs("colour", list(COLOUR_OF.items()), "{a} is {b}.", "What colour is {a}?", "What color is {a}?", "Which colour is {a}?", "Tell me the colour of {a}.")
    facts += _pairs("colour", list(COLOUR_OF.items()), "Yes, {a} is {b}.", "Is {a} {b}?")
    for thing, colour in COLOUR_OF.items():
        wrong = sorted(set(COLOUR_OF.values()) - {colour})
        facts.append(Fact("colour", f"No, {thing} is {colour}.", tuple(f"Is {thing} {c}?" for c in wrong)))
    facts += _pairs("sound", list(SOUND.items()), "{an} {b}.", "What sound does {an} make?", "What does {an} do?", "What does {an} say?")
    facts += _pairs("home", list(HOME.items()), "{an} lives {b}.", "Where does {an} live?", "Where is the home of {an}?")
    facts += _pairs("food", list(FOOD.items()), "{an} eats {b}.", "What does {an} eat?", "What does {an} like to eat?")
    facts += _pairs("legs", list(LEGS.items()), "{an} has {b} legs.", "How many legs does {an} have?", "How many legs has {an}?")
    facts += _pairs("baby", list(BABY.items()), "A baby {a} is called a {b}.", "What is a baby {a} called?", "What do you call a baby {a}?", "What is a young {a} called?")
    facts += _pairs("opposite", opposites, "The opposite of {a} is {b}.", "What is the opposite of {a}?", "Tell me the opposite of {a}.", "Opposite of {a}?")
    facts += _pairs("capital", countries, "The capital of {a} is {b}.", "What is the capital of {a}?", "Which city is the capital of {a}?", "Capital of {a}?", "Tell me the capital of {a}.")
    facts += _pairs("capital", countries, "{b} is the capital of {a}.", "{b} is the capital of which country?", "Which country has the capital {b}?", "Where is {b}?")
    facts += _cycle(DAYS, "day") + _cycle(MONTHS, "month") + _counting()
    facts += _pairs("shape", list(SIDES.items()), "{an} has {b} sides.", "How many sides does {an} have?", "How many corners does {an} have?")
    facts += [Fact("count", capital(f"{per} has {n} {unit}."), (f"How many {unit} are in {per}?", f"How many {unit} does {per} have?")) for unit, per, n in COUNTS]
    facts += [Fact("self", answer, tuple(questions)) for questions, answer in SELF]
    facts += [Fact("unknown", UNKNOWN_ANSWER, (question,)) for question in UNKNOWN]
    return facts
