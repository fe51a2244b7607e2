"""The pictures of a dataset, checked and as the tensors that are trained on."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from tasks.common.errors import DatasetError
from tasks.common.rows import Row, decode


def check_pictures(rows: list[Row], resolution: int) -> None:
    """Decode every picture, and raise one DatasetError with the count and the names of those that do not decode."""

    def fault(row: Row) -> str:
        try:
            decode(row, resolution)
        except DatasetError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor() as pool:
        faults = [found for found in pool.map(fault, rows) if found]
    if faults:
        raise DatasetError(f"{len(faults)} of {len(rows)} pictures can't be read; the first: {faults[0]}")


def pixels(rows: list[Row], resolution: int) -> torch.Tensor:
    """float32 [N, 3, resolution, resolution] in [-1, 1]."""
    stacked = np.stack([decode(row, resolution) for row in rows])
    return torch.from_numpy(stacked).permute(0, 3, 1, 2).float() / 127.5 - 1
