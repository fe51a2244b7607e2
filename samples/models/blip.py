"""Train the sample profile's BLIP: a real `BlipForConditionalGeneration` that names drawings in short phrases."""

# diffusers and transformers annotate their models' arguments and outputs too narrowly.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportOptionalMemberAccess=false, reportOptionalSubscript=false, reportOperatorIssue=false

import re
from pathlib import Path

import torch
import torch.nn.functional as F
from transformers import (
    BertTokenizer,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessorPil,
    BlipProcessor,
    BlipTextConfig,
    BlipVisionConfig,
)

from samples.models.clip import IMAGE_MEAN, IMAGE_STD
from samples.models.drawings import Drawings
from samples.models.fitting import fit
from samples.models.restyle import restyled
from samples.models.things import Thing
from samples.models.vae import to_tensor

STEPS, BATCH, LR = 10_000, 64, 8e-4
NAMING = 0.5  # weight of the loss of naming the thing beside that of the caption
MAX_TOKENS = 16


def train_tokenizer(captions: list[str], folder: Path) -> BertTokenizer:
    """A WordPiece tokenizer that knows the captions' words whole and spells all others, saved in `folder`.

    The same captions give the same ids, which the trainer of `tokenizers` does not.
    """
    words = sorted({word for caption in captions for word in re.findall(r"\w+|[^\w\s]", caption.lower())})
    letters = sorted({letter for word in words for letter in word})
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokens = dict.fromkeys([*special, *letters, *(f"##{letter}" for letter in letters), *words])
    tokenizer = BertTokenizer(vocab={token: i for i, token in enumerate(tokens)}, model_max_length=MAX_TOKENS)
    tokenizer.add_special_tokens({"bos_token": "[DEC]"})
    tokenizer.save_pretrained(folder)
    return tokenizer


def new_blip(tokenizer: BertTokenizer) -> BlipForConditionalGeneration:
    """An untrained BLIP: vision 4 layers x 128 on 8 px patches of 64 px, text decoder 2 layers x 128."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 128, "intermediate_size": 512, "num_attention_heads": 4}
    text = BlipTextConfig(
        vocab_size=len(tokenizer),
        encoder_hidden_size=128,
        num_hidden_layers=2,
        max_position_embeddings=32,
        projection_dim=128,
        bos_token_id=tokenizer.convert_tokens_to_ids("[DEC]"),
        eos_token_id=tokenizer.sep_token_id,
        sep_token_id=tokenizer.sep_token_id,
        pad_token_id=tokenizer.pad_token_id,
        hidden_dropout_prob=0.1,
        attention_probs_dropout_prob=0.0,
        label_smoothing=0.0,
        is_decoder=True,
        **sizes,
    )
    vision = BlipVisionConfig(num_hidden_layers=4, image_size=64, patch_size=8, projection_dim=128, **sizes)
    return BlipForConditionalGeneration(
        BlipConfig(
            text_config=text.to_dict(), vision_config=vision.to_dict(), image_text_hidden_size=128, projection_dim=128
        )
    )


def warm_start(blip: BlipForConditionalGeneration, clip_folder: Path) -> None:
    """Copy the CLIP vision tower's layers into BLIP's: the same ViT, with query, key and value in one matrix."""
    from transformers import CLIPVisionModel

    clip = CLIPVisionModel.from_pretrained(clip_folder).float().state_dict()
    clip = {name.removeprefix("vision_model."): tensor for name, tensor in clip.items()}
    own = blip.vision_model.state_dict()
    own["embeddings.class_embedding"] = clip["embeddings.class_embedding"].reshape(1, 1, -1)
    own["embeddings.patch_embedding.weight"] = clip["embeddings.patch_embedding.weight"]
    own["embeddings.position_embedding"] = clip["embeddings.position_embedding.weight"].unsqueeze(0)
    for layer in range(blip.config.vision_config.num_hidden_layers):
        ours, theirs = f"encoder.layers.{layer}.", f"encoder.layers.{layer}."
        for kind in ("weight", "bias"):
            own[f"{ours}self_attn.qkv.{kind}"] = torch.cat(
                [clip[f"{theirs}self_attn.{part}_proj.{kind}"] for part in "qkv"]
            )
            own[f"{ours}self_attn.projection.{kind}"] = clip[f"{theirs}self_attn.out_proj.{kind}"]
            for same in ("layer_norm1", "layer_norm2", "mlp.fc1", "mlp.fc2"):
                own[f"{ours}{same}.{kind}"] = clip[f"{theirs}{same}.{kind}"]
    blip.vision_model.load_state_dict(own)


def caption_ids(tokenizer: BertTokenizer, captions: list[str]) -> torch.Tensor:
    """int64 [N, T]: [DEC] words [SEP], padded; the form BLIP's decoder is trained on."""
    ids = tokenizer(captions, padding=True, return_tensors="pt").input_ids
    ids[:, 0] = tokenizer.convert_tokens_to_ids("[DEC]")
    return ids


def train(drawings: Drawings, things: list[Thing], clip_folder: Path, work: Path, target: Path) -> float:
    """Train on restyled copies of the drawings that are not held out; saves fp16 to `target`.

    A linear layer on the picture's class token names the thing too, in training only: one answer of hundreds says
    more about a picture than the next word of a phrase does, and the vision tower learns faster by it.
    """
    target.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer([thing.caption for thing in things], target)
    blip = new_blip(tokenizer)
    warm_start(blip, clip_folder)
    seen = drawings.where(held_out=False)
    images, ids = to_tensor(seen.pixels), caption_ids(tokenizer, [thing.caption for thing in seen.things])
    names = sorted({thing.name for thing in seen.things})
    named = torch.tensor([names.index(thing.name) for thing in seen.things])
    naming = torch.nn.Linear(blip.config.vision_config.hidden_size, len(names))

    def loss_at(step: int, generator: torch.Generator) -> torch.Tensor:
        torch.manual_seed(step)  # dropout inside the model draws from the global generator
        rows = torch.randint(0, len(images), (BATCH,), generator=generator)
        labels = ids[rows].masked_fill(ids[rows] == tokenizer.pad_token_id, -100)
        mask = (ids[rows] != tokenizer.pad_token_id).long()
        pixels = restyled(images[rows], generator)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = blip(pixel_values=pixels, input_ids=ids[rows], attention_mask=mask, labels=labels)
            guesses = naming(out.image_embeds[:, 0])
        return out.loss.float() + NAMING * F.cross_entropy(guesses.float(), named[rows], label_smoothing=0.05)

    trained = torch.nn.ModuleList([blip, naming])
    seconds = fit(trained, loss_at, work / "blip", STEPS, LR, weight_decay=0.05)
    blip.half().save_pretrained(target)
    size = {"height": 64, "width": 64}
    BlipProcessor(
        BlipImageProcessorPil(size=size, image_mean=IMAGE_MEAN, image_std=IMAGE_STD), tokenizer
    ).save_pretrained(target)
    return seconds
