"""How alike two pictures are to the eye: their composition, and whether one is a copy of the other.

Both are the correlation of blurred luminance, which is 1 for the same picture however bright, and 0 for two that have
nothing to do with each other. Blur leaves out what a style changes: outlines, textures and hues.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageFilter

COPY_SIDE, COPY_SHIFT = 64, 3  # px: a copy may be moved by as much as a twentieth of its side
THUMBNAIL, BLUR = 64, 2.0
KEPT = 16  # px: nothing finer is left after the blur


def thumbnails(pictures: Sequence[Image.Image]) -> np.ndarray:
    """What compositions are compared by: float32 [n, 256], of mean 0 and length 1; all 0 for a picture of one grey."""
    return _unit(np.stack([_luminance(picture, THUMBNAIL, BLUR, KEPT) for picture in pictures]))


def composition_kept(drawn: np.ndarray, base: np.ndarray) -> np.ndarray:
    """Correlation of thumbnails [..., 256] with the base's of the same prompt and noise: [...], -1 to 1."""
    return (drawn * base).sum(axis=-1)


def copy_features(pictures: Sequence[Image.Image]) -> np.ndarray:
    """What copies are found by: luminance, blurred by 1 px, at 64 px: float32 [n, 4096], 0 to 255."""
    return np.stack([_luminance(picture, COPY_SIDE, 1.0, COPY_SIDE) for picture in pictures]).reshape(len(pictures), -1)


def nearest(pictures: np.ndarray, among: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(likeness, index) [n] of the nearest of `among` [m, 4096] to each of `pictures` [n, 4096], as `copy_features`.

    Likeness is the correlation at the best shift of up to 3 px each way: a copy moved or compressed stays one.
    """
    side, r = COPY_SIDE, COPY_SHIFT
    inner = side - 2 * r
    fixed = _unit(among.reshape(-1, side, side)[:, r : side - r, r : side - r]).T
    moved = pictures.reshape(-1, side, side)
    best = np.full((len(pictures), len(among)), -1.0, np.float32)
    for top in range(2 * r + 1):
        for left in range(2 * r + 1):
            np.maximum(best, _unit(moved[:, top : top + inner, left : left + inner]) @ fixed, out=best)
    return best.max(axis=1), best.argmax(axis=1)


def copy_threshold(null: np.ndarray, false_alarms: float) -> float:
    """The likeness above which a picture is a copy, such that at most this share of the `null` [n] lies above.

    `null` is how near pictures lie that are no copies: held-out ones to trained ones.
    """
    ordered = np.sort(null)
    return float(ordered[min(len(ordered) - 1, int(np.ceil((1 - false_alarms) * (len(ordered) + 1))) - 1)])


def _luminance(picture: Image.Image, side: int, blur: float, kept: int) -> np.ndarray:
    grey = picture.convert("L").resize((side, side), Image.Resampling.BOX).filter(ImageFilter.GaussianBlur(blur))
    return np.asarray(grey.resize((kept, kept), Image.Resampling.BOX) if kept != side else grey, np.float32)


def _unit(values: np.ndarray) -> np.ndarray:
    flat = values.reshape(len(values), -1)
    centred = flat - flat.mean(axis=1, keepdims=True)
    return centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-6)
