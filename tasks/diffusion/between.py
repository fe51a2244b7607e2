"""Weights on the straight line between two sets: (1 − t)·first + t·second (Wortsman et al., arXiv 2109.01903)."""

from dataclasses import dataclass

import torch

from tasks.common.errors import ModelError
from tasks.common.records import Snapshot, StoredFile
from tasks.common.store import Store
from tasks.diffusion.pipeline import LoadedPipeline, file_key, fill, part_weights, put_in
from tasks.diffusion.snapshots import in_decoder

MOST = 1.25  # a little beyond the second set; farther out pictures fall apart

Weights = dict[str, torch.Tensor]


@dataclass(frozen=True)
class PartEnds:
    """The UNet's or the decoder's two sets of weights, as they were kept, and the names they go by in the pipeline."""

    first: Weights
    second: Weights
    keys: tuple[str | None, str | None]


@dataclass(frozen=True)
class Ends:
    """Two sets of weights to go between; each is read once, however many points between them are put in."""

    unet: PartEnds
    decoder: PartEnds


def read_ends(loaded: LoadedPipeline, first: Snapshot | None, second: Snapshot | None, store: Store) -> Ends:
    """Read both sets, for `put_between`. None, of a snapshot or of a part of it, is the base model's own weights.

    Raises ModelError when they were trained from another base model, or don't fit each other.
    """

    def part(kind: str, files: tuple[StoredFile | None, StoredFile | None]) -> PartEnds:
        ends = [part_weights(loaded, file, kind, store) for file in files]
        if kind == "vae":  # its encoder is nowhere trained
            ends = [{name: value for name, value in end.items() if in_decoder(name)} for end in ends]
        one, other = ends
        shapes = [{name: value.shape for name, value in end.items()} for end in ends]
        if shapes[0] != shapes[1]:
            raise ModelError(
                f"there is no way between the two snapshots: their {kind} weights differ in names or shapes; "
                "take two of the same training"
            )
        return PartEnds(one, other, (file_key(files[0]), file_key(files[1])))

    return Ends(
        part("unet", (first and first.unet, second and second.unet)),
        part("vae", (first and first.decoder, second and second.decoder)),
    )


def put_between(loaded: LoadedPipeline, ends: Ends, t: float, decoder_t: float | None = None) -> None:
    """Put (1 − t)·first + t·second into the pipeline, computed in fp32 on its device; nothing is written anywhere.

    `t`, 0 to 1.25 (no unit), is the UNet's; `decoder_t` the decoder's, by default the same. At 0 and 1 the weights
    are those of the end, bit for bit, as `put_in` puts them. Raises ModelError for a `t` out of range.
    """
    decoder_t = t if decoder_t is None else decoder_t
    for strength in (t, decoder_t):
        if not 0 <= strength <= MOST:
            raise ModelError(f"strength {strength} is out of range; give one from 0 (first) to {MOST} (1: second)")
    if (name := _name(ends.unet, t)) != loaded.unet:
        fill(loaded, loaded.pipe.unet, _mixed(ends.unet, t, loaded), f"the UNet at strength {t}")
        loaded.unet = name
    if (name := _name(ends.decoder, decoder_t)) != loaded.decoder:
        vae = loaded.pipe.vae
        encoder = {name: value for name, value in vae.state_dict().items() if not in_decoder(name)}
        what = f"the decoder at strength {decoder_t}"
        fill(loaded, vae, _mixed(ends.decoder, decoder_t, loaded) | encoder, what)
        loaded.decoder = name


def _name(part: PartEnds, t: float) -> str | None:
    """What the pipeline calls these weights, so that `put_in` knows which are in it."""
    first, second = part.keys
    if t == 0 or first == second:
        return first
    return second if t == 1 else f"{float(t)!r} of the way from {first} to {second}"


def _mixed(part: PartEnds, t: float, loaded: LoadedPipeline) -> Weights:
    if t == 0 or part.keys[0] == part.keys[1]:
        return part.first
    if t == 1:
        return part.second
    device = loaded.pipe.device
    return {
        name: (1 - t) * value.to(device, torch.float32) + t * part.second[name].to(device, torch.float32)
        for name, value in part.first.items()
    }


def put_strength(loaded: LoadedPipeline, snapshot: Snapshot, strength: float, store: Store) -> None:
    """Put in what lies `strength` on the way from the base model (0) to a snapshot (1); no end is read in vain.

    Raises ModelError as `put_in`, `read_ends` and `put_between` do.
    """
    if strength == 1:
        put_in(loaded, snapshot, store)
    elif strength == 0:
        put_in(loaded, snapshot.model_copy(update={"unet": None, "decoder": None}), store)
    else:
        put_between(loaded, read_ends(loaded, None, snapshot, store), strength)
