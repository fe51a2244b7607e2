"""`python -m deployments.render`: writes prefect.yaml from the profiles, so that deployments can't drift from them.

Parameters are deployed in full, defaults included: a form in the UI then shows every value that will be used. In the
file what deployments share is said once, under `definitions`; YAML's anchors and merge keys put it where it belongs.
"""

import sys
from pathlib import Path
from typing import Any

import yaml

from flows.common.deployed import deployed_as
from flows.common.form import as_asked, without_essentials
from flows.common.settings import ROOT, Settings, load_profile, profile_names

CPU_POOL, GPU_POOL = "wikistyle-cpu", "wikistyle-gpu"
FLOWS = ("wikistyle", "collect", "finetune", "showcase", "publish", "watch")
RESCUE = "rescue-crashed-runs"
WIKI_CHANGED = "wiki.images.changed"
HEADER = """\
# Written by `python -m deployments.render` from deployments/profiles/*.yaml; edit those, then run it again.
# Deploy: prefect --no-prompt deploy --all
"""
# What a run needs wherever it runs. Where things lie (WIKISTYLE_HOME, WIKISTYLE_STORE, WIKISTYLE_TRAINING and
# PREFECT_LOCAL_STORAGE_PATH) is the worker's to say, the same for every worker.
ENVIRONMENT = {
    "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "true",
    "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
}


class _Merge(str):
    """YAML's merge key: a mapping takes from another what it doesn't say itself."""


class _Dumper(yaml.SafeDumper):
    """Says what many deployments share once, by the name it has where it is defined; short lists and maps on a line."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.names: dict[int, str] = {}

    def represent_mapping(self, tag: str, mapping: Any, flow_style: bool | None = None) -> yaml.MappingNode:
        node = super().represent_mapping(tag, mapping, flow_style)
        for key, value in node.value:
            if key.value != "<<":
                self.names.setdefault(id(value), key.value)
        node.flow_style = len(node.value) <= 2 and all(isinstance(value, yaml.ScalarNode) for _, value in node.value)
        return node

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> yaml.SequenceNode:
        node = super().represent_sequence(tag, sequence, flow_style)
        node.flow_style = all(isinstance(item, yaml.ScalarNode) for item in node.value)
        return node

    def generate_anchor(self, node: yaml.Node) -> str:
        return self.names[id(node)]


_Dumper.add_representer(_Merge, lambda dumper, key: dumper.represent_scalar("tag:yaml.org,2002:merge", key))


def parameters_of(profile: str) -> dict[str, Any]:
    """A profile's settings as deployed and asked for by a form: its GPU parts run on the GPU pool."""
    settings = load_profile(profile).model_copy(update={"training_on": "gpu-pool"})
    return as_asked(settings.model_dump(mode="json"))


def _merged(parameters: dict[str, Any], defaults: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The same parameters; a stage's are its defaults, to be merged by whoever reads the file, and what differs."""
    merged = dict(parameters)
    for stage, default in defaults.items():
        own = {name: value for name, value in parameters[stage].items() if value != default[name]}
        merged[stage] = {_Merge("<<"): default} | own if own else default
    return merged


def rendered() -> str:
    """The text of prefect.yaml."""
    unsaid = without_essentials(Settings.model_validate({}).model_dump(mode="json"))
    defaults = {name: value for name, value in unsaid.items() if isinstance(value, dict)}
    settings = {name: _merged(parameters_of(name), defaults) for name in profile_names()}
    pools = {name: {"name": name, "job_variables": {"env": ENVIRONMENT}} for name in (CPU_POOL, GPU_POOL)}
    shared = {"defaults": defaults} | {f"settings-of-{name}": value for name, value in settings.items()}
    content = {
        "name": "wikistyle",
        # A worker runs the checkout that was deployed: nothing has to be installed as a package for it.
        "pull": [{"prefect.deployments.steps.set_working_directory": {"directory": "{{ $PWD }}"}}],
        "definitions": {"env": ENVIRONMENT} | pools | shared,
        "deployments": [
            *[d for name in profile_names() for d in deployments_of(name, settings[name], pools)],
            rescue(pools),
        ],
    }
    return HEADER + yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=116)


