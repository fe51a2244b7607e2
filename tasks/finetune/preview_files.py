"""Preview pictures in a training's folder: written by the training, read by whoever watches it."""

from pathlib import Path

from PIL import Image


def keep_previews(pictures: list[Image.Image], epoch: int, folder: Path) -> None:
    """Write them as `epoch-0002-prompt-0.png` to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, picture in enumerate(pictures):
        picture.save(folder / f"epoch-{epoch:04d}-prompt-{i}.png")


def kept_previews(folder: Path) -> dict[int, list[Path]]:
    """Epoch → the files `keep_previews` wrote of it, in the order of the prompts."""
    found: dict[int, list[tuple[int, Path]]] = {}
    for path in folder.glob("epoch-*-prompt-*.png"):
        _, epoch, _, prompt = path.stem.split("-")
        found.setdefault(int(epoch), []).append((int(prompt), path))
    return {epoch: [path for _, path in sorted(files)] for epoch, files in found.items()}
