"""The one rolling resume state of a training: weights, optimizer moments, EMA and step, in one safetensors file."""

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from tasks.finetune.errors import FinetuneError

MOMENTS = ("exp_avg", "exp_avg_sq")


def save_state(
    path: Path,
    named: dict[str, torch.nn.Parameter],
    optimizer: torch.optim.Optimizer,
    ema: list[torch.Tensor] | None,
    progress: dict[str, Any],
) -> None:
    """Replace the state at `path` atomically. `progress` is JSON (step, losses, snapshots so far)."""
    tensors = {f"weight/{name}": p.detach() for name, p in named.items()}
    for name, p in named.items():
        for moment in MOMENTS:
            if p in optimizer.state:
                tensors[f"{moment}/{name}"] = optimizer.state[p][moment]
    for name, shadow in zip(named, ema or (), strict=bool(ema)):
        tensors[f"ema/{name}"] = shadow
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    save_file({k: v.contiguous() for k, v in tensors.items()}, partial, metadata={"progress": json.dumps(progress)})
    with partial.open("rb") as written:
        os.fsync(written.fileno())
    partial.rename(path)


@torch.no_grad()
def load_state(
    path: Path,
    named: dict[str, torch.nn.Parameter],
    optimizer: torch.optim.Optimizer,
    ema: list[torch.Tensor] | None,
) -> dict[str, Any] | None:
    """Restore a state in place and return its progress, or None when there is none.

    Raises FinetuneError when the file belongs to a model of another shape.
    """
    if not path.exists():
        return None
    with safe_open(path, "pt") as state:
        progress = json.loads(state.metadata()["progress"])
        names = set(state.keys())
        try:
            for i, (name, p) in enumerate(named.items()):
                p.copy_(state.get_tensor(f"weight/{name}"))
                if f"exp_avg/{name}" in names:
                    moments = {m: torch.zeros_like(p).copy_(state.get_tensor(f"{m}/{name}")) for m in MOMENTS}
                    optimizer.state[p] = {"step": torch.tensor(float(progress["step"])), **moments}
                if ema:
                    ema[i].copy_(state.get_tensor(f"ema/{name}"))
        except Exception as error:
            raise FinetuneError(
                f"resume state {path} does not fit the model ({error}); delete it to train from the start"
            ) from error
    return progress
