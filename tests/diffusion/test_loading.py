"""Parts of a base model as they were saved, and one line when there are none."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch

from tasks.common.errors import ModelError
from tasks.diffusion.loading import load_config, load_part, load_whole

PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")


@pytest.mark.parametrize("kind", PARTS[:3])
def test_a_part_is_that_of_the_whole_in_fp32(kind, base):
    part: Any = load_part(kind, base, None)
    whole = getattr(load_whole(base, None, torch.float16), kind).state_dict()
    assert {value.dtype for value in part.state_dict().values() if value.is_floating_point()} == {torch.float32}
    for name, value in part.state_dict().items():
        assert torch.equal(value.to(whole[name].dtype), whole[name]), name


@pytest.mark.parametrize("kind", PARTS[:3])
def test_a_configuration_is_that_of_the_part(kind, base):
    part: Any = load_part(kind, base, None)
    has = part.config.to_dict() if kind == "text_encoder" else dict(part.config)
    said = load_config(kind, base, None)
    sizes = [name for name in said if "channels" in name or "hidden" in name or name.startswith("num_")]
    assert sizes
    assert [list(said[n]) if isinstance(said[n], list | tuple) else said[n] for n in sizes] == [
        list(has[n]) if isinstance(has[n], list | tuple) else has[n] for n in sizes
    ]


LOADERS: dict[str, Callable[[str], object]] = {
    **{kind: partial(load_part, kind, revision=None) for kind in PARTS},
    "configuration": partial(load_config, "unet", revision=None),
    "whole": partial(load_whole, revision=None, dtype=torch.float32),
}


@pytest.mark.parametrize("loader", LOADERS)
def test_a_base_that_is_not_there_is_named_in_one_line_with_a_remedy(loader, tmp_path):
    with pytest.raises(ModelError, match=r"nowhere can't be loaded: .* \(\w+: .*\); check the id") as error:
        LOADERS[loader](str(tmp_path / "nowhere"))
    assert "\n" not in str(error.value)
