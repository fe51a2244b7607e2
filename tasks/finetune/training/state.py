"""The resume states of a training: weights, optimizer moments, EMA and progress, each in one safetensors file.

A folder holds the states of one course of training, which settings and data determine to the bit. The last two are
kept, so that one that is damaged costs the steps between them alone, and the farthest, when an earlier stretch of the
course is trained again.
"""

from pathlib import Path
from typing import TypeVar

import torch
from pydantic import ValidationError
from safetensors import safe_open
from safetensors.torch import save_file

from tasks.common.errors import first_line
from tasks.finetune.errors import FinetuneError
from tasks.finetune.training.intact import keep, kept
from tasks.finetune.training.made import Progress

CHANNELS_LAST = "@channels_last"  # marks a tensor kept as [N, H, W, C]: turned, not copied, which saves gigabytes
P = TypeVar("P", bound=Progress)


def save_state(
    folder: Path,
    named: dict[str, torch.nn.Parameter],
    optimizer: torch.optim.Optimizer,
    ema: list[torch.Tensor] | None,
    progress: Progress,
) -> None:
    """Write the state after `progress.step` to the folder, beside the one before it. Never more than one is lost."""
    tensors = {f"weight/{name}": p.detach() for name, p in named.items()}
    for name, p in named.items():
        for key, value in optimizer.state.get(p, {}).items():
            if key != "step" and isinstance(value, torch.Tensor):
                tensors[f"{key}/{name}"] = value
    for name, shadow in zip(named, ema or (), strict=bool(ema)):
        tensors[f"ema/{name}"] = shadow
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / "state.partial"
    laid = dict(_laid_out(name, tensor.cpu()) for name, tensor in tensors.items())
    _remove_others(folder, progress.step, states_in(folder))  # first: there is room for two states, not for three
    save_file(laid, partial, metadata={"progress": progress.model_dump_json()})
    new = keep(partial, f"step-{progress.step:09d}")
    _remove_others(folder, progress.step, [new])


def states_in(folder: Path) -> list[Path]:
    """The states in a folder, the farthest first; not looked into."""
    return kept(folder, "step-" + "[0-9]" * 9)[::-1]


def step_of(state: Path) -> int:
    """The number of steps done in a state, by its name."""
    return int(state.name.split("-")[1])


def _remove_others(folder: Path, step: int, at_step: list[Path]) -> None:
    """Keep of the states: the last before `step`, the farthest, and of those at the step the ones in `at_step`."""
    states = states_in(folder)
    before = [state for state in states if step_of(state) < step][:1]
    farthest = [state for state in states if step_of(state) > step][:1]
    for state in states:
        if state not in before + farthest and not (step_of(state) == step and state in at_step):
            state.unlink()


def _laid_out(name: str, tensor: torch.Tensor) -> tuple[str, torch.Tensor]:
    if tensor.is_contiguous():
        return name, tensor
    if tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last):
        return name + CHANNELS_LAST, tensor.permute(0, 2, 3, 1)
    return name, tensor.contiguous()


def read_progress(state: Path, kind: type[P]) -> P:
    """The progress in a state, without its tensors. Raises FinetuneError when the file holds none of this kind."""
    try:
        with safe_open(state, "pt") as opened:
            found = (opened.metadata() or {})["progress"]
        progress = kind.model_validate_json(found)
    except ValidationError as error:
        first = error.errors()[0]
        raise FinetuneError(f"its progress is not one: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    except Exception as error:
        raise FinetuneError(f"it is no resume state ({first_line(error)})") from error
    if progress.step != step_of(state) or len(progress.losses) != progress.step:
        raise FinetuneError(f"it is named after step {step_of(state)}, but holds step {progress.step}")
    return progress


def saved_progress(folder: Path, kind: type[P]) -> P | None:
    """The progress of the farthest state in a folder, for whoever watches a training; None when there is none yet."""
    for state in states_in(folder):
        try:
            return read_progress(state, kind)
        except FinetuneError:
            continue  # replaced since, or damaged, which is for the training to say
    return None


@torch.no_grad()
def load_state(
    path: Path,
    named: dict[str, torch.nn.Parameter],
    optimizer: torch.optim.Optimizer,
    ema: list[torch.Tensor] | None,
    skipped: int = 0,
) -> None:
    """Restore weights, moments and EMA in place from a state. Raises FinetuneError when it is of another model.

    `skipped`: how many of its steps the optimizer left out, as it does in fp16.
    """
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
                    optimizer.state[p] = {"step": _steps_taken(optimizer, step_of(path) - skipped, p.device)}
                for key in found:
                    optimizer.state[p][key] = _like(p, read(f"{key}/{name}"))
                if ema:
                    ema[i].copy_(read(f"ema/{name}"))
        except Exception as error:
            raise FinetuneError(
                f"resume state {path} does not fit the model ({first_line(error)}); delete it to train from the start"
            ) from error


def _steps_taken(optimizer: torch.optim.Optimizer, step: int, device: torch.device) -> torch.Tensor | int:
    """torch's fused optimizers count in a float tensor beside the parameter, bitsandbytes' in an int."""
    return torch.tensor(float(step), device=device) if type(optimizer).__module__.startswith("torch.") else step


def _like(p: torch.Tensor, moment: torch.Tensor) -> torch.Tensor:
    """On the parameter's device and, when of its shape, in its memory layout."""
    if moment.shape != p.shape:
        return moment.to(p.device)
    return torch.empty_like(p, dtype=moment.dtype).copy_(moment)
