"""The peak of memory of every stage, counted by running the stage's own steps on tensors without memory."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from diffusers.training_utils import EMAModel
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import CLIPTextConfig, CLIPTextModel

from tasks.diffusion.loading import load_config
from tasks.finetune.memory.live import LiveBytes
from tasks.finetune.memory.prediction import CUDA_CONTEXT, pictures_at_once
from tasks.finetune.settings import FinetuneSettings
from tasks.finetune.training.decoder import decoder_loss, new_decoder_optimizer, picture_psnr, prepare_decoder
from tasks.finetune.training.latents import PROMPTS_AT_ONCE, LatentCache, TextCache, encode
from tasks.finetune.training.lora import adapt
from tasks.finetune.training.loss import Draw
from tasks.finetune.training.lpips import lpips, shapes
from tasks.finetune.training.objective import Objective, predict
from tasks.finetune.training.precision import Precision
from tasks.finetune.training.preview import TOGETHER
from tasks.finetune.training.train_state import new_optimizer

DRAWN_AT_ONCE = 8  # pictures the sample stage draws at once, unless it is told otherwise


@dataclass(frozen=True)
class Base:
    """The configurations of a base model's parts, which say all that is needed of their sizes."""

    unet: dict[str, Any]
    vae: dict[str, Any]
    text: dict[str, Any]


@dataclass(frozen=True)
class Machine:
    """`gpu`: whether a CUDA card computes, whose autocast keeps the norms in fp32, and which takes a context's room."""

    precision: Precision
    gpu: bool


@dataclass(frozen=True)
class Peak:
    """The most bytes a stage holds at once."""

    stage: str
    bytes: int


def load_base_configs(base_model: str, revision: str | None) -> Base:
    """Raises ModelError when one can't be loaded."""
    return Base(*(load_config(kind, base_model, revision) for kind in ("unet", "vae", "text_encoder")))


def predict_peaks(base: Base, settings: FinetuneSettings, machine: Machine, drawn: int = DRAWN_AT_ONCE) -> list[Peak]:
    """One Peak for each stage in the order of a run, for any resolution; seconds, whatever the sizes.

    `drawn` is how many pictures the sample stage draws at once; with 0 it is left out. What a process holds beside its
    tensors is in it for a GPU (`CUDA_CONTEXT`), and not for a CPU.
    """
    processes = [_captions(base), _pictures(base, settings), _unet(base, settings, machine)]
    if settings.decoder_epochs:
        processes.append(_decoder(base, settings, machine))
    if drawn:
        processes.append(_sampling(base, settings, machine, drawn))
    return [
        Peak(name, most + (CUDA_CONTEXT if machine.gpu else 0)) for each in processes for name, most in _count(each)
    ]


def _count(stages: Iterator[str]) -> Iterator[tuple[str, int]]:
    """`stages` runs what follows on one another with the same models, and says each one's name after it ran."""
    with FakeTensorMode(allow_non_fake_inputs=True), LiveBytes() as live:
        for name in stages:
            yield name, live.peak
            live.peak = live.now


@contextlib.contextmanager
def _autocast(machine: Machine) -> Iterator[None]:
    kind = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[machine.precision]
    with torch.autocast("cpu", kind) if machine.precision != "no" else contextlib.nullcontext():
        yield


@contextlib.contextmanager
def _built_in(dtype: torch.dtype) -> Iterator[None]:
    """Weights without memory can't be cast later."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _as_on(machine: Machine, model: torch.nn.Module) -> None:
    """Let the norms compute in fp32 under autocast as CUDA has it; a CPU's autocast leaves them as they come."""
    if machine.gpu and machine.precision != "no":
        for module in model.modules():
            if isinstance(module, torch.nn.GroupNorm | torch.nn.LayerNorm):
                module.register_forward_pre_hook(lambda module, args: (args[0].float(),))


def _vae(base: Base) -> Any:
    vae: Any = AutoencoderKL.from_config(base.vae)
    return vae.eval().requires_grad_(False)


def _side(base: Base, settings: FinetuneSettings) -> int:
    return settings.resolution // 2 ** (len(base.vae["block_out_channels"]) - 1)


def _captions(base: Base) -> Iterator[str]:
    encoder = CLIPTextModel(CLIPTextConfig(**base.text))
    with torch.no_grad():
        encoder(torch.zeros(PROMPTS_AT_ONCE, encoder.config.max_position_embeddings, dtype=torch.long))
    yield "encoding captions"


def _pictures(base: Base, settings: FinetuneSettings) -> Iterator[str]:
    encode(_vae(base), torch.zeros(pictures_at_once(settings.resolution), 3, settings.resolution, settings.resolution))
    yield "encoding pictures"


@dataclass
class _Trained:
    """What stays on the device while the UNet trains; the gradients, too, between two parts of an accumulated step."""

    unet: Any
    parameters: list[torch.nn.Parameter]
    optimizer: torch.optim.Optimizer | None
    ema: EMAModel | None
    kept: list[torch.Tensor]


def _trained_unet(base: Base, settings: FinetuneSettings, machine: Machine) -> _Trained:
    unet: Any = UNet2DConditionModel.from_config(base.unet)
    if settings.gradient_checkpointing:
        unet.enable_gradient_checkpointing()
    if settings.lora_rank:
        adapt(unet, settings.lora_rank, settings.seed)
    unet.train()
    _as_on(machine, unet)
    parameters = [p for p in unet.parameters() if p.requires_grad]
    kept: list[torch.Tensor] = []
    if settings.processes > 1:  # DistributedDataParallel's buckets are a second copy of the gradients
        kept += [torch.zeros_like(p) for p in parameters]
    optimizer = None
    if settings.optimizer == "adamw":
        optimizer = new_optimizer(parameters, settings)
        for p in parameters:
            p.grad = torch.zeros_like(p)
        optimizer.step()  # which makes the moments
        optimizer.zero_grad(set_to_none=True)
    else:  # bitsandbytes itself runs on a GPU only
        kept += [torch.zeros_like(p, dtype=torch.uint8) for p in parameters for _ in range(2)]
    ema = EMAModel(parameters, decay=settings.ema_decay, foreach=True) if settings.ema_decay else None
    return _Trained(unet, parameters, optimizer, ema, kept)


