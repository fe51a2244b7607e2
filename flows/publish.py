"""Publish: the dataset that collect last made goes to the hub; what is there already is not sent again."""

from prefect import flow

from flows.common import handoff
from flows.common.artifacts import dataset_facts
from flows.common.report import Collected
from flows.common.run_names import name_run
from flows.common.settings import Settings
from flows.common.stage import stage
from tasks.common.errors import WikistyleError
from tasks.common.records import DatasetRef
from tasks.dataset import task as dataset


class NothingToPublish(WikistyleError):
    """The settings name no repository."""


@flow(name="publish", flow_run_name="publish {settings.profile}", persist_result=True)
def publish(settings: Settings) -> DatasetRef:
    """Put the profile's last dataset where `dataset.repo_id` says; returns it with its revision there.

    Collect does so itself when a repository is named; this is for doing it later, or again where it failed.
    Raises NothingToPublish when none is, handoff.MissingPart when nothing was collected yet.

    Args:
        settings: All settings of the run; this flow reads those of the dataset.
    """
    if not settings.dataset.repo_id:
        raise NothingToPublish("dataset.repo_id is empty, so there is nowhere to publish to; set it to owner/name")
    collected = handoff.recall(settings.profile, "collect", Collected)
    name_run("publish", settings, collected.dataset)
    with stage("publish") as publishing:
        dataset.check_publishing(settings.dataset)
        ref = publishing.run(dataset.publish, collected.dataset, settings.dataset)
        publishing.done(ref.rows, ref.rows, (), dataset_facts(ref))
    handoff.keep(settings.profile, "collect", collected.model_copy(update={"dataset": ref}))
    return ref
