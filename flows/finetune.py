"""Fine-tune: a dataset becomes snapshots of a model that draws ever more like it."""

from prefect import flow

from flows.common import artifacts, handoff
from flows.common.report import Collected, Finetuned, stage
from flows.common.run_names import name_run
from flows.common.settings import Settings, located
from tasks.common.caching import call
from tasks.common.model_id import model_identity
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
    settings = located(settings)
    with stage("finetune") as ledger:
        base = model_identity(settings.finetune.base_model, settings.finetune.revision)
        outcome = call(finetuning.finetune, dataset, settings.finetune, base, keys_of=finetuning.stored_keys)
        training = ledger.note(outcome)
        ledger.items_in = training.images_trained + training.images_held_out
        ledger.items_out = len(training.snapshots)
    report = ledger.report()
    artifacts.show(report, summary(training))
    finetuned = Finetuned(training=training, stages=(report,))
    handoff.keep(settings.profile, "finetune", finetuned)
    return finetuned
