"""Pictures a second from one snapshot: batches of many prompts and seeds, against one pipeline call a picture."""

from typing import Any

from benchmarks.sidebyside import Result, compare


def measure() -> list[Result]:
    """The sample profile's base model, 16 pictures of 10 steps."""
    import tempfile

    import torch
    from diffusers import StableDiffusionPipeline

    from flows.common.settings import load_profile, located
    from tasks.common.seeds import generator_for
    from tasks.common.store import Store
    from tasks.diffusion.pipeline import load_base
    from tasks.sample.draw import draw_snapshot

    settings = located(load_profile("sample"))
    sample = settings.sample.model_copy(
        update={"prompts": settings.sample.prompts[:4], "seeds": (0, 1, 2, 3), "num_inference_steps": 10}
    )
    loaded = load_base(settings.finetune.base_model, None, "cpu", torch.float32)
    pipeline: Any = StableDiffusionPipeline.from_pretrained(settings.finetune.base_model, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)

    def ours() -> int:
        with tempfile.TemporaryDirectory() as folder:
            return len(draw_snapshot(loaded, 0, sample, Store(folder)))

    def theirs() -> int:
        for prompt in sample.prompts:
            for seed in sample.seeds:
                pipeline(prompt, guidance_scale=sample.guidance_scale, num_inference_steps=10,
                         generator=generator_for(seed, "benchmark"))  # fmt: skip
        return len(sample.prompts) * len(sample.seeds)

    return [compare("sampling: batches against single calls", ours, theirs, "pictures/s", rounds=3)]
