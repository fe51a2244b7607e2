"""Draw every prompt with every seed: the same noise for each epoch, so that what differs is the model."""

from collections.abc import Callable
from itertools import islice

from tasks.common.records import Sample
from tasks.common.store import Store
from tasks.diffusion.draw import decode, denoise, encode, png
from tasks.diffusion.parameters import Picture, parameters
from tasks.diffusion.pipeline import LoadedPipeline, set_solver
from tasks.sample.settings import SampleSettings


def draw_snapshot(
    loaded: LoadedPipeline,
    epoch: int,
    settings: SampleSettings,
    store: Store,
    progress: Callable[[int], None] = lambda n: None,
) -> tuple[Sample, ...]:
    """One lossless PNG in the store for each prompt and seed, prompts first. Raises ModelError for a broken model."""
    pipe = loaded.pipe
    set_solver(pipe, settings.scheduler)
    embeddings = encode(pipe, [*settings.prompts, settings.negative_prompt])
    wanted = iter([(prompt, seed) for prompt in settings.prompts for seed in settings.seeds])
    samples: list[Sample] = []
    while batch := list(islice(wanted, settings.batch_size)):
        latents = denoise(pipe, batch, embeddings, settings)
        for (prompt, seed), one in zip(batch, latents, strict=True):
            picture = decode(pipe, one, f'"{prompt}", seed {seed}, epoch {epoch}')
            said = parameters(Picture(prompt, seed, epoch), picture.size, loaded, settings)
            key = store.put(png(picture, said))
            samples.append(Sample(prompt=prompt, seed=seed, epoch=epoch, key=key))
        progress(len(batch))
    return tuple(samples)
