"""How the sample wiki's drawings are chosen (what they look like is in the committed files)."""

from collections import Counter

from samples.models.things import Thing
from samples.wiki.build import KEPT, choose, formats_for


def things() -> list[Thing]:
    groups = {"animal-bird": 150, "food-fruit": 300, "person-fantasy": 40, "sound": 60}
    return [Thing(f"{g}{i}", f"{g} {i}", "", "", g, ()) for g, count in groups.items() for i in range(count)]


def test_the_featured_are_kept_and_the_others_in_even_shares():
    kept, others = choose(things())
    assert len(kept) == KEPT
    assert {t.name for t in kept} | {t.name for t in others} == {t.name for t in things()}
    counts = Counter(t.subgroup for t in kept)
    assert counts["person-fantasy"] == 40
    share = (KEPT - 40) / 510
    for group, count in {"animal-bird": 150, "food-fruit": 300, "sound": 60}.items():
        assert abs(counts[group] - share * count) <= 1


def test_one_more_thing_leaves_the_formats_of_nearly_all_others():
    before, after = formats_for(things()), formats_for(things()[1:])
    changed = [name for name in after if before[name] != after[name]]
    assert len(changed) <= 10  # one at each border between two formats
