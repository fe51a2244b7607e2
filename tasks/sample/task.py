"""The sample stage as Prefect tasks: one run for each snapshot, nothing loaded when every picture is known."""

import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from prefect import get_run_logger
from prefect.context import TaskRunContext

from tasks.common.caching import ContentKey, cached_task
from tasks.common.records import Between, Sample, Snapshot
from tasks.common.store import Store
from tasks.sample.settings import SampleSettings

if TYPE_CHECKING:
    from tasks.diffusion.between import Ends
    from tasks.diffusion.pipeline import LoadedPipeline
    from tasks.sample.between import Way

VERSION = 2


class WeightsKey(ContentKey):
    """A snapshot is its epoch and its weights, not its losses; what a task does not use of its settings is `unused`."""

    unused: tuple[str, ...] = ()

    def __init__(self, stage: str, unused: tuple[str, ...]):
        super().__init__(stage, VERSION, ignore=("base_model", "base_revision"))
        object.__setattr__(self, "unused", unused)

    def compute_key(
        self, task_ctx: TaskRunContext, inputs: dict[str, Any], flow_parameters: dict[str, Any], **kwargs: Any
    ) -> str | None:
        settings: SampleSettings = inputs["settings"]
        used = settings.output_settings() | {"denoising_prompt": settings.filmed_prompt}
        reduced: dict[str, Any] = {"settings": {name: value for name, value in used.items() if name not in self.unused}}
        for name, value in inputs.items():
            if isinstance(value, Snapshot):
                reduced[name] = [value.epoch, *[file and file.key for file in (value.unet, value.decoder)]]
        return super().compute_key(task_ctx, inputs | reduced, flow_parameters, **kwargs)


DENOISING, DIAL = ("denoising_prompt", "denoising_every"), ("dial_frames", "dial_seeds")


def film_keys(pictures: list[str]) -> list[str]:
    """The store keys a cached film of denoising relies on: its pictures."""
    return pictures


def stored_keys(samples: list[Sample]) -> list[str]:
    """The store keys a cached result relies on."""
    return [sample.key for sample in samples]


def between_keys(pictures: list[Between]) -> list[str]:
    """The store keys that pictures between snapshots rely on, when they are cached."""
    return [picture.key for picture in pictures]


@cached_task(
    "sample",
    VERSION,
    keys=stored_keys,
    policy=WeightsKey("sample", DENOISING + DIAL),
    task_run_name="draw epoch {snapshot.epoch}",
)
def sample_snapshot(
    base_model: str,
    base_identity: str,
    snapshot: Snapshot,
    settings: SampleSettings,
    base_revision: str | None = None,
) -> list[Sample]:
    """Every prompt and seed drawn by one snapshot. `base_identity` says which base it is; the address may move."""
    from tasks.sample.draw import draw_snapshot

    began = time.monotonic()
    loaded = _ready(base_model, base_identity, base_revision, snapshot)
    samples = draw_snapshot(loaded, snapshot.epoch, settings, Store())
    get_run_logger().info("epoch %d: %d pictures in %.0f s", snapshot.epoch, len(samples), time.monotonic() - began)
    return list(samples)


@cached_task(
    "sample-denoising",
    VERSION,
    keys=film_keys,
    policy=WeightsKey("sample-denoising", ("prompts", *DIAL)),
    task_run_name="draw epoch {snapshot.epoch} out of noise",
)
def sample_denoising(
    base_model: str,
    base_identity: str,
    snapshot: Snapshot,
    settings: SampleSettings,
    base_revision: str | None = None,
) -> list[str]:
    """Keys of the pictures of one prompt on its way from noise, drawn by one snapshot."""
    from tasks.sample.denoise import draw_denoising

    loaded = _ready(base_model, base_identity, base_revision, snapshot)
    return list(draw_denoising(loaded.pipe, settings, Store()))


@cached_task(
    "sample-dial", VERSION, keys=between_keys,
    policy=WeightsKey("sample-dial", ("prompts", "seeds", "dial_seeds", *DENOISING)),
    task_run_name="draw the way to epoch {last.epoch}",
)  # fmt: skip
def sample_dial(
    base_model: str,
    base_identity: str,
    first: Snapshot,
    last: Snapshot,
    samples: tuple[list[Sample], list[Sample]],
    settings: SampleSettings,
    base_revision: str | None = None,
) -> list[Between]:
    """The way of one prompt from the first snapshot's samples to the last's, in small even steps; see `draw_dial`."""
    from tasks.sample.between import draw_dial

    way = _way(base_model, base_identity, base_revision, (first, last))
    return draw_dial(way, samples, settings)


@cached_task(
    "sample-tween", VERSION, keys=between_keys, policy=WeightsKey("sample-tween", DENOISING + DIAL),
    task_run_name="draw between epochs {first.epoch} and {second.epoch}",
)  # fmt: skip
def sample_tweens(
    base_model: str,
    base_identity: str,
    first: Snapshot,
    second: Snapshot,
    count: int,
    settings: SampleSettings,
    base_revision: str | None = None,
) -> list[Between]:
    """Every prompt and seed at `count` points between two neighbouring snapshots."""
    from tasks.sample.between import draw_tweens

    return draw_tweens(_way(base_model, base_identity, base_revision, (first, second)), count, settings)


def _ready(base_model: str, base_identity: str, base_revision: str | None, snapshot: Snapshot) -> "LoadedPipeline":
    from tasks.diffusion.pipeline import put_in, shared_pipeline

    loaded = shared_pipeline(base_identity, base_model, base_revision)
    put_in(loaded, snapshot, Store())
    return loaded


def _way(base_model: str, base_identity: str, base_revision: str | None, ends: tuple[Snapshot, Snapshot]) -> "Way":
    from tasks.sample.between import Way

    since, epoch = (snapshot.model_dump_json() for snapshot in ends)
    return Way(*_both(base_identity, base_model, base_revision, since, epoch), ends[0].epoch, ends[1].epoch, Store())


@lru_cache(maxsize=1)
def _both(
    base_identity: str, base_model: str, base_revision: str | None, since: str, epoch: str
) -> "tuple[LoadedPipeline, Ends]":
    """Both ends' weights, read once for all prompts."""
    from tasks.diffusion.between import read_ends
    from tasks.diffusion.pipeline import shared_pipeline

    loaded = shared_pipeline(base_identity, base_model, base_revision)
    first, second = (Snapshot.model_validate_json(snapshot) for snapshot in (since, epoch))
    return loaded, read_ends(loaded, first, second, Store())
