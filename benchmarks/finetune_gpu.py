"""Fine-tuning at Stable Diffusion v1's real size on a GPU: images/s, peak memory and utilisation, no download.

Random weights at 512 px, bf16. Needs a CUDA GPU of 48 GB or more, for three models are in memory at once.
"""

import tempfile
from pathlib import Path

import torch

from benchmarks.finetune_throughput import throughput
from benchmarks.sidebyside import Result
from tasks.finetune.settings import FinetuneSettings
from tasks.finetune.stable_diffusion import write_random_base

BATCHES = (1, 4, 8)


def measure() -> list[Result]:
    """Both comparisons at each batch size, with gradient checkpointing; nothing where there is no GPU."""
    if not torch.cuda.is_available():
        print("finetune_gpu: no CUDA GPU here, nothing measured")
        return []
    results = []
    with tempfile.TemporaryDirectory(prefix="wikistyle-bench-") as name:
        base = Path(name) / "base"
        write_random_base(base)
        for batch in BATCHES:
            torch.cuda.reset_peak_memory_stats()
            values = {
                "base_model": str(base),
                "resolution": 512,
                "batch_size": batch,
                "ema_decay": 0,
                "gradient_checkpointing": True,
            }
            what = f"fine-tuning SD v1, batch {batch}"
            results += throughput(FinetuneSettings.model_validate(values), what, rounds=3, steps=10)
            peak = torch.cuda.max_memory_reserved() / 2**30
            print(f"{what}: peak {peak:.1f} GiB with all three loops loaded, utilisation {_utilisation()}")
            torch.cuda.empty_cache()
    return results


def _utilisation() -> str:
    try:
        return f"{torch.cuda.utilization()} %"
    except Exception:  # needs nvidia-ml-py, which is not a dependency
        return "unknown (pip install nvidia-ml-py)"
