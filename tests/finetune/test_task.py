"""The stage on a real Prefect server: a cached second call, and what is to be seen while and after it trains."""

from prefect import flow, get_client
from prefect.client.schemas.objects import Artifact
from prefect.settings import PREFECT_LOCAL_STORAGE_PATH, temporary_settings
from prefect.testing.utilities import prefect_test_harness

from tasks.common.records import Training
from tasks.finetune import task as stage
from tests.finetune.tiny import settings_for


async def artifacts() -> list[Artifact]:
    """All versions of all artifacts, the oldest first."""
    async with get_client() as client:
        return sorted(await client.read_artifacts(), key=lambda artifact: str(artifact.created))


def test_a_training_is_shown_and_found_again(dataset, base, store, tmp_path, monkeypatch):
    import asyncio

    monkeypatch.setenv("WIKISTYLE_TRAINING", str(tmp_path / "training"))

    @flow
    def train(epochs: int) -> tuple[Training, bool]:
        settings = settings_for(base, epochs=epochs, snapshot_every=1, validation_prompts=("a cat",))
        outcome = stage.finetune(dataset, settings, "identity")
        return outcome.result, outcome.cached

    with (
        prefect_test_harness(server_startup_timeout=1200),
        temporary_settings({PREFECT_LOCAL_STORAGE_PATH: tmp_path / "results"}),
    ):
        first, ran = train(2)
        again, cached = train(2)
        made = asyncio.run(artifacts())
    assert (ran, cached) == (False, True)
    assert again == first
    shown = {artifact.key: str(artifact.data) for artifact in made}
    assert float(shown["finetune-unet"]) == float(shown["finetune-decoder"]) == 100
    assert "| 2 |" in shown["finetune-losses"]
    assert "held out" in shown["finetune-losses"]
    previews = [artifact.key for artifact in made if artifact.key != "finetune-losses"]
    assert previews.index("finetune-preview") < previews.index("finetune-unet")  # the base's, before the first step
    assert previews.count("finetune-preview") == 3  # and one more with each snapshot
    assert len({str(artifact.data) for artifact in made if artifact.key == "finetune-preview"}) == 3
    assert all(store.has(key) for key in stage.stored_keys(first))
