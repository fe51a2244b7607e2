"""The whole pipeline: a wiki goes in; a model that draws like it, and pictures of it learning to, come out."""

from pathlib import Path

from prefect import flow

from flows.collect import collect
from flows.common import artifacts
from flows.common.preflight import check
from flows.common.report import Collected, Finetuned, Showcased
from flows.common.run_folder import check_run_folder, new_folder, write_run
from flows.common.run_names import name_run
from flows.common.settings import Settings
from flows.finetune import finetune
from flows.showcase import showcase
from tasks.common.store import Store


@flow(name="wikistyle", flow_run_name="wikistyle {settings.profile}", persist_result=True)
async def wikistyle(settings: Settings, run_dir: str = "") -> str:
    """Collect, fine-tune, showcase; returns the run's folder. Settings are checked before any stage starts."""
    name_run("pipeline run of", settings)
    check(settings)
    check_run_folder(run_dir)
    # When a pipeline run is retried, Prefect hands back what an inline flow returned the first time, but as plain JSON.
    collected = Collected.model_validate(await collect(settings))
    name_run("pipeline run of", settings, collected.dataset)
    finetuned, showcased = await _train_and_show(settings, collected)
    folder = write(settings, run_dir, collected, finetuned, showcased)
    artifacts.show_run([*collected.stages, *finetuned.stages, *showcased.stages], folder, showcased, Store())
    return folder


async def _train_and_show(settings: Settings, collected: Collected) -> tuple[Finetuned, Showcased]:
    """Both GPU parts: here, or as child runs on the GPU pool."""
    if settings.training_on == "gpu-pool":
        from flows.common.gpu_pool import finetune_there, showcase_there

        trained = await finetune_there(collected.dataset, settings)
        return trained, await showcase_there(trained.training, settings)
    trained = Finetuned.model_validate(finetune(settings, collected.dataset))
    return trained, Showcased.model_validate(showcase(settings, trained.training))


def write(
    settings: Settings,
    run_dir: str,
    collected: Collected | None,
    finetuned: Finetuned | None,
    showcased: Showcased | None,
) -> str:
    """The run's folder: `run_dir`, or `runs/<date>-<profile>`."""
    folder = Path(run_dir) if run_dir else new_folder(settings.profile)
    write_run(folder, settings, collected, finetuned, showcased, Store())
    return str(folder)
