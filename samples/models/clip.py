"""Train the sample profile's CLIP: its text half conditions the UNet, the whole of it measures pictures."""

# diffusers and transformers annotate their models' arguments and outputs too narrowly.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportOptionalMemberAccess=false, reportOptionalSubscript=false, reportOperatorIssue=false

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from tokenizers import pre_tokenizers
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    CLIPVisionConfig,
)

from samples.models.drawings import Drawings
from samples.models.fitting import fit
from samples.models.restyle import restyled
from samples.models.things import Thing
from samples.models.vae import to_tensor

STEPS, BATCH, LR = 1600, 128, 1.5e-3
REFINE_STEPS, REFINE_LR = 3050, 1e-3
MAX_TOKENS = 32
IMAGE_MEAN, IMAGE_STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)  # pixels in [-1, 1]


def phrasings(thing: Thing) -> list[str]:
    """The ways a thing is asked for: its name, its caption, in a sentence, with a tag."""
    tags = [f"{thing.caption}, {tag}" for tag in thing.tags[:4]]
    return [
        thing.name,
        thing.caption,
        thing.caption,
        f"a drawing of {thing.caption}",
        f"{thing.caption} on white",
        *tags,
    ]


def train_tokenizer(sentences: list[str]) -> CLIPTokenizer:
    """A byte-level BPE with `</w>` of the captions' words; the end token has the highest id, as in OpenAI's CLIP.

    Merges are counted here and not by `tokenizers`, whose trainer breaks ties by the order of a hash map: the same
    captions gave other ids each time.
    """
    splitter = CLIPTokenizer().backend_tokenizer
    words: Counter[tuple[str, ...]] = Counter()
    for sentence in sentences:
        text = splitter.normalizer.normalize_str(sentence)
        for word, _ in splitter.pre_tokenizer.pre_tokenize_str(text):
            words[(*word[:-1], f"{word[-1]}</w>")] += 1
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*letters, *(f"{letter}</w>" for letter in letters)]  # any word can be spelled, however strange
    merges = []
    while pairs := _sums((pair, count) for word, count in words.items() for pair in pairwise(word)):
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        tokens.append("".join(best))
        words = _sums((_merged(word, best), count) for word, count in words.items())
    vocab = {token: i for i, token in enumerate(dict.fromkeys(tokens))}
    for special in ("<|startoftext|>", "<|endoftext|>"):
        vocab[special] = len(vocab)
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=MAX_TOKENS)


def _sums(counted: Iterable[tuple[Any, int]]) -> Counter[Any]:
    total: Counter[Any] = Counter()
    for item, count in counted:
        total[item] += count
    return total


