"""What publishing must not do by a slip: empty a repository, or put another wiki's dataset over it."""

import re
from dataclasses import dataclass
from typing import Any

import yaml

MOST_REMOVED = 0.2  # share of the published rows
FRONT_MATTER = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)
SOURCE = re.compile(r"^\| Source wiki \| (.*) \|$", re.MULTILINE)


@dataclass(frozen=True)
class CardFacts:
    """What a card says of its dataset: the wiki it came from ("" if it says none) and how many rows it has."""

    wiki: str
    rows: int


def facts_of(card: str) -> CardFacts:
    """The facts of a card; one that someone edited beyond recognition says nothing, and has 0 rows."""
    source, front = SOURCE.search(card), FRONT_MATTER.search(card)
    try:
        matter: Any = yaml.safe_load(front[1]) if front else {}
        rows = int(matter["dataset_info"]["splits"][0]["num_examples"])
    except (yaml.YAMLError, KeyError, IndexError, TypeError, ValueError):
        rows = 0
    return CardFacts(source[1] if source else "", rows)


def reason_to_refuse(before: CardFacts, after: CardFacts, removed: int) -> str:
    """Why `after` must not replace `before`, of whose rows it lacks `removed`; empty when it may."""
    if before.wiki and after.wiki and before.wiki != after.wiki:
        return f"it holds a dataset of {before.wiki}, this one is of {after.wiki}"
    if removed > MOST_REMOVED * max(before.rows, 1):
        return f"{removed} of its {before.rows} rows would be removed, more than {MOST_REMOVED:.0%}"
    return ""
