"""The form asks for what people change first; parameters written before it did, or without it, are as good."""

import json

import pytest
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools.validation import validate
from pydantic import ValidationError

from flows.common.form import ESSENTIALS, KEY, as_asked, by_stage
from flows.common.settings import Settings, SettingsError, load_profile, profile_names
from flows.wikistyle import wikistyle


@pytest.fixture(scope="module")
def schema() -> dict:
    return parameter_schema(wikistyle.fn).model_dump()


def saved(**changed: object) -> dict:
    """All by stage, as automations and schedules that are older than the form have saved it."""
    return Settings.model_validate({"scrape": changed}).model_dump(mode="json")


@pytest.mark.parametrize("profile", profile_names())
def test_settings_asked_for_by_a_form_are_the_same_settings(profile, schema):
    settings = load_profile(profile)
    form = as_asked(settings.model_dump(mode="json"))
    assert Settings.model_validate(form) == settings
    assert not any(name in form[stage] for name, (stage, _) in ESSENTIALS.items())
    assert validate({"settings": form}, schema) == []


def test_what_is_essential_comes_first_also_where_a_schema_loses_its_order(schema):
    """PostgreSQL sorts the names of what it keeps as JSON."""
    kept = json.loads(json.dumps(schema["definitions"], sort_keys=True))
    for model in kept.values():
        places = {name: field["position"] for name, field in model["properties"].items() if "position" in field}
        if model["title"].endswith("Settings"):
            assert len(set(places.values())) == len(model["properties"])
    shown = sorted(kept["Settings"]["properties"].items(), key=lambda item: item[1]["position"])
    assert [name for name, _ in shown] == [KEY, *Settings.model_fields]
    asked = sorted(shown[0][1]["properties"].items(), key=lambda item: item[1]["position"])
    assert [name for name, _ in asked] == list(ESSENTIALS)
    assert asked[list(ESSENTIALS).index("epochs")][1]["minimum"] == 1


def test_nothing_is_asked_twice(schema):
    for name, (stage, _) in ESSENTIALS.items():
        model = schema["definitions"]["Settings"]["properties"][stage]["$ref"].rpartition("/")[2]
        assert name not in schema["definitions"][model]["properties"]


def test_parameters_saved_by_stage_are_taken_by_the_server_and_mean_the_same(schema):
    old = saved(api_url="https://a.example/api.php")
    assert validate({"settings": old}, schema) == []
    assert Settings.model_validate(old).scrape.api_url == "https://a.example/api.php"


def test_an_essential_left_empty_is_as_its_stage_says():
    old = saved(api_url="https://a.example/api.php")
    for empty in ({}, None, {"api_url": None}):
        assert Settings.model_validate(old | {KEY: empty}).scrape.api_url == "https://a.example/api.php"


@pytest.mark.parametrize(
    ("essentials", "message"),
    [
        ({"api_url": "https://b.example/api.php"}, "essentials.api_url and scrape.api_url differ"),
        ({"seed": 1}, "essentials holds some of api_url"),
        (["api_url"], "essentials holds some of"),
        ({"epochs": 0}, "differ"),
    ],
)
def test_what_is_said_in_two_ways_or_is_no_essential_is_an_error(essentials, message):
    with pytest.raises(ValidationError, match=message):
        Settings.model_validate(saved(api_url="https://a.example/api.php") | {KEY: essentials})


def test_an_essential_is_held_to_its_bounds():
    with pytest.raises(ValidationError, match=r"finetune\.epochs"):
        Settings.model_validate({KEY: {"epochs": 0}})


def test_unknown_settings_of_a_stage_are_still_errors():
    with pytest.raises(ValidationError, match="Extra inputs"):
        Settings.model_validate({"finetune": {"epoch": 3}})


def test_the_command_line_says_it_in_one_line():
    with pytest.raises(SettingsError, match=r"profile sample: essentials.epochs and finetune.epochs differ"):
        load_profile("sample", ["essentials.epochs=3"])


def test_settings_are_not_changed_by_reading_them():
    values = {KEY: {"epochs": 3}, "finetune": {"seed": 1}}
    assert by_stage(values) == {"finetune": {"seed": 1, "epochs": 3}}
    assert values == {KEY: {"epochs": 3}, "finetune": {"seed": 1}}
