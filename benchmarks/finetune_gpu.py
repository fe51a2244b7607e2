"""Fine-tuning at Stable Diffusion v1's real size on a GPU: images/s, peak memory and utilisation, no download.

Random weights at 512 px, bf16. Needs a CUDA GPU of 48 GB or more, for three models are in memory at once.
"""

import contextlib
import gc
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.finetune_throughput import bench, throughput
from benchmarks.sidebyside import Result
from tasks.finetune.memory.stable_diffusion import write_random_base
from tasks.finetune.settings import FinetuneSettings

BATCHES = (1, 4, 8)
STEPS = 10
WATCH = ("nvidia-smi", "--id=0", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "--loop-ms=200")


def measure() -> list[Result]:
    """Speed, memory and utilisation at each batch size, with gradient checkpointing; nothing where there is no GPU."""
    if not torch.cuda.is_available():
        print("finetune_gpu: no CUDA GPU here, nothing measured")
        return []
    results = []
    with tempfile.TemporaryDirectory(prefix="wikistyle-bench-") as name:
        base = Path(name) / "base"
        write_random_base(base)
        for batch in BATCHES:
            values = {
                "base_model": str(base),
                "resolution": 512,
                "batch_size": batch,
                "ema_decay": 0,
                "gradient_checkpointing": True,
            }
            what = f"fine-tuning SD v1, batch {batch}"
            with bench(FinetuneSettings.model_validate(values)) as made:
                results += throughput(made, batch, what, rounds=3, steps=STEPS)
                (peak, busy), (their_peak, their_busy) = alone(made.ours), alone(made.in_the_loop)
            results.append(Result(f"{what}: peak memory", peak, their_peak, peak / their_peak, "GiB"))
            if their_busy:
                results.append(Result(f"{what}: GPU utilisation", busy, their_busy, busy / their_busy, "%"))
    return results


def alone(make_stepper: Callable[[], Callable[[int], float]]) -> tuple[float, float]:
    """(peak GiB, median utilisation in %) of a loop that has the GPU to itself; 0 % where it can't be told."""
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    step = make_stepper()
    step(0)
    with subprocess.Popen(WATCH, stdout=subprocess.PIPE, text=True) as watch:
        for number in range(1, 2 * STEPS):
            step(number)
        watch.terminate()
        seen = watch.communicate()[0].split()
    busy = []
    for value in seen:
        with contextlib.suppress(ValueError):  # "[N/A]" where a GPU is shared out
            busy.append(float(value))
    return torch.cuda.max_memory_reserved() / 2**30, statistics.median(busy) if busy else 0.0
