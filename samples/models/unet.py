"""Train the sample profile's UNet with wikistyle's own fine-tuning loop, from random weights."""

# diffusers and transformers annotate their models' arguments and outputs too narrowly.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportOptionalMemberAccess=false, reportOptionalSubscript=false, reportOperatorIssue=false

import contextlib
import io
import json
import shutil
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from PIL import Image
from safetensors.torch import load_file
from transformers import CLIPImageProcessorPil

from samples.models.drawings import Drawings
from tasks.common.store import Store
from tasks.finetune.errors import Interrupted
from tasks.finetune.process.job import TrainingJob
from tasks.finetune.settings import FinetuneSettings
from tasks.finetune.training.made import UnetProgress
from tasks.finetune.training.state import saved_progress
from tasks.finetune.training.steps import Step
from tasks.finetune.training.train import train

EPOCHS, BATCH, LR = 150, 64, 1e-3
SHIPPED = 120  # epochs: the snapshot that ships, when the cosine has come down to a tenth


def new_unet() -> UNet2DConditionModel:
    """An untrained UNet of 10.9 M parameters on 16x16x4 latents, text width 128."""
    torch.manual_seed(0)
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        layers_per_block=1,
        block_out_channels=(64, 128, 192),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=128,
        attention_head_dim=4,
        norm_num_groups=16,
    )


def scheduler() -> DDIMScheduler:
    """Stable Diffusion v1's noise schedule."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        num_train_timesteps=1000,
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="epsilon",
    )


def write_untrained(base: Path) -> None:
    """Complete the pipeline folder (vae, text_encoder and tokenizer are there) with an untrained UNet."""
    new_unet().half().save_pretrained(base / "unet")
    scheduler().save_pretrained(base / "scheduler")
    size = {"shortest_edge": 64}
    CLIPImageProcessorPil(size=size, crop_size={"height": 64, "width": 64}).save_pretrained(base / "feature_extractor")
    index = {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": "0.42.1",
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (base / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")


def write_dataset(drawings: Drawings, folder: Path) -> None:
    """The drawings that are not held out as a parquet dataset of image + text."""
    seen = drawings.where(held_out=False)
    images = []
    for pixels in seen.pixels:
        png = io.BytesIO()
        Image.fromarray(pixels).save(png, "PNG")
        images.append({"bytes": png.getvalue(), "path": None})
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.table({"image": images, "text": [thing.caption for thing in seen.things]})
    pq.write_table(table, folder / "train.parquet")


def training_settings(untrained: Path) -> FinetuneSettings:
    """The recipe: 10 % caption dropout, EMA, min-SNR weighting for faster learning from nothing."""
    return FinetuneSettings(
        base_model=str(untrained),
        resolution=64,
        epochs=EPOCHS,
        snapshot_every=20,
        batch_size=BATCH,
        learning_rate=LR,
        lr_schedule="cosine",
        warmup_steps=300,
        adam_beta2=0.99,
        ema_decay=0.998,
        caption_dropout=0.1,
        min_snr_gamma=5.0,
        held_out=0.0,
        decoder_epochs=0,
        mixed_precision="bf16",
        checkpoint_steps=200,
    )


def train_base(drawings: Drawings, base: Path, work: Path, target: Path) -> float:
    """Train on the `base` folder's VAE and text encoder; the pipeline goes to `target`. Returns the seconds it took."""
    untrained = work / "untrained"
    if not (untrained / "model_index.json").exists():
        for part in ("vae", "text_encoder", "tokenizer"):
            shutil.copytree(base / part, untrained / part, dirs_exist_ok=True)
        write_untrained(untrained)
        write_dataset(drawings, work / "drawings")
    store, last = Store(str(work / "store")), [0.0]

    def report(stage: str, step: Step) -> None:
        if time.monotonic() - last[0] > 20:
            last[0] = time.monotonic()
            line = {"step": step.step, "steps": step.steps, "epoch": round(step.epoch, 2), "loss": round(step.loss, 4),
                    "images_per_second": round(step.images_per_second, 1)}  # fmt: skip
            with (work / "unet-log.jsonl").open("a") as log:
                log.write(json.dumps(line) + "\n")
            print("unet", line, flush=True)

    job = TrainingJob(dataset=str(work / "drawings"), settings=training_settings(untrained), folder=str(work / "unet"))
    reached = [0.0]

    def watched(stage: str, step: Step) -> None:
        reached[0] = step.epoch
        report(stage, step)

    with contextlib.suppress(Interrupted):
        train(job, store, watched, stopping=lambda: reached[0] >= SHIPPED)
    (folder,) = (work / "unet").glob("unet-*")
    progress = saved_progress(folder, UnetProgress)
    assert progress is not None
    shipped = progress.snapshots[-1].file
    assert shipped is not None
    install(shipped.key, store, untrained, target)
    speeds = [json.loads(line)["images_per_second"] for line in (work / "unet-log.jsonl").read_text().splitlines()]
    return len(drawings.where(held_out=False).things) * SHIPPED / (sum(speeds) / len(speeds))


def install(key: str, store: Store, untrained: Path, base: Path) -> None:
    """Assemble the finished pipeline in `base` from the untrained one and the trained UNet's weights."""
    pipeline = StableDiffusionPipeline.from_pretrained(untrained, safety_checker=None)
    pipeline.unet.load_state_dict(load_file(store.path(key)))
    pipeline.to(torch.float16).save_pretrained(base)
    for path in base.rglob("*.json"):  # where the parts were loaded from says nothing to anyone else
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(line for line in lines if '"_name_or_path"' not in line))
