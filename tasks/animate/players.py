"""What moves on the page: pictures in the order in which they are played or slid through."""

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.animate.embed import Pictures
from tasks.animate.labels import epoch_label
from tasks.animate.page import Dialled
from tasks.animate.shots import AnimateError, by_epoch
from tasks.common.records import Sample


@dataclass(frozen=True)
class Shot:
    """What is seen at one moment: the numbers of the pictures, prompt by prompt, within each seed by seed."""

    label: str
    epoch: int
    strength: float
    pictures: tuple[int, ...]


@dataclass(frozen=True)
class Times:
    """How long a frame is shown, and the last one, in ms."""

    frame: int
    last: int


@dataclass(frozen=True)
class Player:
    """Shots that are played; every one has the same prompts and seeds. `size` of a picture is width and height in px.

    Begins with its last shot where motion is unwanted. `autoplay` runs while it is in sight.
    """

    name: str
    prompts: tuple[str, ...]
    seeds: tuple[int, ...]
    shots: tuple[Shot, ...]
    size: tuple[int, int]
    times: Times
    autoplay: bool = False

    def data(self) -> dict[str, object]:
        """What the page's script reads."""
        return {
            "prompts": self.prompts,
            "seeds": self.seeds,
            "ms": self.times.frame,
            "hold": self.times.last,
            "shots": [[shot.label, shot.epoch, shot.strength, shot.pictures] for shot in self.shots],
        }


@dataclass(frozen=True)
class Dial:
    """A grid of shots over epochs and strengths of one prompt; `at` are the indices it begins with."""

    prompt: str
    seeds: tuple[int, ...]
    epochs: tuple[int, ...]
    strengths: tuple[float, ...]
    shots: tuple[Shot, ...]
    size: tuple[int, int]
    at: tuple[int, int]

    def data(self) -> dict[str, object]:
        """What the page's script reads: a shot for each epoch and, within it, each strength."""
        return {
            "prompts": (self.prompt,),
            "seeds": self.seeds,
            "epochs": self.epochs,
            "strengths": self.strengths,
            "shots": [[shot.label, shot.epoch, shot.strength, shot.pictures] for shot in self.shots],
        }


def training_player(
    name: str, prompts: Sequence[str], samples: Sequence[Sample], times: Times, pool: Pictures
) -> Player:
    """All prompts through the snapshots. Raises AnimateError for a prompt without a picture that others have."""
    rows = {prompt: by_epoch(prompt, list(samples)) for prompt in prompts}
    first = next(iter(rows.values()))
    shots = []
    for epoch in first:
        drawn = [sample for prompt in prompts for sample in rows[prompt].get(epoch, ())]
        if len(drawn) != len(prompts) * len(first[epoch]):
            raise AnimateError(f"some prompts have no picture for {epoch_label(epoch)}; draw that epoch again")
        shots.append(Shot(epoch_label(epoch), epoch, min(epoch, 1), tuple(pool.use(sample.key) for sample in drawn)))
    some = next(iter(first.values()))
    seeds = tuple(sample.seed for sample in some)
    return Player(name, tuple(prompts), seeds, tuple(shots), pool.size(some[0].key), times)


def straight_player(name: str, pictures: Sequence[Dialled], times: Times, pool: Pictures) -> Player:
    """One prompt on the straight way from the base to an epoch. Raises AnimateError for gaps."""
    seeds, prompt = tuple(dict.fromkeys(picture.seed for picture in pictures)), pictures[0].prompt
    found = {(picture.strength, picture.seed): picture for picture in pictures}
    shots = []
    for strength in sorted({picture.strength for picture in pictures}):
        row = _row(prompt, [found.get((strength, seed)) for seed in seeds], f"strength {strength:g}")
        shots.append(_shot(row, _way_label(strength, row[0].epoch), pool))
    quick = Times(max(40, times.frame // 4), times.last)
    return Player(name, (prompt,), seeds, tuple(shots), pool.size(pictures[0].key), quick, autoplay=True)


def style_dial(pictures: Sequence[Dialled], at: tuple[int | None, float | None], pool: Pictures) -> Dial:
    """The grid of one prompt, set to the epoch and strength `at`, or to the last epoch at 1. AnimateError for gaps."""
    prompt, seeds = pictures[0].prompt, tuple(dict.fromkeys(picture.seed for picture in pictures))
    epochs = tuple(sorted({picture.epoch for picture in pictures}))
    strengths = tuple(sorted({picture.strength for picture in pictures}))
    found = {(picture.epoch, picture.strength, picture.seed): picture for picture in pictures}
    shots = []
    for epoch in epochs:
        for strength in strengths:
            label = f"{epoch_label(epoch)}, strength {strength:g}"
            row = _row(prompt, [found.get((epoch, strength, seed)) for seed in seeds], label)
            shots.append(_shot(row, "base model" if strength == 0 else label, pool))
    start = epochs[-1] if at[0] is None else at[0], 1.0 if at[1] is None else at[1]
    nearest = (
        min(range(len(epochs)), key=lambda i: abs(epochs[i] - start[0])),
        min(range(len(strengths)), key=lambda i: abs(strengths[i] - start[1])),
    )
    return Dial(prompt, seeds, epochs, strengths, tuple(shots), pool.size(pictures[0].key), nearest)


def noise_player(name: str, prompt: str, keys: Sequence[str], times: Times, pool: Pictures) -> Player:
    """One picture coming out of noise, at half the time each: many shots that differ little."""
    last = max(1, len(keys) - 1)
    shots = [
        Shot("noise" if i == 0 else "picture" if i == last else f"{round(100 * i / last)} %", 0, 1, (pool.use(key),))
        for i, key in enumerate(keys)
    ]
    quick = Times(max(20, times.frame // 2), times.last)
    return Player(name, (prompt,), (), tuple(shots), pool.size(keys[-1]), quick, autoplay=True)


def _row(prompt: str, row: Sequence[Dialled | None], where: str) -> list[Dialled]:
    whole = [picture for picture in row if picture]
    if len(whole) < len(row):
        raise AnimateError(f'"{prompt}" has no picture of every seed for {where}; draw it again')
    return whole


def _shot(row: Sequence[Dialled], label: str, pool: Pictures) -> Shot:
    return Shot(label, row[0].epoch, row[0].strength, tuple(pool.use(picture.key) for picture in row))


def _way_label(strength: float, epoch: int) -> str:
    """A point of the straight way; its ends have names of their own."""
    if strength == 0:
        return "base model"
    return epoch_label(epoch) if strength == 1 else f"strength {strength:.2f}"