def _merged(word: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    parts, i = [], 0
    while i < len(word):
        joined = word[i : i + 2] == pair
        parts.append("".join(pair) if joined else word[i])
        i += 2 if joined else 1
    return tuple(parts)


def new_clip(tokenizer: CLIPTokenizer) -> CLIPModel:
    """An untrained CLIP: text 2 layers x 128, vision 4 layers x 128 on 8 px patches of 64 px pictures."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 128, "intermediate_size": 512, "num_attention_heads": 4, "projection_dim": 128}
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        num_hidden_layers=2,
        max_position_embeddings=MAX_TOKENS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **sizes,
    )
    vision = CLIPVisionConfig(num_hidden_layers=4, image_size=64, patch_size=8, **sizes)
    return CLIPModel(CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=128))


def token_ids(tokenizer: CLIPTokenizer, sentences: list[str]) -> torch.Tensor:
    """int64 [N, 32], padded as Stable Diffusion pads."""
    return tokenizer(
        sentences, padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="pt"
    ).input_ids


def embed(features: object) -> torch.Tensor:
    """The projected features, unit length, whichever way transformers wraps them."""
    tensor = features if isinstance(features, torch.Tensor) else features.pooler_output  # type: ignore[attr-defined]
    return F.normalize(tensor, dim=-1)


def contrastive_loss(clip: CLIPModel, pixels: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """Symmetric InfoNCE (Radford et al. 2021) over a batch in which every picture shows another thing."""
    images = embed(clip.get_image_features(pixel_values=pixels))
    texts = embed(clip.get_text_features(input_ids=ids))
    logits = clip.logit_scale.clamp(max=4.0).exp() * images @ texts.T
    labels = torch.arange(len(logits))
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def train(drawings: Drawings, things: list[Thing], work: Path, base: Path) -> tuple[CLIPModel, CLIPTokenizer, float]:
    """Train both halves on the drawings that are not held out; the text half, frozen from here on, goes into `base`."""
    tokenizer = train_tokenizer([p for thing in things for p in phrasings(thing)])
    clip = new_clip(tokenizer)
    seen = drawings.where(held_out=False)
    images = to_tensor(seen.pixels)
    rows: dict[str, list[int]] = {}
    for i, thing in enumerate(seen.things):
        rows.setdefault(thing.name, []).append(i)
    names = sorted(rows)
    sentences = {thing.name: token_ids(tokenizer, phrasings(thing)) for thing in seen.things}

    def loss_at(step: int, generator: torch.Generator) -> torch.Tensor:
        def one_of(values: int) -> int:
            return int(torch.randint(values, (1,), generator=generator))

        chosen = [names[i] for i in torch.randperm(len(names), generator=generator)[:BATCH].tolist()]
        pixels = images[[rows[name][one_of(len(rows[name]))] for name in chosen]]
        ids = torch.stack([sentences[name][one_of(len(sentences[name]))] for name in chosen])
        return contrastive_loss(clip, restyled(pixels, generator), ids)

    seconds = fit(clip, loss_at, work / "clip", STEPS, LR, weight_decay=0.1)
    save_text_half(clip, tokenizer, base)
    return clip, tokenizer, seconds


def refine(clip: CLIPModel, tokenizer: CLIPTokenizer, drawings: Drawings, work: Path) -> float:
    """Go on with the picture half alone, every name a rival of every other, on more styles; the text half is frozen.

    The text projection is no part of the text encoder and is trained too, from a whitening of the captions: the
    encoder's end states lie in few directions, and near names would be the same to the loss without it.
    """
    seen = drawings.where(held_out=False)
    images = to_tensor(seen.pixels)
    captions = sorted({thing.caption for thing in drawings.things})
    labels = torch.tensor([captions.index(thing.caption) for thing in seen.things])
    clip.requires_grad_(True)
    clip.text_model.requires_grad_(False)
    clip.set_attn_implementation("eager")  # the fused attention's backward is slow in bf16 on a CPU
    with torch.no_grad():
        ends = clip.text_model(token_ids(tokenizer, captions)).pooler_output
        _, scales, directions = torch.linalg.svd(ends, full_matrices=False)
        clip.text_projection.weight.copy_(torch.diag(5 / (scales + 0.5)) @ directions)
        clip.logit_scale.fill_(3.0)
    trained = torch.nn.ModuleList([clip.vision_model, clip.visual_projection, clip.text_projection])

    def loss_at(step: int, generator: torch.Generator) -> torch.Tensor:
        rows = torch.randint(0, len(images), (BATCH,), generator=generator)
        pixels = restyled(images[rows], generator)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            shown = embed(clip.get_image_features(pixel_values=pixels))
        named = F.normalize(clip.text_projection(ends), dim=-1)
        logits = clip.logit_scale.exp() * shown.float() @ named.T
        return F.cross_entropy(logits, labels[rows], label_smoothing=0.05)

    return fit(trained, loss_at, work / "clip-refined", REFINE_STEPS, REFINE_LR, weight_decay=0.05)


def save_text_half(clip: CLIPModel, tokenizer: CLIPTokenizer, base: Path) -> None:
    """fp16 text encoder and tokenizer, where a Stable Diffusion pipeline has them."""
    text = CLIPTextModel(clip.config.text_config)
    text.load_state_dict(clip.text_model.state_dict())
    text.half().save_pretrained(base / "text_encoder")
    tokenizer.save_pretrained(base / "tokenizer")


def save(clip: CLIPModel, tokenizer: CLIPTokenizer, target: Path) -> None:
    """The whole as fp16 safetensors, with its processor."""
    clip.half().save_pretrained(target)
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": 64}, crop_size={"height": 64, "width": 64}, image_mean=IMAGE_MEAN, image_std=IMAGE_STD
    )
    CLIPProcessor(processor, tokenizer).save_pretrained(target)


@torch.no_grad()
def retrieval(
    clip: CLIPModel, tokenizer: CLIPTokenizer, pixels: torch.Tensor, asked: list[str], names: list[str], k: int
) -> float:
    """The share of pictures whose asked name is among the k names nearest to them. `pixels` in [-1, 1]."""
    texts = embed(clip.get_text_features(input_ids=token_ids(tokenizer, names)))
    images = torch.cat([embed(clip.get_image_features(pixel_values=chunk)) for chunk in pixels.split(128)])
    nearest = (images @ texts.T).topk(k).indices
    hits = [names.index(name) in row for name, row in zip(asked, nearest.tolist(), strict=True)]
    return sum(hits) / len(hits)
