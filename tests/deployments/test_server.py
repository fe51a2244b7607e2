"""Preparing a server, on a real one."""

import pytest

from deployments.render import CPU_POOL, GPU_POOL
from deployments.server import make_automations, make_pools


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
