"""The stage on a real Prefect server: a cached second call, and what is to be seen while and after it trains."""

from typing import Any

from prefect import flow, get_client
from prefect.settings import PREFECT_LOCAL_STORAGE_PATH, temporary_settings
from prefect.testing.utilities import prefect_test_harness

from tasks.finetune import task as stage
from tasks.records import Training
from tests.finetune.tiny import settings_for


async def artifacts() -> dict[str, str]:
    async with get_client() as client:
        return {a.key or "": str(a.data) for a in await client.read_latest_artifacts()}


def test_a_training_is_shown_and_found_again(dataset, base, store, tmp_path, monkeypatch):
    import asyncio

    monkeypatch.setenv("WIKISTYLE_TRAINING", str(tmp_path / "training"))

    @flow
    def train(epochs: int) -> tuple[Training, str]:
        settings = settings_for(base, epochs=epochs)
        state: Any = stage.finetune(dataset, settings, "identity", return_state=True)
        return state.result(_sync=True), state.name

    with (
        prefect_test_harness(server_startup_timeout=120),
        temporary_settings({PREFECT_LOCAL_STORAGE_PATH: tmp_path / "results"}),
    ):
        first, ran = train(2)
        again, cached = train(2)
        shown = asyncio.run(artifacts())
    assert (ran, cached) == ("Completed", "Cached")
    assert again == first
    assert float(shown["finetune-unet"]) == float(shown["finetune-decoder"]) == 100
    assert "| 2 |" in shown["finetune-losses"]
    assert "held out" in shown["finetune-losses"]
    assert all(store.has(key) for key in stage.stored_keys(first))
