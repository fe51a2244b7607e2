"""A BLIP of the real classes, small enough for tests: random weights, a vocabulary of cartoon words."""

from pathlib import Path

import torch
from transformers import BertTokenizer, BlipConfig, BlipForConditionalGeneration, BlipImageProcessorPil

WORDS = (
    "a man woman dog cat with yellow face blue hair sitting on couch in front of the house and red car cartoon drawing"
)
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]"]


def save_tiny_blip(folder: Path, seed: int = 0) -> Path:
    vocab = {word: i for i, word in enumerate(SPECIAL + sorted(set(WORDS.split())))}
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = BlipConfig(
        text_config={
            **size,
            "encoder_hidden_size": 32,
            "vocab_size": len(vocab),
            "max_position_embeddings": 64,
            "bos_token_id": vocab["[DEC]"],
            "eos_token_id": vocab["[SEP]"],
            "sep_token_id": vocab["[SEP]"],
            "pad_token_id": vocab["[PAD]"],
        },
        vision_config={**size, "image_size": 32, "patch_size": 8},
        image_text_hidden_size=32,
        projection_dim=32,
    )
    torch.manual_seed(seed)
    model = BlipForConditionalGeneration(config)
    with torch.no_grad():
        for parameter in model.parameters():  # wide weights, so that what is said depends on the picture
            if parameter.ndim > 1:
                parameter.normal_(0, 0.3)
    model.save_pretrained(folder)
    BlipImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    BertTokenizer(vocab=vocab).save_pretrained(folder)
    return folder
