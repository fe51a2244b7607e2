"""Fine-tune: a dataset becomes snapshots of a model that draws ever more like it."""

from prefect import flow

from flows.common import handoff
from flows.common.base_model import base_in, note_origin
from flows.common.report import Collected, Finetuned
from flows.common.run_names import name_run
from flows.common.settings import Settings
from flows.common.stage import stage
from tasks.common.records import DatasetRef
from tasks.finetune import task as finetuning


@flow(name="finetune", flow_run_name="finetune {settings.profile}", persist_result=True)
def finetune(settings: Settings, dataset: DatasetRef | str | None = None) -> Finetuned:
    """Train the UNet, then the VAE decoder; a training that was killed goes on where it was.

    Args:
        settings: All settings of the run; this part reads those of fine-tune.
        dataset: What collect handed on, a folder, or `owner/name@revision` of any dataset of image + text on the hub.
            Empty: what collect last handed on for this profile.
    """
    from tasks.finetune.result import summary

    if dataset is None:
        dataset = handoff.recall(settings.profile, "collect", Collected).dataset
    name_run("finetune", settings, dataset)
    base = base_in(settings)
    with stage("finetune") as tuning:
        located = settings.finetune.model_copy(update={"base_model": base.model})
        training = tuning.run(finetuning.finetune, dataset, located, base.identity)
        training = note_origin(training, settings, base.identity, dataset)
        pictures = training.images_trained + training.images_held_out
        tuning.done(pictures, len(training.snapshots), (), summary(training))
    finetuned = Finetuned(training=training, stages=(tuning.report,))
    handoff.keep(settings.profile, "finetune", finetuned)
    return finetuned
