"""Pictures a second of a showcase: all prompts and seeds of each snapshot in batches, against a fresh pipeline for each
snapshot and one call a picture."""

from typing import TYPE_CHECKING, Any

from benchmarks.sidebyside import Result, compare

if TYPE_CHECKING:
    from tasks.common.records import Snapshot
    from tasks.common.store import Store

SNAPSHOTS = 2


def measure() -> list[Result]:
    """The sample profile's base model, prompts, seeds, steps and batches; its own weights stand for a snapshot's."""
    import tempfile

    import torch
    from diffusers import StableDiffusionPipeline

    from flows.common.settings import load_profile, located
    from tasks.common.seeds import generator_for
    from tasks.common.store import Store
    from tasks.diffusion.pipeline import load_base, put_in
    from tasks.sample.draw import draw_snapshot

    settings = located(load_profile("sample"))
    sample, base = settings.sample, settings.finetune.base_model
    loaded = load_base(base, None, "cpu", torch.float32)
    folder = tempfile.TemporaryDirectory(prefix="wikistyle-")
    store = Store(folder.name)
    snapshots = snapshots_of(base, store)

    def ours() -> int:
        drawn = 0
        for snapshot in snapshots:
            put_in(loaded, snapshot, store)
            drawn += len(draw_snapshot(loaded, snapshot.epoch, sample, store))
        return drawn

    def theirs() -> int:
        from safetensors.torch import load_file

        for snapshot in snapshots:
            pipeline: Any = StableDiffusionPipeline.from_pretrained(base, dtype=torch.float32)
            pipeline.set_progress_bar_config(disable=True)
            assert snapshot.unet
            pipeline.unet.load_state_dict(load_file(store.path(snapshot.unet.key)))
            for prompt in sample.prompts:
                for seed in sample.seeds:
                    pipeline(prompt, guidance_scale=sample.guidance_scale, generator=generator_for(seed, "benchmark"),
                             num_inference_steps=sample.num_inference_steps)  # fmt: skip
        return len(snapshots) * len(sample.prompts) * len(sample.seeds)

    with folder:
        name = "showcase: batches, one pipeline against single calls, one each"
        return [compare(name, ours, theirs, "pictures/s", rounds=3)]


def snapshots_of(base: str, store: "Store") -> "list[Snapshot]":
    """Snapshots whose UNet is the base model's, scaled a little."""
    from tasks.common.model_id import model_identity
    from tasks.common.records import Snapshot
    from tasks.diffusion.loading import load_part
    from tasks.diffusion.snapshots import UNET_FILE, save_weights

    unet: Any = load_part("unet", base, None)
    made = []
    for epoch in range(1, SNAPSHOTS + 1):
        weights = {name: value * (1 + epoch / 1000) for name, value in unet.state_dict().items()}
        file = save_weights(UNET_FILE, weights, model_identity(base, None), store)
        made.append(
            Snapshot(epoch=epoch, step=epoch, weights="ema", unet=file, decoder=None, train_loss=None,
                     heldout_loss=None, decoder_psnr=None)
        )  # fmt: skip
    return made
