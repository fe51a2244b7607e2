"""The one rolling resume state of a training: weights, optimizer moments, EMA and step, in one safetensors file."""

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from tasks.finetune.errors import FinetuneError, first_line

CHANNELS_LAST = "@channels_last"  # marks a tensor kept as [N, H, W, C]: turned, not copied, which saves gigabytes


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
        for key, value in optimizer.state.get(p, {}).items():
            if key != "step" and isinstance(value, torch.Tensor):
                tensors[f"{key}/{name}"] = value
    for name, shadow in zip(named, ema or (), strict=bool(ema)):
        tensors[f"ema/{name}"] = shadow
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    laid = dict(_laid_out(name, tensor.cpu()) for name, tensor in tensors.items())
    save_file(laid, partial, metadata={"progress": json.dumps(progress)})
    with partial.open("rb") as written:
        os.fsync(written.fileno())
    partial.rename(path)


def _laid_out(name: str, tensor: torch.Tensor) -> tuple[str, torch.Tensor]:
    if tensor.is_contiguous():
        return name, tensor
    if tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last):
        return name + CHANNELS_LAST, tensor.permute(0, 2, 3, 1)
    return name, tensor.contiguous()


def saved_progress(path: Path) -> dict[str, Any] | None:
    """The progress of the state at `path`, without its tensors; None when there is none.

    Raises FinetuneError when the file is damaged.
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, "pt") as state:
            return json.loads(state.metadata()["progress"])
    except Exception as error:
        raise FinetuneError(
            f"resume state {path} is damaged ({first_line(error)}); delete it to train from the start"
        ) from error


@torch.no_grad()
def load_state(
    path: Path,
    named: dict[str, torch.nn.Parameter],
    optimizer: torch.optim.Optimizer,
    ema: list[torch.Tensor] | None,
) -> dict[str, Any] | None:
    """Restore a state in place and return its progress, or None when there is none.

    Raises FinetuneError when the file is damaged or belongs to a model of another shape.
    """
    progress = saved_progress(path)
    if progress is None:
        return None
    moved = progress["step"] - progress.get("skipped", 0)  # in fp16 the optimizer leaves steps out
    with safe_open(path, "pt") as state:
        stored = {key.removesuffix(CHANNELS_LAST): key for key in state.keys()}  # noqa: SIM118 (not a dict)
        moments = {key.split("/")[0] for key in stored} - {"weight", "ema"}

        def read(key: str) -> torch.Tensor:
            tensor = state.get_tensor(stored[key])
            return tensor.permute(0, 3, 1, 2) if stored[key].endswith(CHANNELS_LAST) else tensor

        try:
            for i, (name, p) in enumerate(named.items()):
                p.copy_(read(f"weight/{name}"))
                found = [key for key in sorted(moments) if f"{key}/{name}" in stored]
                if found:
                    optimizer.state[p] = {"step": _step_of(optimizer, moved, p.device)}
                for key in found:
                    optimizer.state[p][key] = _like(p, read(f"{key}/{name}"))
                if ema:
                    ema[i].copy_(read(f"ema/{name}"))
        except Exception as error:
            raise FinetuneError(
                f"resume state {path} does not fit the model ({first_line(error)}); delete it to train from the start"
            ) from error
    return progress


def _step_of(optimizer: torch.optim.Optimizer, step: int, device: torch.device) -> torch.Tensor | int:
    """torch's fused optimizers count in a float tensor beside the parameter, bitsandbytes' in an int."""
    return torch.tensor(float(step), device=device) if type(optimizer).__module__.startswith("torch.") else step


def _like(p: torch.Tensor, moment: torch.Tensor) -> torch.Tensor:
    """On the parameter's device and, when of its shape, in its memory layout."""
    if moment.shape != p.shape:
        return moment.to(p.device)
    return torch.empty_like(p, dtype=moment.dtype).copy_(moment)
