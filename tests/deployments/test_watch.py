"""What counts as news of a wiki."""

from datetime import UTC, datetime, timedelta

from flows.watch import ANNOUNCE_AGAIN, Announced, news
from tasks.records import Inventory, WikiImage

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def inventory(*sha1s: str) -> Inventory:
    images = tuple(
        WikiImage(
            title=f"File:{sha1}.png", sha1=sha1 * 40, url="", page_url="", mime="image/png", width=64, height=64,
            size=1, timestamp="", uploader="", license="",
        )
        for sha1 in sha1s
    )  # fmt: skip
    return Inventory(wiki="", site_name="", rights="", listed=len(images), images=images)


def found(wiki: Inventory, known: set[str], announced: Announced, now: datetime = NOW) -> tuple[list[str], list[str]]:
    told = Announced(at={sha1 * 40: at for sha1, at in announced.at.items()})
    new, fresh = news(wiki, {sha1 * 40 for sha1 in known}, told, now)
    return [image.sha1[0] for image in new], [image.sha1[0] for image in fresh]


def test_only_what_the_dataset_does_not_know_is_new():
    assert found(inventory("a", "b"), {"a"}, Announced(at={})) == (["b"], ["b"])
    assert found(inventory("a"), {"a", "gone from the wiki"}, Announced(at={})) == ([], [])
    assert found(inventory("a"), set(), Announced(at={})) == (["a"], ["a"])


def test_the_same_news_is_told_once_a_day():
    told = Announced(at={"b": NOW})
    assert found(inventory("a", "b"), {"a"}, told) == (["b"], [])
    assert found(inventory("a", "b", "c"), {"a"}, told) == (["b", "c"], ["c"])
    assert found(inventory("a", "b"), {"a"}, told, NOW + ANNOUNCE_AGAIN - timedelta(seconds=1)) == (["b"], [])
    assert found(inventory("a", "b"), {"a"}, told, NOW + ANNOUNCE_AGAIN) == (["b"], ["b"])
