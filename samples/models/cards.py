"""The model cards: what each sample model is, what it was made from, and its measured figures.

They are written at the end of `samples.models.build`.
"""

import json
import os
from pathlib import Path

from samples.models import evaluate
from samples.models.drawings import PACKAGES

HERE = Path(__file__).parent
STYLES = """\
Trained on drawings of Unicode emoji, composited on white at 64 px, with their Unicode names as captions; about 5 % of
the things were held out entirely. The VAE, the UNet and CLIP's text half saw the first three styles; CLIP's picture
half saw the first seven and BLIP all nine, because three are too few to recognise a thing in a style never seen.
OpenMoji drawings were never trained on: they are the style to be learned later, and what these figures are measured on
where they say so.

| style | npm package | licence |
|---|---|---|
| Noto Emoji | `{noto}` | Apache-2.0 (drawings), © Google |
| Twemoji | `{twemoji}` | CC BY 4.0, © Twitter and contributors |
| Fluent 3D | `{fluent}` | MIT, © Microsoft |
| Fluent Flat | `{fluent-flat}` | MIT, © Microsoft |
| EmojiOne 2 | `{emojione}` | CC BY 4.0, © Ranks.com |
| Noto Emoji 1 | `{noto-v1}` | Apache-2.0, © Google |
| FxEmojis | `{fxemoji}` | Apache-2.0, © Mozilla |
| Fluent High Contrast | `{fluent-line}` | MIT, © Microsoft |
| Streamline Emojis | `{streamline}` | CC BY 4.0, © Streamline |
""".format(**PACKAGES)

CARDS = {
    "base": (
        "A Stable Diffusion pipeline of 64 px drawings",
        "stable-diffusion",
        """\
A complete `StableDiffusionPipeline` of the real classes, tiny: CLIP text encoder (2 layers x 128), `AutoencoderKL`
(f = 4, 4 latent channels, each normalised, 0.65 M parameters) and `UNet2DConditionModel` (10.9 M parameters). It draws
what its caption names, shaded as emoji are, and exists to be fine-tuned in minutes on two cores.

```python
from diffusers import StableDiffusionPipeline

pipeline = StableDiffusionPipeline.from_pretrained("samples/models/base")
pipeline("a fox", guidance_scale=4.0, num_inference_steps=25).images[0]
```

There is **no safety checker**: it knows a few hundred emoji and nothing else.
The UNet was trained by wikistyle's own fine-tuning loop, from random weights (`samples/models/unet.py`):
{epochs} epochs of a cosine over {schedule}, batch {batch}, AdamW at {lr}, EMA 0.998, 10 % caption dropout, min-SNR 5,
epsilon prediction.
""",
    ),
    "clip": (
        "A CLIP for 64 px drawings",
        "clip",
        """\
A `CLIPModel`: text 2 layers x 128, vision 4 layers x 128 on 8 px patches. Its text half is the frozen text encoder of
the sample Stable Diffusion; the whole measures which thing a picture shows (`samples/models/clip.py`).
""",
    ),
    "blip": (
        "A BLIP that names 64 px drawings",
        "image-to-text",
        """\
A `BlipForConditionalGeneration`: vision 4 layers x 128 on 8 px patches, text decoder 2 layers x 128, for beam search.
It says what a drawing shows in a short phrase, such as "a woman mage" (`samples/models/blip.py`).
""",
    ),
}
EXPLAINED = {
    "psnr_held_out_own_styles": "VAE: PSNR in dB on held-out things of its own three styles",
    "psnr_openmoji": "VAE: PSNR in dB on OpenMoji, a style it never saw",
    "pictures": "pictures drawn: 50 names x 4 seeds, guidance 4, 25 steps (`contact-sheet.png`)",
    "clip_top1": "share of them whose asked name is CLIP's first guess among all names",
    "clip_top10": "share of them whose asked name is among CLIP's first ten",
    "names": "names to choose from",
    "openmoji_seen_top1": "OpenMoji drawing to name, things seen in training, first guess right",
    "openmoji_seen_top5": "the same, name among the first five",
    "openmoji_held_out_top5": "the same for things never seen, among the first five",
    "head_noun_seen": "OpenMoji, things seen in training: the caption holds the thing's head noun",
    "exact_seen": "the same: the caption is the thing's whole phrase",
    "head_noun_held_out": "things never seen: the caption holds the head noun",
    "exact_held_out": "things never seen: the whole phrase",
    "stutter": "captions that repeat a word twice in a row",
    "under_2_words": "captions that are empty or under two words",
}


def card(name: str, figures: dict[str, float], seconds: float | None) -> str:
    """The README of one model folder."""
    from samples.models import unet

    title, tag, text = CARDS[name]
    table = "\n".join(f"| {EXPLAINED[key]} | {value:g} |" for key, value in figures.items())
    took = f"\nTraining took {seconds / 60:.0f} minutes on {os.cpu_count()} cores.\n" if seconds else ""
    body = (
        text.format(epochs=unet.SHIPPED, schedule=unet.EPOCHS, batch=unet.BATCH, lr=unet.LR) if name == "base" else text
    )
    return (
        f"---\nlicense: cc-by-4.0\ntags: [{tag}, wikistyle]\n---\n\n# {title}\n\n{body}\n{STYLES}\n"
        f"## Measured\n\n`python -m samples.models.evaluate`:\n\n| what | value |\n|---|---|\n{table}\n{took}"
    )


def write_cards(figures: dict[str, dict[str, float]], seconds: dict[str, float]) -> None:
    """One README per model folder; the VAE's figures stand on the base's card."""
    for name in CARDS:
        own = {**figures["vae"], **figures["base"]} if name == "base" else figures[name]
        (HERE / name / "README.md").write_text(card(name, own, seconds.get(name)))


def measure_and_write(packages: dict[str, Path], seconds: dict[str, float]) -> None:
    """Measure all models, keep the figures in `figures.json`, and write the cards."""
    figures = evaluate.measure(packages, HERE, HERE / "base")
    kept = {"figures": figures, "seconds": {name: round(value) for name, value in seconds.items()}}
    (HERE / "figures.json").write_text(json.dumps(kept, indent=1) + "\n")
    write_cards(figures, seconds)
    print(json.dumps(kept, indent=1))
