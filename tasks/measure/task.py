"""The measure stage as Prefect tasks: the wiki's side once, one run a point, nothing loaded when all is known."""

import time
from typing import TYPE_CHECKING, Any

from prefect import get_run_logger
from prefect.context import TaskRunContext

from tasks.common.caching import ContentKey, cached_task
from tasks.common.model_id import model_identity
from tasks.common.records import DatasetRef, Record, Sample, Snapshot
from tasks.common.store import Store
from tasks.measure.records import DrawnSet, NearestPair, Reference
from tasks.measure.settings import MeasureSettings

if TYPE_CHECKING:
    from tasks.measure.clip import Clip

VERSION = 1
# Read when the rule is applied, which is done anew each time; they change nothing that is drawn.
FOR_THE_RULE = ("strengths", "strengths_of", "composition_kept", "agreement_kept", "release_epoch")
FOR_DRAWING = (
    "num_inference_steps", "scheduler", "guidance_scale", "negative_prompt", "height", "width", "seeds",
)  # fmt: skip


class BaseModel(Record):
    """A base model as this process reaches it, and `identity`, which stands for it in keys."""

    model: str
    revision: str | None
    identity: str

    def content(self) -> str:
        """The address may move."""
        return self.identity


class MeasureKey(ContentKey):
    """A dataset is its rows, a snapshot its weights, a CLIP its identity; settings count where they are used."""

    unused: tuple[str, ...] = ()

    def __init__(self, stage: str, unused: tuple[str, ...]):
        super().__init__(stage, VERSION)
        object.__setattr__(self, "unused", unused)

    def compute_key(
        self, task_ctx: TaskRunContext, inputs: dict[str, Any], flow_parameters: dict[str, Any], **kwargs: Any
    ) -> str | None:
        reduced = dict(inputs)
        settings: MeasureSettings = inputs["settings"]
        skip = {*self.unused, "clip_model", "clip_revision"}
        reduced["settings"] = {name: v for name, v in settings.output_settings().items() if name not in skip} | {
            "clip": model_identity(settings.clip_model, settings.clip_revision)
        }
        if isinstance(dataset := inputs.get("dataset"), DatasetRef):
            reduced["dataset"] = dataset.fingerprint
        if isinstance(snapshot := inputs.get("snapshot"), Snapshot):
            reduced["snapshot"] = [snapshot.epoch, *[f and f.key for f in (snapshot.unet, snapshot.decoder)]]
        return super().compute_key(task_ctx, reduced, flow_parameters, **kwargs)


def reference_keys(reference: Reference | None) -> list[str]:
    """The store keys a cached result relies on."""
    return [reference.key, *(credit.key for credit in reference.trained)] if reference else []


@cached_task(
    "measure-wiki", VERSION, keys=reference_keys, policy=MeasureKey("measure-wiki", (*FOR_THE_RULE, *FOR_DRAWING)),
    task_run_name="see the wiki's pictures",
)  # fmt: skip
def measure_wiki(dataset: DatasetRef | str, held_out: float, settings: MeasureSettings) -> Reference | None:
    """What the snapshots are measured against; None when too few pictures were held out."""
    from tasks.measure.reference import make_reference

    return make_reference(dataset, held_out, settings, _clip(settings), Store())


def drawn_keys(drawn: DrawnSet) -> list[str]:
    """The store keys a cached result relies on."""
    return [drawn.key]


@cached_task(
    "measure-draw", VERSION, keys=drawn_keys, policy=MeasureKey("measure-draw", FOR_THE_RULE),
    task_run_name="measure epoch {snapshot.epoch} at strength {strength}",
)  # fmt: skip
def draw_point(
    base: BaseModel, snapshot: Snapshot, strength: float, reference: Reference, settings: MeasureSettings
) -> DrawnSet:
    """The reference's captions drawn by the base (strength 0), a snapshot (1), or a point between."""
    from tasks.diffusion.between import put_strength
    from tasks.diffusion.pipeline import shared_pipeline
    from tasks.measure.drawing import draw_set

    began = time.monotonic()
    loaded = shared_pipeline(base.identity, base.model, base.revision)
    put_strength(loaded, snapshot, strength, Store())
    drawn = draw_set(loaded.pipe, (snapshot.epoch, strength), reference, settings, _clip(settings), Store())
    get_run_logger().info("epoch %d at %g: %.0f s", snapshot.epoch, strength, time.monotonic() - began)
    return drawn


def pair_keys(pairs: list[NearestPair]) -> list[str]:
    """The store keys a cached result relies on."""
    return [key for pair in pairs for key in (pair.sample, pair.trained.key)]


@cached_task(
    "measure-nearest", VERSION, keys=pair_keys,
    policy=MeasureKey("measure-nearest", (*FOR_THE_RULE, *FOR_DRAWING)),
    task_run_name="find the trained pictures nearest to the samples",
)  # fmt: skip
def nearest_pairs(samples: list[Sample], reference: Reference, settings: MeasureSettings) -> list[NearestPair]:
    """Each sample with the trained picture nearest to it, the nearest pair first."""
    from tasks.measure.reference import pairs

    return pairs(samples, reference, Store())


def _clip(settings: MeasureSettings) -> "Clip":
    from tasks.diffusion.pipeline import best_device
    from tasks.measure.clip import load_clip

    return load_clip(settings.clip_model, settings.clip_revision, best_device()[0])
