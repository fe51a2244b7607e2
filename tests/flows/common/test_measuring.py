"""Which snapshot a run's model is, and what is said when nothing can be measured."""

import pytest
import torch

from flows.common.artifacts import measures_table
from flows.common.base_model import base_in
from flows.common.measuring import measure
from flows.common.preflight import CheckError, check
from flows.common.release import released
from flows.common.report import Finetuned, Showcased
from flows.common.run_folder import summarise, write_run
from flows.common.settings import load_profile
from tasks.common.errors import WikistyleError
from tasks.common.records import Training
from tasks.common.store import Store
from tasks.measure.records import Figure, Measured, Measures, Recommendation
from tasks.measure.settings import MeasureSettings
from tests.sample.conftest import base
from tests.sample.tiny import snapshot

__all__ = ["base"]


@pytest.fixture
def training(base, tmp_path, monkeypatch) -> Training:
    """Three snapshots whose UNets differ from the base's in one bias, by their epoch."""
    from diffusers import UNet2DConditionModel

    monkeypatch.setenv("WIKISTYLE_STORE", str(tmp_path / "store"))
    weights = UNet2DConditionModel.from_pretrained(base, subfolder="unet").state_dict()
    store = Store()

    def of(epoch: int):
        if not epoch:
            return snapshot(store, 0)
        return snapshot(store, epoch, unet=weights | {"conv_in.bias": weights["conv_in.bias"] * 0 + epoch})

    return Training(
        base_model=base, base_revision=None, dataset_fingerprint="f", snapshots=tuple(map(of, (0, 2, 4))), losses=(),
        psnr_before=None, psnr_after=None, truncated_captions=0, images_trained=1, images_held_out=0,
    )  # fmt: skip


def measured(epoch: int | None, strength: float | None) -> Measured:
    figure = Figure(value=0.5, low=0.4, high=0.6)
    one = Measures(
        epoch=2, strength=0.5, style_distance=figure, style_way=figure, prompt_agreement=figure, composition=figure,
        copies=figure, heldout_loss=0.2, probe_loss=None, decoder_psnr=21.5,
    )  # fmt: skip
    return Measured(measures=(one,), recommendation=Recommendation(epoch=epoch, strength=strength, because="So it is."))


def test_the_model_is_the_recommended_point_the_one_named_or_the_last(training):
    plain, named = MeasureSettings(), MeasureSettings(release_epoch=4)
    for found, how, wanted in (
        (measured(2, 0.5), plain, (2, 0.5)),
        (measured(2, 0.5), named, (4, 1.0)),
        (measured(None, None), plain, (4, 1.0)),
        (None, plain, (4, 1.0)),
    ):
        chosen, strength = released(training, found, how)
        assert (chosen.epoch, strength) == wanted


def test_an_epoch_without_a_snapshot_cannot_be_released(training):
    with pytest.raises(WikistyleError, match=r"release_epoch is 3, which has no snapshot; name one of 0, 2, 4"):
        released(training, None, MeasureSettings(release_epoch=3))


@pytest.mark.parametrize(("found", "wanted"), [((2, 1.0), 2.0), ((4, 1.0), 4.0), ((4, 0.5), None)])
def test_the_models_weights_are_those_of_the_recommended_point(training, base, tmp_path, found, wanted):
    """At half strength they lie half way between the base's and the snapshot's."""
    from diffusers import UNet2DConditionModel

    settings = load_profile("sample", [f"finetune.base_model={base}"])
    showcased = Showcased(samples=(), denoising=(), animations=(), stages=(), measured=measured(*found))
    write_run(tmp_path / "run", settings, None, Finetuned(training=training, stages=()), showcased, Store())
    bias = (
        UNet2DConditionModel.from_pretrained(tmp_path / "run" / "model" / "unet").state_dict()["conv_in.bias"].float()
    )
    own = UNet2DConditionModel.from_pretrained(base, subfolder="unet").state_dict()["conv_in.bias"].float()
    assert torch.allclose(bias, own * 0 + wanted if wanted else own / 2 + 2, atol=2e-3)


def test_the_summary_holds_measures_and_the_reason(training):
    showcased = Showcased(samples=(), denoising=(), animations=(), stages=(), measured=measured(2, 0.5))
    summary = summarise(load_profile("sample"), None, Finetuned(training=training, stages=()), showcased)
    assert (summary["recommended_epoch"], summary["recommended_strength"]) == (2, 0.5)
    assert summary["recommended_because"] == "So it is."
    assert summary["measures"][0]["copies"] == {"value": 0.5, "low": 0.4, "high": 0.6}


def test_the_table_shows_the_reason_and_marks_the_recommended():
    table = measures_table(measured(2, 0.5)).splitlines()
    assert table[0] == "**So it is.**"
    assert table[4] == (
        "| 2 | 0.5 | 0.5 (0.4 to 0.6) | 0.50 (0.40 to 0.60) | 0.500 (0.400 to 0.600) | 0.50 (0.40 to 0.60) "
        "| 0.50 (0.40 to 0.60) | 0.2000 | – | 21.50 | recommended |"
    )
    assert len({line.count("|") for line in table[2:]}) == 1


def test_what_cannot_be_measured_is_said_and_stops_nothing(training, base, prefect):
    settings = load_profile("sample", [f"finetune.base_model={base}"])
    assert base_in(settings).model == base
    found, report = measure(training, (), settings)
    assert found.recommendation.because.startswith("Nothing was measured: the training does not say where its dataset")
    assert (found.recommendation.epoch, report.items_out) == (None, 0)
    alone = training.model_copy(update={"snapshots": training.snapshots[:1]})
    assert measure(alone, (), settings)[0].recommendation.because.endswith("there is one snapshot only.")


def test_a_clip_that_is_not_there_is_told_before_the_first_stage(tmp_path, monkeypatch):
    monkeypatch.setenv("WIKISTYLE_STORE", str(tmp_path / "store"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckError, match=r"model .*empty \(measure\.clip_model\) has no config\.json"):
        check(load_profile("sample", [f"measure.clip_model={tmp_path / 'empty'}"]))
