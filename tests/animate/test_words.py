"""Figures and names as a person says them."""

import pytest

from tasks.animate.words import duration, name, size


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.44, "0.4 s"), (41.2, "41 s"), (59.7, "1m 00s"), (185, "3m 05s"), (7859, "2h 10m")]
)
def test_times_are_said_as_a_person_would(seconds, said):
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("count", "said"), [(10, "1 KB"), (830_400, "830 KB"), (2_140_000, "2.1 MB"), (14e9, "14.0 GB")]
)
def test_sizes_are_said_as_a_person_would(count, said):
    assert size(int(count)) == said


def test_a_file_of_a_wiki_is_called_by_its_name():
    assert [name(t) for t in ("File:Red house.png", "Datei:A/B.jpg", "cat")] == ["Red house", "A∕B", "cat"]
