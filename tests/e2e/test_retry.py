"""A stage fails for a reason from outside; after Retry only what it left undone is done. Fine-tune: test_training."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flows.common.report import Finetuned, Showcased
from samples.wiki.content import SampleWiki
from tests.e2e.stack import Stack
from tests.hub.repo import File, Repo
from tests.hub.server import Hub
from tests.scrape.faults import Fault, FaultyWiki, faulty_wiki

pytestmark = pytest.mark.e2e
PROMPTS = ["a cat", "a dog"]
REPO = "tester/drawings"
# The tasks of each stage, in the order of the pipeline run.
TASKS = {
    "scrape": ["fetch_batch"],
    "convert": ["convert_batch"],
    "caption": ["caption_batch"],
    "dataset": ["build", "publish"],
    "finetune": ["finetune"],
    "sample": ["sample_snapshot", "sample_dial", "sample_denoising"],
    "measure": ["measure_wiki"],
    "animate": ["animate_dial", "animate_training", "animate_denoising"],
}


@dataclass
class World:
    """The stack, a hub, two wikis (`flaky` was never read before), and what the first run of the steady one made."""

    stack: Stack
    hub: Hub
    steady: FaultyWiki
    flaky: FaultyWiki
    ran: dict[str, int]
    finetuned: Finetuned
    showcased: Showcased

    def object(self, key: str) -> Path:
        return self.stack.home / "store" / "objects" / key[:2] / key


def pictures(first: int, last: int) -> SampleWiki:
    """A wiki of some PNGs of the sample wiki, none of them the other tests'."""
    wiki = SampleWiki()
    wiki.files = [f for f in wiki.files if f.row["mime"] == "image/png"][first:last]
    return wiki


@pytest.fixture(scope="module")
def world(stack: Stack, hub: Hub) -> Iterator[World]:
    with faulty_wiki(wiki=pictures(36, 48)) as steady, faulty_wiki(wiki=pictures(48, 54)) as flaky:
        began = datetime.now(UTC)
        settings = {"scrape": {"api_url": steady.api_url}, "sample": {"prompts": PROMPTS}}
        stack.completed(stack.start("wikistyle/tiny", **settings))
        kept = stack.home / "parts" / "tiny"
        finetuned = Finetuned.model_validate_json((kept / "finetune.json").read_bytes())
        showcased = Showcased.model_validate_json((kept / "showcase.json").read_bytes())
        yield World(stack, hub, steady, flaky, stack.ran_since(began), finetuned, showcased)


@contextmanager
def damaged(path: Path) -> Iterator[None]:
    """A disk or a copy that went wrong: the file is cut short, and afterwards as it was."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    try:
        yield
    finally:
        path.write_bytes(data)


@contextmanager
def out_of_order(world: World) -> Iterator[None]:
    """The wiki gives half of its files, then asks to be left alone for an hour."""
    for file in pictures(48, 51).files:
        world.flaky.faults.append(Fault(file.path, 503, headers={"Retry-After": "3600"}, times=99))
    yield
    assert len(world.flaky.asked("/images/")) == 6
    world.flaky.faults.clear()
    world.flaky.requests.clear()


@contextmanager
def damaged_original(world: World) -> Iterator[None]:
    """An original of the second batch; deleted in the end, as the error says."""
    wiki = pictures(36, 48)
    last = max(hashlib.sha256(wiki.data(file)).hexdigest() for file in wiki.files)
    with damaged(world.object(last)):
        yield
    world.object(last).unlink()


def damaged_caption_model(world: World) -> AbstractContextManager[None]:
    return damaged(world.stack.clone.parent / "models" / "blip" / "model.safetensors")


@contextmanager
def taken_repository(world: World) -> Iterator[None]:
    """Somebody else's file lies where the dataset is to be published."""
    repo = world.hub.repos["dataset", REPO] = Repo("dataset", REPO, private=True)
    repo.commit("notes", {"notes.txt": File(b"mine", large=False)}, [])
    yield
    repo.commit("make room", {}, ["notes.txt"])


def damaged_snapshot(world: World) -> AbstractContextManager[None]:
    unet = world.finetuned.training.snapshots[-1].unet
    assert unet
    return damaged(world.object(unet.key))


def damaged_picture(world: World) -> AbstractContextManager[None]:
    """One of the second film."""
    return damaged(world.object(next(s.key for s in world.showcased.samples if s.prompt == PROMPTS[1] and s.epoch)))


@dataclass(frozen=True)
class Case:
    """What is set so that the stage has work to do, what makes it fail until the context ends, and how many task runs
    of which tasks are then left (those of the stages after it aside); a task named here without a number: as often as
    in the first pipeline run."""

    settings: dict[str, Any]
    broken: Callable[[World], AbstractContextManager[None]]
    left: dict[str, int | None]


CASES = {
    "scrape": Case({}, out_of_order, {"fetch_batch": 1}),
    "convert": Case({"convert": {"quality": 90}}, damaged_original, {"fetch_batch": 1, "convert_batch": 1}),
    "caption": Case({"caption": {"max_new_tokens": 5}}, damaged_caption_model, {"caption_batch": None}),
    "dataset": Case(
        {"dataset": {"repo_id": REPO, "takedown_contact": "a@b.example"}}, taken_repository, {"publish": 1}
    ),
    "sample": Case(
        {"sample": {"seeds": [1]}}, damaged_snapshot, {"sample_snapshot": 1, "sample_dial": 2, "sample_denoising": 1}
    ),
    "animate": Case(
        {"animate": {"frame_ms": 500}},
        damaged_picture,
        {"animate_dial": 1, "animate_training": 1, "animate_denoising": 1},
    ),
}


@pytest.mark.parametrize("stage", CASES)
def test_retry_does_what_the_failed_stage_left_and_nothing_before_it(world: World, stage: str):
    case, stack = CASES[stage], world.stack
    wiki = world.flaky if stage == "scrape" else world.steady
    settings = {"scrape": {"api_url": wiki.api_url}, "sample": {"prompts": PROMPTS}}
    changed = {name: settings.get(name, {}) | case.settings.get(name, {}) for name in settings | case.settings}
    world.steady.requests.clear()
    with case.broken(world):
        pipeline = stack.start("wikistyle/tiny", **changed)
        failed = stack.wait(pipeline)
        assert failed["state"]["type"] == "FAILED"
        assert f"stage {stage} failed" in failed["state"]["message"]
    retried = datetime.now(UTC)
    stack.retry(pipeline)
    stack.completed(pipeline)
    ran = stack.ran_since(retried)
    until = list(TASKS)[: list(TASKS).index(stage) + 1]
    expected = {task: world.ran[task] if times is None else times for task, times in case.left.items()}
    assert {task: ran[task] for name in until for task in TASKS[name] if ran[task]} == expected
    asked = {"scrape": 3, "convert": 1}.get(stage, 0)  # pictures the wiki was asked for
    assert len(wiki.asked("/images/")) == asked
