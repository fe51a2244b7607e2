"""The one training loop of the small helper models (VAE, CLIP, BLIP): resumable, logged, pure in (seed, step)."""

import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file


def cosine(step: int, steps: int, peak: float, warmup: int = 100) -> float:
    """Learning rate at a step: linear warm-up to `peak`, then a cosine to 1 % of it."""
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup))))


def fit(
    model: torch.nn.Module,
    loss_at: Callable[[int, torch.Generator], torch.Tensor],
    folder: Path,
    steps: int,
    lr: float,
    weight_decay: float = 0.01,
    save_every: int = 200,
) -> float:
    """Train `model` in place with AdamW; returns the seconds spent in all its runs together.

    `loss_at(step, generator)` gives the loss of one batch; the generator is seeded with the step, so a killed run
    that is started again goes on exactly where its last saved state stood. The state (weights, optimizer moments)
    is `folder/state.safetensors`, the step and seconds are its metadata, and losses go to `folder/log.jsonl`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=weight_decay, betas=(0.9, 0.98), fused=True)
    named = dict(model.named_parameters())
    start, spent = _resume(folder / "state.safetensors", named, optimizer)
    model.train()
    began = time.time()
    for step in range(start, steps):
        for group in optimizer.param_groups:
            group["lr"] = cosine(step, steps, lr)
        loss = loss_at(step, torch.Generator().manual_seed(step))
        if not torch.isfinite(loss):
            raise RuntimeError(f"loss is {loss.item()} at step {step} of {folder.name}; lower the learning rate")
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if (step + 1) % 50 == 0:
            line = {"step": step + 1, "loss": round(loss.item(), 5), "seconds": round(spent + time.time() - began, 1)}
            with (folder / "log.jsonl").open("a") as log:
                log.write(json.dumps(line) + "\n")
            print(folder.name, line, flush=True)
        if (step + 1) % save_every == 0 or step + 1 == steps:
            _save(folder / "state.safetensors", named, optimizer, step + 1, spent + time.time() - began)
    model.eval()
    return spent + time.time() - began


def _save(
    path: Path, named: dict[str, torch.nn.Parameter], optimizer: torch.optim.Optimizer, step: int, seconds: float
) -> None:
    tensors = {f"weight.{name}": p.detach().contiguous() for name, p in named.items()}
    for name, p in named.items():
        for moment in ("exp_avg", "exp_avg_sq"):
            if p in optimizer.state:
                tensors[f"{moment}.{name}"] = optimizer.state[p][moment].contiguous()
    temporary = path.with_suffix(".partial")
    save_file(tensors, temporary, metadata={"step": str(step), "seconds": str(seconds)})
    with temporary.open("rb") as written:
        os.fsync(written.fileno())
    temporary.rename(path)


def _resume(path: Path, named: dict[str, torch.nn.Parameter], optimizer: torch.optim.Optimizer) -> tuple[int, float]:
    if not path.exists():
        return 0, 0.0
    from safetensors import safe_open

    with safe_open(path, "pt") as opened:
        metadata = opened.metadata()
    tensors = load_file(path)
    step = int(metadata["step"])
    with torch.no_grad():
        for name, p in named.items():
            p.copy_(tensors[f"weight.{name}"])
            if f"exp_avg.{name}" in tensors:
                optimizer.state[p] = {
                    "step": torch.tensor(float(step)),
                    "exp_avg": tensors[f"exp_avg.{name}"],
                    "exp_avg_sq": tensors[f"exp_avg_sq.{name}"],
                }
    return step, float(metadata["seconds"])
