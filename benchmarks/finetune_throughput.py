"""Fine-tuning, images a second: our loop over caches, against one that encodes in every step, and the bare step."""

import contextlib
import statistics
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from benchmarks.apart import apart
from benchmarks.sidebyside import Result, compare
from tasks.common.rows import Row, read_rows
from tasks.common.store import Store
from tasks.diffusion.loading import load_part
from tasks.finetune.memory.rehearsal import write_noise
from tasks.finetune.settings import FinetuneSettings
from tasks.finetune.training.baseline import in_loop_step, plain_optimizer
from tasks.finetune.training.caches import cache_all
from tasks.finetune.training.loop import optimize
from tasks.finetune.training.loss import order
from tasks.finetune.training.made import UnetProgress
from tasks.finetune.training.objective import TrainingData
from tasks.finetune.training.resume import Resume
from tasks.finetune.training.steps import StepInput
from tasks.finetune.training.train import set_attention
from tasks.finetune.training.train_state import new_optimizer, prepare


def cached_stepper(data: TrainingData, settings: FinetuneSettings, accelerator: Accelerator) -> Callable[[int], float]:
    """step → loss: an optimizer step of our loop."""
    base = (settings.base_model, settings.revision)
    unet, scheduler = (load_part(kind, *base) for kind in ("unet", "scheduler"))
    any_unet: Any = unet
    if settings.gradient_checkpointing:
        any_unet.enable_gradient_checkpointing()
    set_attention(any_unet, settings, accelerator)
    train_state = prepare(any_unet, settings, Resume(None, UnetProgress()), accelerator)
    count = len(data.latents.ids)

    def step(number: int) -> float:
        rows = [order(0, number, count)[i % count] for i in range(settings.batch_size)]
        any_scheduler: Any = scheduler
        given = StepInput(number, rows, settings.learning_rate)
        return optimize(train_state, given, data, any_scheduler, settings, accelerator)

    return step


def in_loop_stepper(rows: list[Row], settings: FinetuneSettings, accelerator: Accelerator) -> Callable[[int], float]:
    """step → loss: an optimizer step that encodes its images and captions first, as diffusers' own script does."""
    base, device = (settings.base_model, settings.revision), accelerator.device
    kinds = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
    parts: dict[str, Any] = {kind: load_part(kind, *base) for kind in kinds}
    bf16 = accelerator.mixed_precision == "bf16"
    for kind in ("vae", "text_encoder"):  # wholly in bf16, as diffusers' own script has them
        parts[kind].eval().requires_grad_(False).to(device, torch.bfloat16 if bf16 else torch.float32)
    parts["unet"].train().to(device)
    if settings.gradient_checkpointing:
        parts["unet"].enable_gradient_checkpointing()
    optimizer = plain_optimizer(parts["unet"].parameters(), settings)

    def step(number: int) -> float:
        chosen = [rows[order(0, number, len(rows))[i % len(rows)]] for i in range(settings.batch_size)]
        cast = torch.autocast(device.type, torch.bfloat16) if bf16 else contextlib.nullcontext()
        return in_loop_step(chosen, parts, optimizer, settings.resolution, cast)

    return step