def _cached(base: Base, settings: FinetuneSettings) -> tuple[LatentCache, TextCache, list[Draw]]:
    """One picture's latents and caption, to be taken as often as a batch has pictures, and what chance would say.

    Its caption is dropped: the empty one is as long.
    """
    side = _side(base, settings)
    one = torch.zeros(1, base.vae.get("latent_channels", 4), side, side)
    text = torch.zeros(1, base.text["max_position_embeddings"], base.text["hidden_size"])
    cache = TextCache(text, torch.zeros(1, dtype=torch.long), 0)
    return LatentCache(("",), one, one), cache, [Draw(one[0], one[0], 500, True)] * settings.batch_size


def _unet(base: Base, settings: FinetuneSettings, machine: Machine) -> Iterator[str]:
    trained = _trained_unet(base, settings, machine)
    latents, text, draws = _cached(base, settings)
    scheduler: Any = DDPMScheduler()
    device = torch.device("cpu")
    for _ in range(min(2, settings.gradient_accumulation)):
        with _autocast(machine):
            weighted = Objective(scheduler, device, settings.min_snr_gamma)
            losses = predict(trained.unet, latents, text, [0] * len(draws), draws, weighted)
            losses.mean().backward()
        del losses
    torch.nn.utils.clip_grad_norm_(trained.parameters, settings.max_grad_norm)
    if trained.optimizer:
        trained.optimizer.step()
    trained.unet.zero_grad(set_to_none=True)
    if trained.ema:
        trained.ema.step(trained.parameters)
    yield "unet step"
    if trained.ema and not machine.gpu:  # beside a GPU the weights are kept aside in the machine's own memory
        trained.ema.store(trained.parameters)
    trained.unet.eval()
    with torch.no_grad(), _autocast(machine):
        predict(trained.unet, latents, text, [0] * len(draws), draws, Objective(scheduler, device))
    if settings.validation_prompts:
        _previews(base, settings, machine, trained.unet, latents, text)
    yield "snapshot"


@torch.no_grad()
def _previews(
    base: Base, settings: FinetuneSettings, machine: Machine, unet: Any, latents: LatentCache, text: TextCache
) -> None:
    at_once = min(TOGETHER, pictures_at_once(settings.resolution), len(settings.validation_prompts))
    vae, noise = _vae(base), latents.mean.repeat(at_once, 1, 1, 1)
    with _autocast(machine):
        _guided_noise(unet, noise, text.embeddings.repeat(2 * at_once, 1, 1))
    vae.decode(noise)


def _guided_noise(unet: Any, latents: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    """What diffusers' pipeline holds in a step: the UNet on the latents twice, with and without the prompt."""
    without, given = unet(torch.cat([latents, latents]), torch.tensor(500), text, return_dict=False)[0].chunk(2)
    return without + 7.5 * (given - without)


def _decoder(base: Base, settings: FinetuneSettings, machine: Machine) -> Iterator[str]:
    """Two steps, the first of which makes the moments; then PSNR and, when there are weights for it, LPIPS."""
    vae = _vae(base)
    named = prepare_decoder(vae, settings)
    _as_on(machine, vae)
    optimizer = new_decoder_optimizer(named, settings)
    side, at_once = _side(base, settings), pictures_at_once(settings.resolution)

    def batch(size: int) -> tuple[torch.Tensor, torch.Tensor]:
        z = torch.zeros(size, base.vae.get("latent_channels", 4), side, side)
        return z, torch.zeros(size, 3, settings.resolution, settings.resolution)

    whole, rest = divmod(settings.decoder_batch_size, at_once)
    autocast: Any = SimpleNamespace(mixed_precision=machine.precision, autocast=lambda: _autocast(machine))
    for _ in range(2):
        for size in [at_once] * min(2, whole) + [rest] * bool(rest):
            decoder_loss(vae, *batch(size), autocast).backward()
        torch.nn.utils.clip_grad_norm_(named.values(), settings.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    yield "decoder step"
    with torch.no_grad():
        z, target = batch(at_once)
        picture_psnr(vae, z, target)
        if settings.lpips_weights:
            weights = {name: torch.zeros(shape) for name, shape in shapes().items()}
            lpips(vae.decode(z).sample.float().clamp(-1, 1), target, weights)
    yield "decoder judging"


def _sampling(base: Base, settings: FinetuneSettings, machine: Machine, drawn: int) -> Iterator[str]:
    """Drawing at the training's resolution: the VAE in fp32, one picture at a time; the rest in fp16 on a GPU."""
    dtype = torch.float16 if machine.gpu else torch.float32
    vae = _vae(base)
    with _built_in(dtype):
        unet: Any = UNet2DConditionModel.from_config(base.unet)
        encoder = CLIPTextModel(CLIPTextConfig(**base.text))
    side, width = _side(base, settings), encoder.config.hidden_size
    noise = torch.zeros(drawn, base.vae.get("latent_channels", 4), side, side, dtype=dtype)
    text = torch.zeros(2 * drawn, encoder.config.max_position_embeddings, width, dtype=dtype)
    with torch.no_grad():
        _guided_noise(unet, noise, text)
        vae.decode(noise[:1].to(vae.dtype))
    yield "sampling"
