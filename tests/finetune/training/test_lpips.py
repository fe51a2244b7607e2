"""LPIPS as a distance, with weights of chance; the published ones are not at hand."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torchmetrics.functional.image.lpips
from PIL import Image, ImageFilter
from safetensors.torch import save_file

from tasks.common.errors import ModelError
from tasks.finetune.training.lpips import load_lpips, lpips, shapes
from tests.finetune.tiny import png, run, settings_for, write_able_base, write_dataset


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that let signals through unshrunk (He et al. 2015); linear layers are positive, as the published are."""
    generator = torch.Generator().manual_seed(0)
    weights = {}
    for name, shape in shapes().items():
        drawn = torch.randn(shape, generator=generator)
        fan_in = int(np.prod(shape[1:]))
        weights[name] = drawn.abs() / fan_in if name.startswith("lin") else drawn * (2 / fan_in) ** 0.5
        if name.endswith("bias"):
            weights[name] = torch.zeros(shape)
    path = tmp_path_factory.mktemp("lpips") / "vgg.safetensors"
    save_file(weights, path)
    return path


def picture(*filters: ImageFilter.Filter) -> torch.Tensor:
    image = Image.new("RGB", (64, 64), "white")
    image.paste((200, 30, 30), (10, 10, 40, 50))
    image.paste((20, 20, 20), (30, 25, 55, 45))
    for effect in filters:
        image = image.filter(effect)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 127.5 - 1


def torchmetrics_lpips(weights: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch) -> torch.nn.Module:
    """torchmetrics' own LPIPS on these weights; VGG16's features, which it takes from torchvision, are made here."""
    layers: list[torch.nn.Module] = []
    before = 3
    for channels in (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0):
        if channels:
            layers += [torch.nn.Conv2d(before, channels, 3, padding=1), torch.nn.ReLU()]
            before = channels
        else:
            layers.append(torch.nn.MaxPool2d(2))
    features = torch.nn.Sequential(*layers)
    features.load_state_dict({n.removeprefix("features."): t for n, t in weights.items() if n.startswith("features.")})
    monkeypatch.setattr(torchmetrics.functional.image.lpips, "_get_tv_model_features", lambda *_: features)
    network = torchmetrics.functional.image.lpips._LPIPS(pretrained=False, net="vgg", use_dropout=False)
    for k in range(5):
        network.get_submodule(f"lin{k}.model.0").load_state_dict({"weight": weights[f"lin{k}.weight"]})
    return network.eval()


def test_it_is_what_torchmetrics_says(file, monkeypatch):
    weights = load_lpips(str(file))
    pictures = torch.cat([picture(), picture(ImageFilter.GaussianBlur(1)), picture(ImageFilter.BoxBlur(3))])
    others = torch.cat([picture(ImageFilter.GaussianBlur(2)), picture(), picture()])
    with torch.no_grad():
        wanted = torchmetrics_lpips(weights, monkeypatch)(pictures, others).flatten().tolist()
    assert lpips(pictures, others, weights).tolist() == pytest.approx(wanted, rel=1e-4)
    assert min(wanted) > 1e-4


def test_it_is_a_distance_that_grows_with_the_distortion(file):
    weights = load_lpips(str(file))
    plain = picture()
    blurred = [lpips(plain, picture(ImageFilter.GaussianBlur(radius)), weights).item() for radius in (0.5, 1, 2, 4)]
    assert lpips(plain, plain, weights).item() == 0
    assert 0 < blurred[0] < blurred[1] < blurred[2] < blurred[3]
    swapped = lpips(picture(ImageFilter.GaussianBlur(2)), plain, weights).item()
    assert swapped == pytest.approx(blurred[2], rel=1e-5)


def test_each_pair_is_measured_by_itself(file):
    weights = load_lpips(str(file))
    plain, blurred = picture(), picture(ImageFilter.GaussianBlur(2))
    together = lpips(torch.cat([plain, plain]), torch.cat([plain, blurred]), weights)
    assert together.tolist() == pytest.approx([0, lpips(plain, blurred, weights).item()], rel=1e-5)


def test_a_training_reports_it_before_and_after_the_decoder(file, base, store, tmp_path):
    able = write_able_base(base, tmp_path / "base")
    settings = settings_for(able, epochs=1, decoder_epochs=6, decoder_learning_rate=2e-3, lpips_weights=str(file))
    training = run(write_dataset(tmp_path / "d", [png(i) for i in range(20)]), settings, tmp_path / "t", store)
    assert training.lpips_before
    assert training.lpips_after
    assert training.lpips_after < training.lpips_before


def test_a_file_that_is_not_lpips_stops_it_before_the_first_step(file, dataset, base, store, tmp_path):
    from safetensors.torch import load_file

    partial = {name: tensor for name, tensor in load_file(file).items() if name != "lin3.weight"}
    save_file(partial, tmp_path / "partial.safetensors")
    for name, fault in (("partial.safetensors", r"lin3\.weight is missing"), ("none.safetensors", "can't be read")):
        settings = settings_for(base, lpips_weights=str(tmp_path / name))
        with pytest.raises(ModelError, match=fault) as error:
            run(dataset, settings, tmp_path / "t", store)
        assert "\n" not in str(error.value)
    assert not (tmp_path / "t").exists()
