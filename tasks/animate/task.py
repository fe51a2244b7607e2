"""The animate stage as Prefect tasks: two films for each prompt, and the denoising film."""

from tasks.animate import films
from tasks.animate.settings import AnimateSettings
from tasks.common.caching import cached_task
from tasks.common.records import Animation, Between, Sample
from tasks.common.store import Store

VERSION = 2


def stored_keys(film: Animation) -> list[str]:
    """The store keys a cached result relies on."""
    return [file.key for file in film.files]


@cached_task("animate-dial", VERSION, keys=stored_keys, task_run_name="film of {prompt} from base to tuned")
def animate_dial(prompt: str, between: list[Between], settings: AnimateSettings) -> Animation:
    """The film of one prompt on the straight way; hand over that prompt's pictures only, they are the cache key."""
    return films.dial_film(prompt, between, settings, Store())


@cached_task("animate-training", VERSION, keys=stored_keys, task_run_name="film of {prompt} through the epochs")
def animate_training(
    prompt: str, samples: list[Sample], between: list[Between], settings: AnimateSettings
) -> Animation:
    """The film of one prompt through all epochs; hand over that prompt's pictures only, they are the cache key."""
    return films.training_film(prompt, samples, between, settings, Store())


@cached_task("animate-denoising", VERSION, keys=stored_keys, task_run_name="film of {prompt} out of noise")
def animate_denoising(prompt: str, keys: list[str], settings: AnimateSettings) -> Animation:
    """The film of one picture coming out of noise."""
    return films.denoising_film(prompt, keys, settings, Store())
