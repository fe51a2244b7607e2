"""What a user switched in the UI, so that deploying again leaves it so: prefect.yaml asks before it deploys."""

from uuid import UUID

from prefect import get_client
from prefect.exceptions import ObjectNotFound


async def kept(deployment: str, trigger: str = "") -> dict[str, bool]:
    """Whether the schedule of `deployment` (flow/name) is on, and its automation `trigger` enabled.

    Before the first deployment schedules are off and triggers on. prefect.yaml runs this for each that has one, since
    a file can only say on or off, and `prefect deploy` then says that for the user.
    """
    async with get_client() as client:
        try:
            found = await client.read_deployment_by_name(deployment)
        except ObjectNotFound:
            return {"schedule": False, "trigger": True}
        automations = await client.read_automations_by_name(trigger) if trigger else []
    return {
        "schedule": any(schedule.active for schedule in found.schedules),
        "trigger": all(automation.enabled for automation in automations),
    }


async def paused() -> list[UUID]:
    """The deployments that are paused. `prefect deploy` resumes them (3.8), and its file can't ask for this one."""
    async with get_client() as client:
        return [deployment.id for deployment in await client.read_deployments() if deployment.paused]


async def pause(deployments: list[UUID]) -> None:
    """Pause deployments again."""
    async with get_client() as client:
        for deployment in deployments:
            await client.pause_deployment(deployment)
