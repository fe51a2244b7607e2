"""The sample stage as Prefect tasks: one run for each snapshot, nothing loaded when every picture is known."""

import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from prefect import get_run_logger
from prefect.context import TaskRunContext

from tasks.common.caching import ContentKey, cached_task
from tasks.common.records import Sample, Snapshot
from tasks.common.store import Store
from tasks.sample.settings import SampleSettings

if TYPE_CHECKING:
    from tasks.diffusion.pipeline import LoadedPipeline

VERSION = 1


class WeightsKey(ContentKey):
    """A snapshot is its epoch and its weights, not its losses; a picture does not depend on how the film is made."""

    unused: tuple[str, ...] = ()

    def __init__(self, stage: str, unused: tuple[str, ...]):
        super().__init__(stage, VERSION, ignore=("base_model", "base_revision"))
        object.__setattr__(self, "unused", unused)

    def compute_key(
        self, task_ctx: TaskRunContext, inputs: dict[str, Any], flow_parameters: dict[str, Any], **kwargs: Any
    ) -> str | None:
        snapshot: Snapshot = inputs["snapshot"]
        settings: SampleSettings = inputs["settings"]
        used = settings.output_settings() | {"denoising_prompt": settings.filmed_prompt}
        reduced = {
            "snapshot": [snapshot.epoch, *[file and file.key for file in (snapshot.unet, snapshot.decoder)]],
            "settings": {name: value for name, value in used.items() if name not in self.unused},
        }
        return super().compute_key(task_ctx, inputs | reduced, flow_parameters, **kwargs)


def film_keys(pictures: list[str]) -> list[str]:
    """The store keys a cached film of denoising relies on: its pictures."""
    return pictures


def stored_keys(samples: list[Sample]) -> list[str]:
    """The store keys a cached result relies on."""
    return [sample.key for sample in samples]


@cached_task(
    "sample",
    VERSION,
    keys=stored_keys,
    policy=WeightsKey("sample", ("denoising_prompt", "denoising_every")),
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
    samples = draw_snapshot(loaded.pipe, snapshot.epoch, settings, Store())
    get_run_logger().info("epoch %d: %d pictures in %.0f s", snapshot.epoch, len(samples), time.monotonic() - began)
    return list(samples)


@cached_task(
    "sample-denoising",
    VERSION,
    keys=film_keys,
    policy=WeightsKey("sample-denoising", ("prompts",)),
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


def _ready(base_model: str, base_identity: str, base_revision: str | None, snapshot: Snapshot) -> "LoadedPipeline":
    from tasks.diffusion.pipeline import put_in

    loaded = _loaded(base_identity, base_model, base_revision)
    put_in(loaded, snapshot, Store())
    return loaded


@lru_cache(maxsize=1)
def _loaded(base_identity: str, base_model: str, base_revision: str | None) -> "LoadedPipeline":
    from tasks.diffusion.pipeline import best_device, load_base

    return load_base(base_model, base_revision, *best_device())
