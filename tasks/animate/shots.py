"""The style arriving, as frames and as a still sheet: along the snapshots, or straight from the base model to one."""

import io
from dataclasses import dataclass

from PIL import Image

from tasks.animate.labels import INK, PAPER, SOFT, epoch_label, write
from tasks.animate.layout import Heading, fit, frame
from tasks.animate.settings import AnimateSettings
from tasks.common.errors import WikistyleError
from tasks.common.pictures import paste_rows
from tasks.common.records import Between, Sample
from tasks.common.store import Store


@dataclass(frozen=True)
class Shot:
    """One frame: its heading, how far along it is (0 to 1), and the keys of its pictures, one for each seed."""

    label: str
    progress: float
    keys: tuple[str, ...]


class AnimateError(WikistyleError):
    """Pictures for a film are missing; one line with which, and what to do."""


def open_picture(store: Store, key: str) -> Image.Image:
    """The RGB picture of a key."""
    return Image.open(io.BytesIO(store.read(key))).convert("RGB")


def by_epoch(prompt: str, samples: list[Sample]) -> dict[int, list[Sample]]:
    """The samples of a prompt: epochs ascending, the seeds of each in the same order. Raises AnimateError for gaps."""
    mine = [sample for sample in samples if sample.prompt == prompt]
    seeds = list(dict.fromkeys(sample.seed for sample in mine))
    found = {(sample.epoch, sample.seed): sample for sample in mine}
    if not found:
        raise AnimateError(f'there is no picture of "{prompt}"; run the sample stage with it among the prompts')
    epochs = sorted({sample.epoch for sample in mine})
    for epoch, seed in ((epoch, seed) for epoch in epochs for seed in seeds):
        if (epoch, seed) not in found:
            raise AnimateError(
                f'"{prompt}" has no picture for {epoch_label(epoch)}, seed {seed}; draw that epoch again'
            )
    return {epoch: [found[epoch, seed] for seed in seeds] for epoch in epochs}


def training_shots(prompt: str, samples: list[Sample], between: list[Between]) -> list[Shot]:
    """One shot for each epoch, the base model first, and between two neighbours those that were drawn between them.

    Pictures of other prompts are left aside. Raises AnimateError when a shot lacks a seed that another has.
    """
    epochs = by_epoch(prompt, samples)
    last = max(1, *epochs)
    seeds = [sample.seed for sample in next(iter(epochs.values()))]
    shots = [Shot(epoch_label(epoch), epoch / last, tuple(s.key for s in row)) for epoch, row in epochs.items()]
    for (since, epoch, strength), keys in _by_strength(prompt, between, seeds).items():
        label = f"{epoch_label(since)} → {epoch_label(epoch)}" if since == 0 else f"epoch {since} → {epoch}"
        shots.append(Shot(label, (since + (epoch - since) * strength) / last, keys))
    return sorted(shots, key=lambda shot: shot.progress)


def dial_shots(prompt: str, between: list[Between]) -> list[Shot]:
    """One shot for each strength, the base model first. Raises AnimateError as `training_shots`."""
    seeds = list(dict.fromkeys(picture.seed for picture in between if picture.prompt == prompt))
    if not seeds:
        raise AnimateError(f'there is no picture of "{prompt}" for a dial film; run the sample stage again')
    rows = sorted(_by_strength(prompt, between, seeds).items(), key=lambda row: row[0][2])
    return [Shot(_dial_label(since, epoch, strength), strength, keys) for (since, epoch, strength), keys in rows]


def _dial_label(since: int, epoch: int, strength: float) -> str:
    if strength in (0, 1):
        return epoch_label(epoch if strength else since)
    return f"{100 * strength:.0f} % of {epoch_label(epoch)}"


def _by_strength(
    prompt: str, between: list[Between], seeds: list[int]
) -> dict[tuple[int, int, float], tuple[str, ...]]:
    """(since, epoch, strength) → the key of each seed. Raises AnimateError naming a seed that is not there."""
    found: dict[tuple[int, int, float], dict[int, str]] = {}
    for picture in between:
        if picture.prompt == prompt:
            found.setdefault((picture.since, picture.epoch, picture.strength), {})[picture.seed] = picture.key
    for (since, epoch, strength), keys in found.items():
        if missing := [seed for seed in seeds if seed not in keys]:
            raise AnimateError(
                f'"{prompt}" has no picture for seed {missing[0]} at {strength:g} of the way from '
                f"{epoch_label(since)} to {epoch_label(epoch)}; draw it again"
            )
    return {at: tuple(keys[seed] for seed in seeds) for at, keys in found.items()}


def frames_of(prompt: str, shots: list[Shot], settings: AnimateSettings, store: Store) -> list[Image.Image]:
    """One RGB frame for each shot, seeds side by side."""
    return [
        frame(
            [open_picture(store, key) for key in shot.keys],
            Heading(shot.label, shot.progress),
            prompt,
            settings.tile,
            settings.columns,
        )
        for shot in shots
    ]


def contact_sheet(prompt: str, shots: list[Shot], seeds: list[int], tile: int, store: Store) -> Image.Image:
    """RGB: shots downwards, seeds across, both labelled."""
    rows = [[fit(open_picture(store, key), tile) for key in shot.keys] for shot in shots]
    width, height = rows[0][0].size
    gap, margin, text = max(2, tile // 32), tile // 8, max(11, tile // 8)
    left, top = margin + text * 6, margin + round(text * 3.2)
    size = (left + len(rows[0]) * (width + gap) - gap + margin, top + len(rows) * (height + gap) - gap + margin)
    sheet = Image.new("RGB", size, PAPER)
    write(sheet, (margin, margin + text), prompt, (text * 1.25, INK), sheet.width - 2 * margin)
    for column, seed in enumerate(seeds):
        at = (left + column * (width + gap), top - text * 0.5)
        write(sheet, at, f"seed {seed}", (text, SOFT), width)
    for i, (shot, row) in enumerate(zip(shots, rows, strict=True)):
        y = top + i * (height + gap)
        write(sheet, (margin, y + height / 2 + text * 0.35), shot.label, (text, INK), left - margin)
        paste_rows(sheet, row, len(row), (left, y), gap)
    return sheet
