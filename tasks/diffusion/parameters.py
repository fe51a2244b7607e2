"""What a picture was drawn from, in the form in which image tools keep it in a PNG.

AUTOMATIC1111's web UI began it and ComfyUI, Civitai and others read it: a text chunk `parameters` with the prompt, a
line `Negative prompt: …` where there is one, and a line of `Name: value` pairs, which begins with `Steps:`.
"""

import json
from dataclasses import dataclass
from typing import Protocol

from tasks.diffusion.draw import DrawingSettings
from tasks.diffusion.pipeline import LoadedPipeline

SAMPLERS = {"ddim": "DDIM", "dpm++2m": "DPM++ 2M"}  # as those tools call them


class SolvedSettings(DrawingSettings, Protocol):
    """Which solver it was, too."""

    @property
    def scheduler(self) -> str: ...


@dataclass(frozen=True)
class Picture:
    """One picture: the snapshot's `epoch` (0: the base model's) and how far the weights are on the way to it.

    `strength` counts from the base model, or from the snapshot of the epoch `since` where there is one (no unit; 1:
    the snapshot's own weights).
    """

    prompt: str
    seed: int
    epoch: int
    strength: float = 1.0
    since: int = 0


def parameters(
    picture: Picture, size: tuple[int, int], loaded: LoadedPipeline, settings: SolvedSettings, **more: object
) -> str:
    """The text. It is a function of what decides the pixels alone: no version, no time, no folder's name."""
    model, digest = loaded.base_identity, loaded.base_identity.removeprefix("sha256:")
    named: dict[str, object] = {
        "Steps": settings.num_inference_steps,
        "Sampler": SAMPLERS.get(settings.scheduler, settings.scheduler),
        "CFG scale": settings.guidance_scale,
        "Seed": picture.seed,
        "Size": f"{size[0]}x{size[1]}",
    }
    named |= {"Model": model} if digest == model else {"Model hash": digest[:10]}
    named |= {"Epoch": picture.epoch, "Strength": picture.strength}
    named |= {"Since epoch": picture.since} if picture.since else {}
    lines = [picture.prompt]
    steered = settings.negative_prompt and settings.guidance_scale > 1  # without guidance it plays no part
    lines += [f"Negative prompt: {settings.negative_prompt}"] if steered else []
    pairs = (named | more | {"Version": "wikistyle"}).items()
    return "\n".join([*lines, ", ".join(f"{name}: {_value(value)}" for name, value in pairs)])


def _value(value: object) -> str:
    """A number without a needless `.0`; what holds a comma, a colon or a line's end is quoted, as those tools do."""
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return json.dumps(text, ensure_ascii=False) if any(mark in text for mark in ",:\n") else text