def deployments_of(profile: str, settings: dict[str, Any], pools: dict[str, Any]) -> list[dict[str, Any]]:
    """The six deployments of a profile."""
    cpu, gpu = pools[CPU_POOL], pools[GPU_POOL]
    pipeline = _deployment("wikistyle", profile, cpu, "The whole pipeline: wiki to gallery.", settings)
    # One that is due while another runs is refused; what that one leaves uncollected is told by the next watch.
    pipeline["concurrency_limit"] = {"limit": 1, "collision_strategy": "CANCEL_NEW"}
    changed = _trigger(f"wikistyle: the wiki of {profile} has changed", WIKI_CHANGED, f"wiki.{profile}")
    pipeline["build"] = _kept("wikistyle", pipeline["name"], changed["name"])
    starts = "Starts the pipeline when watch finds pictures new, gone or taken down."
    pipeline["triggers"] = [changed | {"description": starts}]
    collect = _deployment("collect", profile, cpu, "Wiki to dataset.", settings)
    finetune = _deployment(
        "finetune", profile, gpu, "Dataset to snapshots; by itself, of the dataset last collected.", settings
    )
    finetune["concurrency_limit"] = {"limit": 1, "collision_strategy": "ENQUEUE"}  # one training at a time on a GPU
    showcase = _deployment(
        "showcase", profile, gpu, "Snapshots to pictures and films; by itself, of the last training.", settings
    )
    watch = _deployment("watch", profile, cpu, "Has the wiki changed? Then the pipeline is started.", settings)
    watch["build"] = _kept("watch", watch["name"])
    watch["schedules"] = [{"interval": 3600, "slug": "hourly", "active": "{{ kept.schedule }}"}]
    watch["concurrency_limit"] = {"limit": 1, "collision_strategy": "CANCEL_NEW"}
    publish = _deployment("publish", profile, cpu, "The last dataset to the hub.", settings)
    return [pipeline, collect, finetune, showcase, publish, watch]


def rescue(pools: dict[str, Any]) -> dict[str, Any]:
    """The deployment that takes up crashed runs of all the others."""
    trigger = _trigger("wikistyle: a run crashed", "prefect.flow-run.Crashed", "prefect.flow-run.*")
    trigger["match_related"] = {"prefect.resource.role": "tag", "prefect.resource.id": "prefect.tag.wikistyle"}
    trigger["parameters"] = {"run": {"__prefect_kind": "jinja", "template": "{{ event.resource.id }}"}}
    return {
        "name": RESCUE,
        "description": "Takes up a run whose process or machine died, where it was.",
        "tags": ["wikistyle"],
        "entrypoint": "flows/rescue.py:rescue",
        "work_pool": pools[CPU_POOL],
        "build": _kept("rescue", RESCUE, trigger["name"]),
        "triggers": [trigger],
    }


def _kept(flow: str, name: str, trigger: str = "") -> list[dict[str, Any]]:
    """The step that finds out what the user switched; see deployments.switches."""
    return [{"deployments.switches.kept": {"id": "kept", "deployment": f"{flow}/{name}", "trigger": trigger}}]


def _trigger(name: str, event: str, resource: str) -> dict[str, Any]:
    return {
        "type": "event",
        "name": name,
        "enabled": "{{ kept.trigger }}",
        "expect": [event],
        "match": {"prefect.resource.id": resource},
        "posture": "Reactive",
        "threshold": 1,
        "within": 0,
    }


def _deployment(
    flow: str, profile: str, pool: dict[str, Any], description: str, settings: dict[str, Any]
) -> dict[str, Any]:  # fmt: skip
    return {
        "name": deployed_as(flow, profile),
        "description": description,
        "entrypoint": f"flows/{flow}.py:{flow}",
        "tags": ["wikistyle", profile],
        "parameters": {"settings": settings},
        "work_pool": pool,
    }


def main() -> None:
    """Write prefect.yaml, or with --check only say whether it is up to date (exit status 1: it is not)."""
    path: Path = ROOT / "prefect.yaml"
    if "--check" in sys.argv[1:]:
        if not path.exists() or path.read_text() != rendered():
            sys.exit("prefect.yaml differs from the profiles; run `python -m deployments.render`")
        return
    path.write_text(rendered())


if __name__ == "__main__":
    main()
