"""Which things the sample models learn, and how each is called in a caption.

A *thing* is one Unicode emoji: "pig face", "woman astronaut". Flags, symbols and skin tones are left out; people,
faces, animals and food come first, because fewer things learned well beat many learned badly.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

# Unicode sub-groups taken whole (less EXCLUDED below).
SUBGROUPS = [
    "face-smiling",
    "face-affection",
    "face-tongue",
    "face-hand",
    "face-neutral-skeptical",
    "face-sleepy",
    "face-unwell",
    "face-hat",
    "face-glasses",
    "face-concerned",
    "face-negative",
    "face-costume",
    "cat-face",
    "monkey-face",
    "person-role",
    "person-fantasy",
    "person-sport",
    "person",
    "animal-mammal",
    "animal-bird",
    "animal-amphibian",
    "animal-reptile",
    "animal-marine",
    "animal-bug",
    "plant-flower",
    "plant-other",
    "food-fruit",
    "food-vegetable",
    "food-prepared",
    "food-asian",
    "food-sweet",
    "drink",
]

# Single things from the other sub-groups: large, simple, unmistakable shapes.
EXTRAS = {
    "ballet dancer", "woman dancing", "man dancing", "person in lotus position", "anatomical heart", "brain", "eye",
    "red heart", "broken heart", "house", "castle", "volcano", "tent", "automobile", "bus", "fire engine",
    "police car", "taxi", "tractor", "motorcycle", "bicycle", "sailboat", "airplane", "helicopter", "rocket",
    "flying saucer", "alarm clock", "full moon face", "sun with face", "ringed planet", "star", "cloud", "rainbow",
    "umbrella", "snowman", "fire", "jack-o-lantern", "Christmas tree", "balloon", "wrapped gift", "trophy",
    "soccer ball", "baseball", "basketball", "american football", "tennis", "bowling", "crystal ball",
    "video game", "teddy bear", "artist palette", "glasses", "sunglasses", "necktie", "t-shirt", "jeans", "dress",
    "backpack", "running shoe", "high-heeled shoe", "crown", "top hat", "ring", "bell", "guitar", "violin",
    "trumpet", "drum", "mobile phone", "telephone", "laptop", "television", "camera", "light bulb", "candle",
    "open book", "money bag", "envelope", "pencil", "scissors", "key", "hammer", "axe", "bomb", "magnet", "door",
    "bed", "chair", "toilet", "shopping cart", "syringe", "microscope",
}  # fmt: skip

# People come three times (person, man, woman) with nearly the same drawing: keep roles that look like something.
ROLES = (
    "health worker|student|judge|farmer|cook|mechanic|scientist|singer|artist|pilot|astronaut|firefighter|"
    "police officer|detective|guard|construction worker"
)
FANTASY = "superhero|supervillain|mage|fairy|vampire|elf|genie|zombie"
KEPT_PEOPLE = re.compile(rf"(woman|man) ({ROLES}|{FANTASY})")
EXCLUDED_PEOPLE = re.compile(
    rf"({ROLES}|{FANTASY}|(?:man |woman )?(?:teacher|factory worker|office worker|technologist))"
    r"|.*(pregnant|feeding|turban|skullcap|headscarf|Mx Claus|hairy creature|wrestling|water polo|handball|juggling"
    r"|cartwheeling|bouncing ball|mountain biking|rowing).*"
    r"|(person|man|woman): .*|person (with veil|in tuxedo|golfing|surfing|swimming|lifting weights|biking)"
    r"|man (with veil)|woman in tuxedo|older person|merperson"
)
EXCLUDED = {
    "face with bags under eyes", "distorted face", "head shaking horizontally", "head shaking vertically",
    "face in clouds", "dotted line face", "shaking face", "melting face", "guide dog", "service dog", "black cat",
    "paw prints", "feather", "wing", "black bird", "goose", "phoenix", "spider web", "microbe", "white flower",
    "rosette", "wilted flower", "sheaf of rice", "herb", "leaf fluttering in wind", "empty nest", "leafless tree",
    "lime", "pea pod", "ginger root", "brown mushroom", "root vegetable", "leafy green", "pouring liquid", "ice",
    "skull and crossbones", "smiling face", "two-hump camel", "orca", "pig nose", "clinking glasses",
    "teacup without handle", "face without mouth", "hyacinth", "lotus", "fish cake with swirl", "cooking", "mate",
    "oden", "horse racing", "rolling on the floor laughing", "front-facing baby chick", "grinning face with big eyes",
    "kissing face", "kissing face with smiling eyes", "hushed face", "anguished face", "downcast face with sweat",
    "persevering face", "weary face", "slightly frowning face", "anxious face with sweat", "sad but relieved face",
    "frowning face with open mouth", "expressionless face", "face exhaling", "fearful face", "unamused face",
    "slightly smiling face", "face with open eyes and hand over mouth", "smiling face with smiling eyes",
}  # fmt: skip

# Grammar of the captions. Everything else takes "a" or "an".
SOME = {
    "bread", "baguette bread", "broccoli", "garlic", "bacon", "sushi", "popcorn", "butter", "salt", "canned food",
    "cooked rice", "curry rice", "spaghetti", "shaved ice", "custard", "sake", "mate", "coral", "oden", "candy",
    "cooking", "fondue", "dango", "falafel", "jeans", "glasses", "sunglasses", "green salad",
}  # fmt: skip
RENAMED = {
    "Santa Claus": "santa claus",
    "Mrs. Claus": "mrs. claus",
    "star-struck": "a star-struck face",
    "tennis": "a tennis ball",
    "bowling": "a bowling ball",
    "meat on bone": "some meat on a bone",
    "clinking beer mugs": "two clinking beer mugs",
    "face holding back tears": "a face holding back tears",
}
SINGULAR_S = ("ss", "us", "rhinoceros")
AFTER_PREPOSITION = {
    "tuxedo": "a tuxedo", "veil": "a veil", "halo": "a halo", "crown": "a crown", "monocle": "a monocle",
    "medical mask": "a medical mask", "thermometer": "a thermometer", "head-bandage": "a head-bandage",
    "raised eyebrow": "a raised eyebrow", "diagonal mouth": "a diagonal mouth", "open mouth": "an open mouth",
    "wry smile": "a wry smile", "popping cork": "a popping cork", "tear": "a tear", "straw": "a straw",
    "spoon": "a spoon", "tongue": "a tongue", "face": "a face",
}  # fmt: skip


@dataclass(frozen=True)
class Thing:
    """One emoji: `hexcode` without variation selectors, its Unicode `name`, its `caption`, and where it belongs."""

    hexcode: str
    name: str
    caption: str
    group: str
    subgroup: str
    tags: tuple[str, ...]

    @property
    def held_out(self) -> bool:
        """True for about 5 % of the things, fixed by their name: no sample model trains on them."""
        return hashlib.sha256(self.name.encode()).digest()[0] < 13


def caption_of(name: str) -> str:
    """The short English phrase for a Unicode name: "woman in tuxedo" becomes "a woman in a tuxedo"."""
    if name in RENAMED:
        return RENAMED[name]
    words = name
    for preposition in ("with", "in", "on"):
        head, found, tail = words.partition(f" {preposition} ")
        if found and tail in AFTER_PREPOSITION:
            words = f"{head} {preposition} {AFTER_PREPOSITION[tail]}"
    head = re.split(r" (?:with|in|on|over) ", name)[0]
    plural = head.endswith("s") and not head.endswith(SINGULAR_S)
    if name in SOME or plural:
        return f"some {words}".lower()
    article = "an" if words[0].lower() in "aeiou" and not words.lower().startswith(("uni", "ewe")) else "a"
    return f"{article} {words}".lower()


def _kept(name: str, subgroup: str) -> bool:
    if subgroup not in SUBGROUPS:
        return name in EXTRAS
    if name in EXCLUDED or "facing right" in name:
        return False
    return bool(KEPT_PEOPLE.fullmatch(name)) or not EXCLUDED_PEOPLE.fullmatch(name)


def load_things(openmoji: Path) -> list[Thing]:
    """Every chosen thing, in Unicode order, read from the `openmoji` npm package at that folder."""
    rows = json.loads((openmoji / "data" / "openmoji.json").read_text())
    return [
        Thing(
            hexcode=row["hexcode"].replace("-FE0F", "").lower(),
            name=row["annotation"],
            caption=caption_of(row["annotation"]),
            group=row["group"],
            subgroup=row["subgroups"],
            tags=tuple(t.strip() for t in row["tags"].split(",") if t.strip()),
        )
        for row in sorted(rows, key=lambda r: (r["order"] == "", r["order"] or 0, r["hexcode"]))
        if not row["skintone"] and not row["group"].startswith("extras") and _kept(row["annotation"], row["subgroups"])
    ]
