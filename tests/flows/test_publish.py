"""Publishing by itself what was collected before."""

import asyncio

import pytest

from flows.collect import collect
from flows.common import handoff
from flows.common.report import Collected, StageFailed
from flows.common.settings import Settings, load_profile
from flows.publish import NothingToPublish, publish
from tests.hub.server import Hub, hub_for

REPO = "tester/drawings"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with hub_for(monkeypatch, tmp_path / "hub") as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


def settings(**dataset: str) -> Settings:
    small = load_profile("sample", ["scrape.max_images=8"])
    return small.model_copy(update={"dataset": small.dataset.model_copy(update=dataset)})


def test_what_was_collected_is_published_later_and_once(prefect, hub: Hub, monkeypatch):
    with pytest.raises(NothingToPublish, match=r"dataset\.repo_id is empty"):
        publish(settings())
    somewhere = settings(repo_id=REPO, takedown_contact="someone@example.org")
    with pytest.raises(handoff.MissingPart, match="--only collect"):
        publish(somewhere)
    collected = asyncio.run(collect(settings()))

    monkeypatch.setenv("HF_TOKEN", "hf_unknown")
    with pytest.raises(StageFailed, match="stage publish failed"):
        publish(somewhere)
    monkeypatch.setenv("HF_TOKEN", "hf_writer")
    first = publish(somewhere)
    assert (first.fingerprint, first.repo_id) == (collected.dataset.fingerprint, REPO)
    assert first.revision == hub.dataset(REPO).head
    commits = list(hub.dataset(REPO).commits)
    assert publish(somewhere) == first
    assert list(hub.dataset(REPO).commits) == commits
    assert handoff.recall("sample", "collect", Collected).dataset == first
