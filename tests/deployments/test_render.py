"""prefect.yaml: what is deployed is what the profiles say."""

import subprocess
import sys

import pytest
import yaml
from prefect.cli.deploy._config import _load_deploy_configs_and_actions
from rich.console import Console

from deployments.rename import name_now
from deployments.render import CPU_POOL, ENVIRONMENT, GPU_POOL, RESCUE, parameters_of, rendered
from flows.common.form import by_stage
from flows.common.settings import ROOT, Settings, load_profile, profile_names

PARTS = dict.fromkeys(("wikistyle", "collect", "publish", "watch"), CPU_POOL)
PARTS |= dict.fromkeys(("finetune", "showcase"), GPU_POOL)


@pytest.fixture(scope="module")
def deployments() -> list[dict]:
    """Those that belong to a profile."""
    *deployments, rescue = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    assert rescue["entrypoint"] == "flows/rescue.py:rescue"
    return deployments


def test_prefect_yaml_is_up_to_date():
    assert (ROOT / "prefect.yaml").read_text() == rendered(), "run `python -m deployments.render`"


def test_what_deployments_share_is_said_once():
    text = (ROOT / "prefect.yaml").read_text()
    for said in ("no_repeat_ngram_size", "svg_width", "PREFECT_RESULTS_DEFAULT_SERIALIZER"):
        assert text.count(said) == 1, said
    assert len(text.splitlines()) < 400


def test_prefects_own_loader_finds_all_parameters_and_variables_in_full():
    deployments, actions = _load_deploy_configs_and_actions(ROOT / "prefect.yaml", console=Console())
    assert actions["pull"] == [{"prefect.deployments.steps.set_working_directory": {"directory": "{{ $PWD }}"}}]
    assert len(deployments) == len(PARTS) * len(profile_names()) + 1
    for deployment in deployments:
        assert deployment["work_pool"]["job_variables"] == {"env": ENVIRONMENT}
        if deployment["name"] != RESCUE:
            assert deployment["parameters"] == {"settings": parameters_of(deployment["tags"][1])}


def test_each_deployment_says_what_it_is_of_which_profile():
    """In a list of them, where the name is what one sees; no two are alike."""
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    names = [d["name"] for d in deployments]
    assert len(set(names)) == len(names)
    assert {"sample-pipeline", "sample-watch", "simpsons-finetune", "rescue-crashed-runs"} <= set(names)
    assert len({(d["description"], *d["tags"]) for d in deployments}) == len(names)


@pytest.mark.parametrize(
    ("flow", "name", "tags", "now"),
    [
        ("wikistyle", "sample", ["wikistyle", "sample"], "sample-pipeline"),
        ("watch", "my-wiki", ["wikistyle", "my-wiki"], "my-wiki-watch"),
        ("rescue", "crashed", ["wikistyle"], "rescue-crashed-runs"),
        ("watch", "my-wiki-watch", ["wikistyle", "my-wiki"], "my-wiki-watch"),
        ("watch", "nightly", ["wikistyle"], "nightly"),
        ("theirs", "sample", ["wikistyle", "sample"], "sample"),
        ("watch", "sample", ["theirs", "sample"], "sample"),
    ],
)
def test_only_names_that_wikistyle_gave_are_changed(flow, name, tags, now):
    """tests/e2e/test_restart has the deployments of an older server."""
    assert name_now(f"flows/{flow}.py:{flow}", name, tags) == now


def test_every_profile_has_every_part_on_its_pool(deployments):
    found = {(d["entrypoint"], d["tags"][1]): d["work_pool"]["name"] for d in deployments}
    assert found == {(f"flows/{p}.py:{p}", name): pool for name in profile_names() for p, pool in PARTS.items()}


def test_a_deployments_parameters_are_its_profile(deployments):
    for deployment in deployments:
        deployed = Settings.model_validate(deployment["parameters"]["settings"])
        profile = load_profile(deployment["tags"][1])
        assert deployed == profile.model_copy(update={"training_on": "gpu-pool"})
        # written out in full: the form in the UI shows values, not blanks
        said = by_stage(deployment["parameters"]["settings"])
        for stage in ("scrape", "dataset", "finetune", "sample"):
            assert set(said[stage]) == set(type(getattr(profile, stage)).model_fields)


def test_one_training_at_a_time_and_one_pipeline_run(deployments):
    limits = {(d["entrypoint"], d["tags"][1]): d.get("concurrency_limit") for d in deployments}
    for name in profile_names():
        assert limits["flows/finetune.py:finetune", name] == {"limit": 1, "collision_strategy": "ENQUEUE"}
        assert limits["flows/wikistyle.py:wikistyle", name] == {"limit": 1, "collision_strategy": "CANCEL_NEW"}


def test_what_a_user_switches_is_asked_for_not_said(deployments):
    """tests/e2e/test_deploy shows that the watch is off at first, and that nothing is switched back."""
    schedules = [d["schedules"] for d in deployments if d["entrypoint"].startswith("flows/watch.py")]
    assert schedules == [[{"interval": 3600, "slug": "hourly", "active": "{{ kept.schedule }}"}]] * len(profile_names())
    for deployment in deployments:
        triggers = deployment.get("triggers", [])
        assert all(trigger["enabled"] == "{{ kept.trigger }}" for trigger in triggers)
        if triggers or "schedules" in deployment:
            name = f"{deployment['entrypoint'].rpartition(':')[2]}/{deployment['name']}"
            asked = {"id": "kept", "deployment": name, "trigger": triggers[0]["name"] if triggers else ""}
            assert deployment["build"] == [{"deployments.switches.kept": asked}]


@pytest.mark.parametrize("flow", PARTS)
def test_the_form_can_be_filled_from_the_profile_alone(flow):
    """No parameter without a default but the settings, which the deployment gives; all have titles and descriptions."""
    from prefect.utilities.callables import parameter_schema_from_entrypoint

    schema = parameter_schema_from_entrypoint(f"{ROOT}/flows/{flow}.py:{flow}").model_dump()
    assert schema["required"] == ["settings"]
    for model in schema["definitions"].values():
        if model["title"].endswith("Settings"):
            for name, field in model["properties"].items():
                assert field.get("title"), (model["title"], name)
                assert field.get("description") or "$ref" in str(field), (model["title"], name)


def test_flows_are_deployed_without_heavy_imports():
    """A machine without PyTorch's seconds to spare can deploy and run a worker."""
    code = (
        "import sys; import flows.wikistyle, flows.finetune, flows.showcase, flows.watch, flows.common.gpu_pool;"
        "print([m for m in ('torch', 'transformers', 'diffusers', 'datasets') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
