"""What a Prefect server must hold before flows are deployed to it: `python -m deployments.server` makes it so.

Two work pools, the automations of deployments/automations, and with WIKISTYLE_WEBHOOK_URL in the environment the
notifications of deployments/notifications. Safe to repeat: nothing is made twice.
"""

import argparse
import asyncio
import json
import shlex
from pathlib import Path
from typing import Any

import yaml

from deployments.render import CPU_POOL, ENVIRONMENT, GPU_POOL
from tasks.common.environment import environment

HERE = Path(__file__).resolve().parent
WEBHOOK = "wikistyle-failures"
POOL_KINDS = ("process", "docker", "kubernetes")
# What a run may be given: what prefect.yaml gives, more to read in its log, or an order to believe no cache.
RUN_ENVIRONMENT = (*ENVIRONMENT, "PREFECT_LOGGING_LEVEL", "PREFECT_TASKS_REFRESH_CACHE")


def job_template(kind: str, pool: str, python: str | None = None) -> dict[str, Any]:
    """The base job template of a pool. `python`: the interpreter of processes, where all their workers have the same.

    With it a run is one process from the start. Else a first one finds out which interpreter the flow's folder wants,
    and each run starts a second later. Either way what a process runs is fixed: see `fixed_template`.
    """
    if kind == "process":
        from prefect.workers.process import ProcessWorker

        return fixed_template(ProcessWorker.get_default_base_job_template(), python)
    part = "gpu" if pool == GPU_POOL else "cpu"
    return json.loads((HERE / "job_templates" / f"{kind}-{part}.json").read_text())


def fixed_template(template: dict[str, Any], python: str | None) -> dict[str, Any]:
    """A template for processes where whoever starts a run has no say in which program it is.

    Command and folder are constants. Of the environment, which could name code to be loaded (PYTHONPATH, LD_PRELOAD),
    only RUN_ENVIRONMENT can be set. The server refuses runs and deployments with other job variables.
    """
    properties = template["variables"]["properties"]
    for name, constant in (("command", engine_command(python) if python else None), ("working_dir", None)):
        template["job_configuration"][name] = constant
        del properties[name]
    properties["env"] |= {
        "properties": {name: {"type": "string"} for name in RUN_ENVIRONMENT}, "additionalProperties": False,
    }  # fmt: skip
    template["variables"]["additionalProperties"] = False
    return template


def engine_command(python: str) -> str:
    """What runs a flow run: Prefect's engine, by this interpreter."""
    return f"{shlex.quote(python)} -m prefect.engine"


async def make_pools(kind: str = "process", python: str | None = None) -> None:
    """Make the pools, of a kind of POOL_KINDS, or bring their job templates up to date; see `job_template`."""
    from prefect import get_client

    async with get_client() as client:
        for pool in (CPU_POOL, GPU_POOL):
            await _make_pool(client, kind, pool, job_template(kind, pool, python))


async def make_automations() -> None:
    """Make the automations, or bring them up to date.

    They are for servers on PostgreSQL with workers on other machines. On SQLite their book-keeping at every heartbeat
    meets "database is locked", and the server stands still for a minute at a time; `wikistyle up`, which knows its
    workers, does without them.
    """
    from prefect import get_client

    async with get_client() as client:
        for path in sorted((HERE / "automations").glob("*.yaml")):
            await _make_automation(client, yaml.safe_load(path.read_text()))


async def make_notifications() -> bool:
    """Make what tells of failures, or bring it up to date; returns whether there is an address to tell.

    The address may hold a secret, so it comes from WIKISTYLE_WEBHOOK_URL, once, and is kept in a Webhook block.
    """
    from prefect import get_client
    from prefect.blocks.webhook import Webhook

    if url := environment().webhook_url:
        await Webhook(url=str(url.get_secret_value())).save(WEBHOOK, overwrite=True)  # type: ignore[arg-type]
    async with get_client() as client:
        blocks = await client.read_block_documents_by_type("webhook")
        block = next((block for block in blocks if block.name == WEBHOOK), None)
        if block is None:
            return False
        for path in sorted((HERE / "notifications").glob("*.yaml")):
            definition = yaml.safe_load(path.read_text())
            for action in definition["actions"]:
                action["block_document_id"] = str(block.id)
            await _make_automation(client, definition)
    return True


async def _make_pool(client, kind: str, name: str, template: dict[str, Any]) -> None:
    from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
    from prefect.exceptions import ObjectNotFound

    try:
        existing = await client.read_work_pool(name)
    except ObjectNotFound:
        # One run at a time on a GPU, whichever part it is.
        limit = 1 if name == GPU_POOL else None
        await client.create_work_pool(
            WorkPoolCreate(name=name, type=kind, concurrency_limit=limit, base_job_template=template)
        )
        return
    if existing.type != kind:
        raise SystemExit(f"work pool {name} is of type {existing.type}, not {kind}; delete it or keep to its type")
    await client.update_work_pool(name, WorkPoolUpdate(base_job_template=template))


async def _make_automation(client, definition: dict) -> None:
    from prefect.events.schemas.automations import AutomationCore

    automation = AutomationCore.model_validate(definition)
    existing = await client.read_automations_by_name(automation.name)
    if existing:
        automation.enabled = existing[0].enabled  # or the user's switch would be turned back
        await client.update_automation(existing[0].id, automation)
    else:
        await client.create_automation(automation)


def main() -> None:
    """Prepare the server that PREFECT_API_URL names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pools", choices=POOL_KINDS, default="process", help="what runs the flows")
    asyncio.run(make_pools(parser.parse_args().pools))
    asyncio.run(make_automations())
    asyncio.run(make_notifications())


if __name__ == "__main__":
    main()
