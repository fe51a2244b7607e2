"""Whose word counts for a file's licence."""

import pytest

from tasks.scrape.licence import evidence_of, licence_of

SITE = "CC BY-SA 3.0"


@pytest.mark.parametrize(
    ("templates", "categories", "stated", "expected"),
    [
        (["Template:Information", "Template:Fairuse"], ["Category:Characters"], "", "Fairuse"),
        (["Template:Information"], ["Category:Public domain files"], "", "Public domain files"),
        (["Template:PD-art"], [], "CC0", "CC0"),
        (["Template:Cc-by-2.0"], ["Category:Copyrighted"], "", "Cc-by-2.0"),
        (["Template:Success"], ["Category:Accidents"], "", SITE),
    ],
)
def test_the_nearest_statement_wins(templates, categories, stated, expected):
    assert licence_of(templates, categories, stated, SITE) == expected


def test_nobody_says_anything():
    assert licence_of([], ["Category:Cats"], "", "") == "unknown"


def test_all_evidence_is_kept_in_a_fixed_order():
    said = evidence_of(["Template:B", "Template:A"], ["Category:C"], "CC0", SITE)
    assert said == ("Template:A", "Template:B", "Category:C", "extmetadata: CC0", f"rightsinfo: {SITE}")
