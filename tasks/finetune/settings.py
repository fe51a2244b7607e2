"""What a user can set about fine-tuning."""

from typing import Any, Literal

from pydantic import Field, field_validator

from tasks.common.settings import StageSettings, working


class FinetuneSettings(StageSettings):
    """Fine-tuning of a Stable Diffusion v1 base: UNet first, then the VAE decoder; CLIP stays frozen."""

    base_model: str = Field(
        "stable-diffusion-v1-5/stable-diffusion-v1-5",
        title="Base model",
        description="Hub id or local folder of the Stable Diffusion pipeline to start from.",
    )
    revision: str | None = Field(
        None, title="Base revision", description="Commit of the base model on the hub; pin it, so that it can't change."
    )
    resolution: int = Field(
        512, ge=32, le=2048, multiple_of=8, title="Resolution",
        description="Side in px of the square pictures trained on. 512 is what SD v1 was made for.",
    )  # fmt: skip
    epochs: int = Field(
        60, ge=1, le=10000, title="Epochs",
        description="Passes of the UNet over the dataset. At a constant rate more of them go on where fewer ended.",
    )  # fmt: skip
    snapshot_every: int = Field(
        2, ge=1, title="Snapshot every",
        description="Epochs between snapshots, unless snapshot_at says where. Few epochs make smooth films. A multiple "
        "of what was made before costs nothing; anything else trains the UNet again, to the same bits.",
    )  # fmt: skip
    snapshot_at: tuple[float, ...] = Field(
        (), max_length=1000, title="Snapshot at",
        description="Shares of the training after which there is a snapshot, 0 to 1, instead of one every so many "
        "epochs: [0.02, 0.05, 0.1, 0.2, 0.4, 0.7] looks closely at the beginning, where most changes. Each falls "
        "on the epoch that is nearest; the base model and the last epoch are always there. Empty: snapshot_every "
        "counts.",
    )  # fmt: skip
    batch_size: int = Field(
        4, ge=1, le=4096, title="Batch size", description="Pictures per process and step. Memory grows with it."
    )
    gradient_accumulation: int = Field(
        1, ge=1, title="Gradient accumulation", description="Steps summed before the optimizer moves; saves memory."
    )
    learning_rate: float = Field(
        1e-5, gt=0, le=1, title="Learning rate",
        description="Peak rate of AdamW. 1e-4 is safe at batches of 8 and more only; black pictures below that.",
    )  # fmt: skip
    lr_schedule: Literal["constant", "cosine"] = Field(
        "constant", title="Rate schedule", description="After warm-up: constant, or a cosine to 1 % of the peak."
    )
    warmup_steps: int = Field(0, ge=0, title="Warm-up", description="Steps of linear growth to the peak rate.")
    weight_decay: float = Field(1e-2, ge=0, title="Weight decay", description="AdamW's decoupled weight decay.")
    adam_beta2: float = Field(0.999, gt=0, lt=1, title="Adam beta2", description="Decay of the squared gradients.")
    max_grad_norm: float = Field(1.0, gt=0, title="Gradient clip", description="Largest gradient norm let through.")
    ema_decay: float = Field(
        0.999, ge=0, lt=1, title="EMA decay",
        description="Snapshots hold the moving average of the weights; 0 turns it off. SD's 0.9999 is too slow here.",
    )  # fmt: skip
    caption_dropout: float = Field(
        0.0, ge=0, le=1, title="Caption dropout",
        description="Share of captions replaced by the empty one. SD v1-4 was trained with 0.1; the plain recipe: 0.",
    )  # fmt: skip
    min_snr_gamma: float = Field(
        0.0, ge=0, title="Min-SNR gamma", description="Loss weight min(SNR, gamma)/SNR (Hang et al. 2023); 0 is off."
    )
    offset_noise: float = Field(
        0.0, ge=0, le=1, title="Offset noise", description="Share of noise constant over a channel; 0 is off."
    )
    lora_rank: int = Field(
        0, ge=0, le=512, title="LoRA rank",
        description="Train adapters of this rank on the attention weights instead of the whole UNet: less memory, "
        "a weaker grip on style; try a rate of 1e-4. Snapshots hold the merged weights. 0 is off.",
    )  # fmt: skip
    optimizer: Literal["adamw", "adamw8bit"] = Field(
        "adamw", title="Optimizer",
        description="adamw8bit keeps the moments in 8 bits (6 bytes a parameter less) and needs bitsandbytes.",
    )  # fmt: skip
    held_out: float = Field(
        0.05, ge=0, lt=0.5, title="Held out",
        description="Share of the pictures never trained on, fixed by their content, to see overfitting.",
    )  # fmt: skip
    decoder_epochs: int = Field(
        10,
        ge=0,
        title="Decoder epochs",
        description="Passes of the VAE decoder over the dataset; 0 leaves it as it is.",
    )
    decoder_learning_rate: float = Field(
        1e-5, gt=0, le=1, title="Decoder rate", description="Rate of the decoder's AdamW; cosine to 1 %."
    )
    decoder_batch_size: int = Field(
        4, ge=1, title="Decoder batch",
        description="Pictures per decoder step; as many are computed at once as fit, so memory doesn't grow with it.",
    )  # fmt: skip
    seed: int = Field(0, ge=0, title="Seed", description="Data order, noise, timesteps and dropout follow from it.")
    mixed_precision: Literal["auto", "no", "bf16"] = Field(
        "auto", title="Precision",
        description="bf16 autocast or fp32. auto: bf16 on a GPU that has it, fp16 with a scaled loss on one that "
        "hasn't (T4, V100; the decoder then trains in fp32), fp32 on a CPU.",
    )  # fmt: skip
    gradient_checkpointing: bool = working(
        False,
        title="Gradient checkpointing",
        description="Computes activations twice and keeps few: less memory, ~25 % slower.",
    )
    checkpoint_steps: int = working(
        500,
        ge=1,
        title="Checkpoint every",
        description="Optimizer steps between saves of the state a killed run resumes from.",
    )
    torch_compile: bool = working(
        False,
        title="Compile",
        description="Compile the UNet first: minutes at the start, faster steps on a GPU; gains nothing on a CPU.",
    )
    validation_prompts: tuple[str, ...] = working(
        (),
        title="Preview prompts",
        description="Drawn at every snapshot, once each, to be watched while it trains: in the artifact "
        "finetune-preview, the training folder and TensorBoard. They change nothing in the training.",
    )
    lpips_weights: str = working(
        "",
        title="LPIPS weights",
        description="Local safetensors file of VGG16 and LPIPS's linear layers (names: in training/lpips.py). With "
        "it the decoder's LPIPS on held-out pictures is reported, before and after; empty: not. Never downloaded.",
    )
    processes: int = Field(
        1, ge=1, le=64, title="Processes",
        description="Training processes, one a GPU, started by torchrun when over 1. A step takes `batch size` "
        "pictures on each, so two processes of 4 train as one of 8 does.",
    )  # fmt: skip

    @field_validator("mixed_precision", mode="before")
    @classmethod
    def _no_is_a_word(cls, value: Any) -> Any:
        return "no" if value is False else value  # YAML reads a bare `no` as false

    @field_validator("snapshot_at")
    @classmethod
    def _are_shares(cls, shares: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0 <= share <= 1 for share in shares):
            raise ValueError("a share of the training is less than 0 or more than 1; write 0.1 for a tenth")
        return shares

    def snapshot_epochs(self) -> list[int]:
        """The epochs of the snapshots: the base model's (0), those of `snapshot_at` or every n-th, and the last."""
        if self.snapshot_at:
            return sorted({0, *(round(share * self.epochs) for share in self.snapshot_at), self.epochs})
        return sorted({*range(0, self.epochs + 1, self.snapshot_every), self.epochs})

    def output_settings(self) -> dict[str, Any]:
        """Without the base model's address: `model_identity`, which stands for its weights, goes into keys instead.

        Of the two ways to say where snapshots lie, the one that counts.
        """
        without = {"base_model", "revision", "snapshot_every" if self.snapshot_at else "snapshot_at"}
        return {k: v for k, v in super().output_settings().items() if k not in without}
