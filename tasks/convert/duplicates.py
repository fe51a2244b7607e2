"""Pictures that are there twice: equal pixels are dropped, near-equal ones only reported."""

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from tasks.common.records import Jpeg, Reject


def drop_duplicates(jpegs: Sequence[Jpeg]) -> tuple[list[Jpeg], list[Reject]]:
    """Keep the first of equal pictures in the order of sha1, so that the choice doesn't depend on the wiki's order."""
    first: dict[str, Jpeg] = {}
    rejects = []
    for jpeg in sorted(jpegs, key=lambda jpeg: (jpeg.original.image.sha1, jpeg.original.image.title)):
        kept = first.setdefault(jpeg.pixel_sha256, jpeg)
        if kept is not jpeg:
            image = jpeg.original.image
            reason = f"same pixels as {kept.original.image.title}"
            rejects.append(Reject(title=image.title, sha1=image.sha1, stage="convert", reason=reason))
    return list(first.values()), rejects


def dhash(picture: Image.Image) -> str:
    """A 64-bit difference hash (16 hex digits): for 8 × 8 places of the grey picture, is it brighter to the right?"""
    grey = np.asarray(picture.convert("L").resize((9, 8), Image.Resampling.BOX), dtype=np.int16)
    bits = grey[:, 1:] > grey[:, :-1]
    return np.packbits(bits).tobytes().hex()


def near_duplicates(dhashes: Mapping[str, str], distance: int = 3) -> list[tuple[str, str, int]]:
    """Pairs of titles whose hashes differ in at most `distance` bits, as (title, title, bits), closest first.

    For a report, not for dropping: two faces of one cartoon figure can be nearer than two scans of one picture.
    """
    titles = sorted(dhashes)
    codes = np.array([int(dhashes[title], 16) for title in titles], dtype=np.uint64)
    pairs = []
    for i, code in enumerate(codes):
        apart = np.bitwise_count(codes[i + 1 :] ^ code)
        pairs += [(titles[i], titles[i + 1 + j], int(apart[j])) for j in np.flatnonzero(apart <= distance)]
    return sorted(pairs, key=lambda pair: (pair[2], pair[0], pair[1]))