def bare_stepper(data: TrainingData, settings: FinetuneSettings, accelerator: Accelerator) -> Callable[[int], float]:
    """step → loss: forward, backward and optimizer on tensors that are there already."""
    base, device = (settings.base_model, settings.revision), accelerator.device
    unet: Any = load_part("unet", *base)
    if settings.gradient_checkpointing:
        unet.enable_gradient_checkpointing()
    set_attention(unet, settings, accelerator)
    unet.train().to(device, memory_format=torch.channels_last)
    optimizer = new_optimizer(unet.parameters(), settings)
    rows = [i % len(data.latents.ids) for i in range(settings.batch_size)]
    latents = data.latents.mean[rows].to(device, memory_format=torch.channels_last)
    text = data.text.embeddings[data.text.index[rows]].to(device)
    timesteps = torch.randint(0, 1000, (len(rows),), device=device)

    def step(number: int) -> float:
        with accelerator.autocast():
            loss = unet(latents, timesteps, text, return_dict=False)[0].float().square().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(unet.parameters(), settings.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    return step


@dataclass(frozen=True)
class Bench:
    """A training that can be stepped by hand: pictures with their caches, in a folder of its own."""

    settings: FinetuneSettings
    accelerator: Accelerator
    rows: list[Row]
    data: TrainingData
    folder: Path

    def ours(self) -> Callable[[int], float]:
        return cached_stepper(self.data, self.settings, self.accelerator)

    def in_the_loop(self) -> Callable[[int], float]:
        return in_loop_stepper(self.rows, self.settings, self.accelerator)

    def bare(self) -> Callable[[int], float]:
        return bare_stepper(self.data, self.settings, self.accelerator)


@contextlib.contextmanager
def bench(settings: FinetuneSettings, pictures: int = 64) -> Iterator[Bench]:
    """Pictures of noise, cached as a training does it."""
    precision = settings.mixed_precision
    if precision == "auto":
        precision = "bf16" if torch.cuda.is_available() else "no"
    AcceleratorState._reset_state(reset_partial_state=True)  # one precision a process otherwise
    accelerator = Accelerator(mixed_precision=precision)
    with tempfile.TemporaryDirectory(prefix="wikistyle-bench-") as name:
        folder = Path(name)
        rows = read_rows(write_noise(folder / "data", pictures, settings.resolution), Store(str(folder / "store")))
        data = cache_all(rows, [], settings, folder, accelerator, print)
        yield Bench(settings, accelerator, rows, data, folder)


class Loops(Protocol):
    """What is compared: each starts a training that can be stepped by hand, step → loss."""

    def ours(self) -> Callable[[int], float]: ...
    def in_the_loop(self) -> Callable[[int], float]: ...
    def bare(self) -> Callable[[int], float]: ...


def throughput(made: Loops, batch_size: int, what: str, rounds: int, steps: int) -> list[Result]:
    """Ours against encoding in the loop, and against the bare step; and that the first two learn alike."""
    losses: dict[str, list[float]] = {"ours": [], "in the loop": [], "bare": []}

    def turn(name: str, step: Callable[[int], float]) -> Callable[[], int]:
        def run() -> int:
            losses[name] += [step(len(losses[name]) + i) for i in range(steps)]
            return steps * batch_size

        return run

    ours = turn("ours", made.ours())
    plain = turn("in the loop", made.in_the_loop())
    encoding = compare(f"{what}: caches against encoding in the loop", ours, plain, "images/s", rounds)
    alike = same_curve(f"{what}: loss with caches and encoding in the loop", losses["ours"], losses["in the loop"])
    bare = compare(f"{what}: the loop against the bare step", ours, turn("bare", made.bare()), "images/s", rounds)
    print(f"{what}: the loop adds {100 * (bare.theirs / bare.ours - 1):.1f} % to the bare step")
    return [encoding, alike, bare]


def same_curve(name: str, ours: list[float], theirs: list[float]) -> Result:
    """Mean losses of two trainings, and printed: are their curves the same within noise?

    Both take the same pictures in the same order from the same weights at the same rate, each with its own noise. So
    the losses are compared step by step: the curves are the same when the mean of the differences is within two of
    its standard errors of zero.
    """
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    mean, error = statistics.mean(differences), statistics.stdev(differences) / len(differences) ** 0.5
    verdict = "the same curve within noise" if abs(mean) <= 2 * error else "NOT the same curve"
    print(f"{name}: they differ by {mean:+.4f} ± {error:.4f} over {len(differences)} steps: {verdict}")
    a, b = statistics.mean(ours), statistics.mean(theirs)
    return Result(name, a, b, a / b, "mean squared error")


def measure() -> list[Result]:
    """The sample profile's base model at 64 px, batch 32, in both precisions."""
    from flows.common.settings import load_profile, located

    base = located(load_profile("sample")).finetune.base_model
    values = {"base_model": base, "resolution": 64, "batch_size": 32, "ema_decay": 0}
    results = []
    for precision, what in (("no", "fine-tuning in fp32"), ("bf16", "fine-tuning in bf16")):
        with apart(FinetuneSettings.model_validate(values | {"mixed_precision": precision})) as made:
            results += throughput(made, 32, what, rounds=5, steps=6)
    return results
