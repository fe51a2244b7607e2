"""Profiles and overrides: what fits is taken, what doesn't is named in one line with a remedy."""

import pytest

from flows.common.settings import Settings, SettingsError, load_profile, profile_names


def test_every_profile_loads():
    assert profile_names() == ["sample", "simpsons"]
    for name in profile_names():
        assert load_profile(name).profile == name


def test_overrides_reach_the_setting():
    settings = load_profile("sample", ["finetune.epochs=3", 'sample.prompts=["a pig"]'])
    assert settings.finetune.epochs == 3
    assert settings.sample.prompts == ("a pig",)


def test_a_bare_no_is_a_precision():
    assert load_profile("sample", ["finetune.mixed_precision=no"]).finetune.mixed_precision == "no"


def test_a_profile_can_be_a_file(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("finetune: {epochs: 7}\n")
    assert load_profile(str(file)).finetune.epochs == 7
    assert load_profile(str(file)).profile == "mine"


@pytest.mark.parametrize(
    ("profile", "overrides", "message"),
    [
        ("smaple", [], "profile smaple is neither a file nor one of sample, simpsons"),
        (
            "sample",
            ["finetune.epoch=3"],
            "setting finetune.epoch of profile sample does not exist; there are: .*epochs",
        ),
        ("sample", ["finetun.epochs=3"], "setting finetun of profile sample does not exist; there are: .*finetune"),
        ("sample", ["finetune.epochs=none"], "setting finetune.epochs .* is 'none': input should be a valid integer"),
        (
            "sample",
            ["finetune.epochs=0"],
            "setting finetune.epochs .* is 0: input should be greater than or equal to 1",
        ),
        ("sample", ["finetune.epochs"], "--set finetune.epochs has no value; write"),
    ],
)
def test_what_does_not_fit_is_named_in_one_line(profile, overrides, message):
    with pytest.raises(SettingsError, match=message) as error:
        load_profile(profile, overrides)
    assert "\n" not in str(error.value)


def test_every_setting_explains_itself():
    def check(model, prefix=""):
        for name, field in model.model_fields.items():
            nested = field.annotation
            if isinstance(nested, type) and hasattr(nested, "model_fields"):
                check(nested, f"{prefix}{name}.")
            else:
                assert field.title, f"{prefix}{name} has no title"
                assert field.description, f"{prefix}{name} has no description"

    check(Settings)
