"""From the npm packages to the trained models: `python -m samples.models.build` (resumes after a kill).

Order: VAE, CLIP (its text half conditions the UNet), BLIP (its vision tower starts from CLIP's), UNet.
"""

from pathlib import Path

from samples.models import blip, cards, clip, unet, vae
from samples.models.drawings import CAPTIONED_STYLES, SEEN_STYLES, TRAINING_STYLES, fetch_packages, load_drawings
from tasks.common.allocator import keep_freed_memory

WORK = Path(".work")


def main() -> None:
    keep_freed_memory()
    packages = fetch_packages(WORK / "npm")
    drawings, more = (load_drawings(packages, styles) for styles in (TRAINING_STYLES, SEEN_STYLES))
    things = list(load_drawings(packages, ("openmoji",)).things)
    work, target = WORK / "models", Path(__file__).parent
    base = work / "base"
    seconds = {"base": vae.train(drawings, work, base / "vae")}
    model, tokenizer, took = clip.train(drawings, things, work, base)
    seconds["clip"] = took + clip.refine(model, tokenizer, more, work)
    clip.save(model, tokenizer, target / "clip")
    seconds["blip"] = blip.train(
        load_drawings(packages, CAPTIONED_STYLES), things, target / "clip", work, target / "blip"
    )
    seconds["base"] += unet.train_base(drawings, base, work, target / "base")
    cards.measure_and_write(packages, seconds)


if __name__ == "__main__":
    main()
