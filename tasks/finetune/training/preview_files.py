"""Preview pictures in a training's folder: written by the training, read by whoever watches it."""

import hashlib
import io
from pathlib import Path

from PIL import Image, PngImagePlugin

from tasks.common.files import write_atomically
from tasks.finetune.training.intact import DAMAGED

SEAL = "wikistyle-pixels"  # a text of the PNG: sha256 of its pixels


def keep_previews(pictures: list[Image.Image], epoch: int, folder: Path) -> None:
    """Write them as `epoch-0002-prompt-0.png` to `folder`."""
    for i, picture in enumerate(pictures):
        info, out = PngImagePlugin.PngInfo(), io.BytesIO()
        info.add_text(SEAL, _hash(picture))
        picture.save(out, "PNG", pnginfo=info)
        write_atomically(folder / f"epoch-{epoch:04d}-prompt-{i}.png", out.getvalue())


def kept_previews(folder: Path) -> dict[int, list[Path]]:
    """Epoch → the files `keep_previews` wrote of it, in the order of the prompts.

    A damaged file is renamed, and its epoch left out, as is one with fewer than the others: nothing depends on them.
    """
    found: dict[int, list[tuple[int, Path]]] = {}
    for path in folder.glob("epoch-*-prompt-*.png"):
        _, epoch, _, prompt = path.stem.split("-")
        if _intact(path):
            found.setdefault(int(epoch), []).append((int(prompt), path))
        else:
            path.rename(path.with_name(path.name + DAMAGED))
    whole = max((len(files) for files in found.values()), default=0)
    return {epoch: [path for _, path in sorted(files)] for epoch, files in found.items() if len(files) == whole}


def _intact(path: Path) -> bool:
    try:
        with Image.open(path) as picture:
            picture.load()
            return picture.info.get(SEAL) == _hash(picture)
    except Exception:  # a damaged picture makes decoders raise what they like
        return False


def _hash(picture: Image.Image) -> str:
    return hashlib.sha256(f"{picture.mode} {picture.size}".encode() + picture.tobytes()).hexdigest()
