"""`python -m deployments.rename`: deployments called after their profile, as once, get their new names.

They stay the same deployments, with their runs, schedules and switches. Prefect's API can't rename, and to deploy anew
and delete the old ones would take Retry from their runs: a worker cancels the run of a deployment that is gone, and the
server deletes those that wait. So this changes the names in the server's database, which
PREFECT_SERVER_DATABASE_CONNECTION_URL or PREFECT_HOME say. Safe to repeat, also while the server runs; `wikistyle up`
does it by itself.
"""

import asyncio
import sys
from collections.abc import Iterable

from deployments.render import FLOWS, RESCUE
from flows.common.deployed import deployed_as


def name_now(entrypoint: str | None, name: str, tags: Iterable[str]) -> str:
    """What a deployment is called now: its own name unless it has one that an older wikistyle gave."""
    flow = (entrypoint or "").rpartition(":")[2]
    if (flow, name) == ("rescue", "crashed"):
        return RESCUE
    return deployed_as(flow, name) if flow in FLOWS and {"wikistyle", name} <= set(tags) else name


async def outdated() -> bool:
    """Whether the server that PREFECT_API_URL names has deployments under older names."""
    from prefect import get_client

    async with get_client() as client:
        return any(name_now(d.entrypoint, d.name, d.tags) != d.name for d in await client.read_deployments())


async def rename() -> list[str]:
    """Rename them; returns what was done, a line each. One whose new name is taken already is left and told of."""
    from prefect.server.database import provide_database_interface
    from sqlalchemy import select

    db, said = provide_database_interface(), list[str]()
    async with db.session_context(begin_transaction=True) as session:
        found = (await session.execute(select(db.Deployment))).scalars().unique().all()
        taken = {(deployment.flow_id, deployment.name) for deployment in found}
        for deployment in found:
            before, now = deployment.name, name_now(deployment.entrypoint, deployment.name, deployment.tags)
            if now != before and (deployment.flow_id, now) in taken:
                said.append(f"deployment {before} ({deployment.id}) stays: there is a {now}; delete one of them")
            elif now != before:
                deployment.name = now
                said.append(f"deployment {before} is called {now} from now on")
    return said


def main() -> None:
    """Rename them, and say so; one line on stderr when the database isn't a server's."""
    from prefect.settings import PREFECT_SERVER_DATABASE_CONNECTION_URL
    from sqlalchemy import make_url
    from sqlalchemy.exc import SQLAlchemyError

    try:
        for line in asyncio.run(rename()):
            print(line)
    except (SQLAlchemyError, OSError) as error:
        database = make_url(PREFECT_SERVER_DATABASE_CONNECTION_URL.value() or "").render_as_string()
        sys.exit(
            f"no Prefect server keeps its records at {database} ({type(error).__name__}); set "
            "PREFECT_SERVER_DATABASE_CONNECTION_URL, or PREFECT_HOME, as for the server"
        )


if __name__ == "__main__":
    main()
