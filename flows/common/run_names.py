"""Names of runs: the part, the wiki, the dataset's revision once it is known, and the date."""

from datetime import UTC, datetime
from urllib.parse import urlsplit

from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext

from flows.common.settings import Settings
from tasks.common.records import DatasetRef


def run_name(part: str, settings: Settings, dataset: DatasetRef | str | None, date: datetime) -> str:
    """`finetune simpsons.fandom.com 1f3a99c2 2026-01-31`; a dataset's revision on the hub, or else its fingerprint."""
    wiki = urlsplit(settings.scrape.api_url).hostname or "sample wiki"
    revision = (dataset.revision or dataset.fingerprint)[:8] if isinstance(dataset, DatasetRef) else dataset or ""
    return " ".join(filter(None, [part, wiki, revision, f"{date:%Y-%m-%d}"]))


def name_run(part: str, settings: Settings, dataset: DatasetRef | str | None = None) -> None:
    """Give the flow run that this is called in its name; nothing outside of one."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return
    name = run_name(part, settings, dataset, datetime.now(UTC))
    with get_client(sync_client=True) as client:
        client.update_flow_run(context.flow_run.id, name=name)
