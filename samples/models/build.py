"""From the npm packages to the trained models: `python -m samples.models.build` (resumes after a kill).

Order: VAE, CLIP (its text half conditions the UNet), BLIP (its vision tower starts from CLIP's), UNet.
"""

import json
from pathlib import Path

from samples.models import blip, clip, unet, vae
from samples.models.drawings import TRAINING_STYLES, fetch_packages, load_drawings

WORK = Path(".work")


def main() -> None:
    packages = fetch_packages(WORK / "npm")
    drawings = load_drawings(packages, TRAINING_STYLES)
    things = list(load_drawings(packages, ("openmoji",)).things)
    work, target = WORK / "models", Path(__file__).parent
    base = work / "base"
    seconds = {}
    if not (base / "vae").exists():
        seconds["vae"] = vae.train(drawings, work, base / "vae")
    if not (base / "text_encoder").exists():
        seconds["clip"] = clip.train(drawings, things, work, target / "clip", base)
    if not (target / "blip" / "model.safetensors").exists():
        seconds["blip"] = blip.train(drawings, things, target / "clip", work, target / "blip")
    unet.train_base(drawings, base, work, target / "base")
    print(json.dumps({name: round(value) for name, value in seconds.items()}))


if __name__ == "__main__":
    main()
