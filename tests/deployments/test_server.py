"""Preparing a server, on a real one."""

from typing import Any

import pytest

from deployments.render import CPU_POOL, GPU_POOL
from deployments.server import job_template, make_automations, make_pools


async def test_preparing_a_server_twice_makes_nothing_twice(prefect):
    from prefect import get_client

    for _ in range(2):
        await make_pools("docker")
        await make_automations()
    async with get_client() as client:
        pools = {pool.name: pool for pool in await client.read_work_pools()}
        automations = [a for a in await client.read_automations() if a.name.startswith("wikistyle: ")]
        for pool in pools.values():
            assert pool.type == "docker"
            assert pool.base_job_template["variables"]["properties"]["volumes"]["default"] == ["wikistyle-data:/data"]
        assert {name: pool.concurrency_limit for name, pool in pools.items()} == {CPU_POOL: None, GPU_POOL: 1}
        assert len(automations) == len({a.name for a in automations}) == 2
        with pytest.raises(SystemExit, match="is of type docker, not process"):
            await make_pools("process")
        for pool in pools:
            await client.delete_work_pool(pool)
        for automation in automations:
            await client.delete_automation(automation.id)


@pytest.mark.parametrize("python", ["/opt/a folder/python", None])
async def test_job_variables_change_neither_command_nor_folder_of_a_process(python):
    from prefect.workers.process import ProcessJobConfiguration

    asked = {"command": "touch proof", "working_dir": "/tmp", "stream_output": False}
    unused: Any = object()
    template = job_template("process", CPU_POOL, python)
    made = await ProcessJobConfiguration.from_template_and_values(template, asked, client=unused)
    assert made.command == (f"'{python}' -m prefect.engine" if python else None)
    assert (made.working_dir, made.stream_output) == (None, False)
