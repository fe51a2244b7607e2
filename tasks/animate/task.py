"""The animate stage as Prefect tasks: a film for each prompt, and the denoising film."""

from prefect import task

from tasks.animate import films
from tasks.animate.settings import AnimateSettings
from tasks.common.caching import ContentKey
from tasks.common.records import Animation, Sample
from tasks.common.store import Store

VERSION = 1


@task(name="animate-drift", cache_policy=ContentKey("animate-drift", VERSION))
def animate_drift(prompt: str, samples: list[Sample], settings: AnimateSettings) -> Animation:
    """The film of one prompt through all epochs; hand over that prompt's samples only, they are the cache key."""
    return films.drift_film(prompt, samples, settings, Store())


@task(name="animate-denoising", cache_policy=ContentKey("animate-denoising", VERSION))
def animate_denoising(prompt: str, keys: list[str], settings: AnimateSettings) -> Animation:
    """The film of one picture coming out of noise."""
    return films.denoising_film(prompt, keys, settings, Store())
