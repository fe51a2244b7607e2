"""One picture from a finished run: any prompt, one of its epochs, and how far the weights are on the way there."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from flows.common.base_model import base_of
from flows.common.run_folder import find_run
from flows.common.settings import SettingsError
from tasks.common.files import file_name, write_atomically
from tasks.common.records import Snapshot, Training
from tasks.common.store import Store, sha256_of
from tasks.sample.settings import SampleSettings

if TYPE_CHECKING:
    from PIL import Image

REDRAWN = 0.6  # of the noise an own picture is given: it keeps its composition, and becomes a drawing of the model


@dataclass(frozen=True)
class Wanted:
    """What to draw. `epoch` None: the last; `strength` 0 to 1.25 (1: the epoch's own weights); `source`: a picture."""

    prompt: str
    epoch: int | None
    strength: float
    seed: int
    source: Path | None = None


def draw_one(run: str, wanted: Wanted, out: Path | None) -> Path:
    """Draw it, or take the run's own sample where it is one, and write a PNG; returns where.

    Raises SettingsError, in one line, for a run, epoch or picture that isn't there.
    """
    folder = find_run(run)
    summary = json.loads((folder / "summary.json").read_text())
    training, settings = _made(folder, summary)
    snapshot = _snapshot(folder, training, wanted.epoch)
    at = f"epoch-{snapshot.epoch}-strength-{wanted.strength:g}-seed-{wanted.seed}"
    path = out or Path(f"{file_name(wanted.prompt)}-{at}.png")
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise SettingsError(f"{path} can't be written: it, or what it lies in, is no file's place; name another --out")
    source = _opened(wanted.source) if wanted.source else None
    data = _sampled(folder, summary, snapshot, wanted) or _drawn(training, snapshot, settings, wanted, source)
    write_atomically(path, data)
    return path


def _made(folder: Path, summary: dict[str, Any]) -> tuple[Training, SampleSettings]:
    """The run's training, and how it draws."""
    if "snapshots" in summary and "training" not in summary:
        raise SettingsError(f"run {folder.name} is of an older wikistyle; write it again with `wikistyle run`")
    if "training" not in summary:
        raise SettingsError(f"run {folder.name} has no model: it collected only; run fine-tune, then name that run")
    try:
        training = Training.model_validate(summary["training"])
        return training, SampleSettings.model_validate(summary["settings"]["sample"])
    except (ValidationError, KeyError) as error:
        reason = " ".join(str(error).split())[:120]
        raise SettingsError(
            f"run {folder.name} can't be read ({reason}); write it again with `wikistyle run`"
        ) from None


def _snapshot(folder: Path, training: Training, epoch: int | None) -> Snapshot:
    if epoch is None:
        return training.snapshots[-1]
    found = {snapshot.epoch: snapshot for snapshot in training.snapshots}
    if epoch not in found:
        there = ", ".join(map(str, found))
        raise SettingsError(f"run {folder.name} has no snapshot of epoch {epoch}; there are {there}: name one of these")
    return found[epoch]


def _opened(path: Path) -> "Image.Image":
    from PIL import Image

    try:
        with Image.open(path) as picture:
            return picture.convert("RGB")
    except Exception as error:  # whatever is wrong with a file of somebody's own
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise SettingsError(f"{path} can't be read as a picture ({reason}); give a PNG or JPEG to --from") from None


def _sampled(folder: Path, summary: dict[str, Any], snapshot: Snapshot, wanted: Wanted) -> bytes | None:
    """The run's own picture of it, if it drew one: in another batch it would be the same but for rounding."""
    if wanted.strength != 1 or wanted.source:
        return None
    name = f"samples/epoch-{snapshot.epoch:04d}/{file_name(wanted.prompt)}-seed-{wanted.seed}.png"
    hashes = {file["path"]: file["sha256"] for file in summary["files"]}
    path = folder / name
    return path.read_bytes() if name in hashes and path.is_file() and sha256_of(path) == hashes[name] else None


def _drawn(
    training: Training, snapshot: Snapshot, settings: SampleSettings, wanted: Wanted, source: "Image.Image | None"
) -> bytes:
    import torch

    from tasks.diffusion.between import put_strength
    from tasks.diffusion.draw import decode, denoise, encode, png, redraw
    from tasks.diffusion.parameters import Picture, parameters
    from tasks.diffusion.pipeline import best_device, load_base, set_solver

    base, (device, dtype) = base_of(training), best_device()
    loaded = load_base(base.model, base.revision, device, torch.float32 if source else dtype)
    put_strength(loaded, snapshot, wanted.strength, Store())
    set_solver(loaded.pipe, settings.scheduler)
    embeddings = encode(loaded.pipe, [wanted.prompt, settings.negative_prompt])
    asked = (wanted.prompt, wanted.seed)
    if source:
        latents = redraw(loaded.pipe, source, REDRAWN, asked, embeddings, settings)
    else:
        latents = denoise(loaded.pipe, [asked], embeddings, settings)
    picture = decode(loaded.pipe, latents[0], f'"{wanted.prompt}", seed {wanted.seed}, epoch {snapshot.epoch}')
    said = Picture(wanted.prompt, wanted.seed, snapshot.epoch, wanted.strength)
    more = {"Denoising strength": REDRAWN} if source else {}
    return png(picture, parameters(said, picture.size, loaded, settings, **more))
