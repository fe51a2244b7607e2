"""`python -m deployments.render`: writes prefect.yaml from the profiles, so that deployments can't drift from them.

Parameters are written out in full, defaults included: a form in the UI then shows every value that will be used.
"""

import sys
from pathlib import Path
from typing import Any

import yaml

from flows.common.settings import ROOT, load_profile, profile_names

CPU_POOL, GPU_POOL = "wikistyle-cpu", "wikistyle-gpu"
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


class _Dumper(yaml.SafeDumper):
    """Names each profile's settings by an anchor instead of repeating them."""

    def generate_anchor(self, node: yaml.Node) -> str:
        names = {key.value: value.value for key, value in node.value}
        return f"settings-of-{names['profile']}" if "profile" in names else super().generate_anchor(node)


def parameters_of(profile: str) -> dict[str, Any]:
    """A profile's settings as deployed: its GPU parts run on the GPU pool."""
    settings = load_profile(profile).model_copy(update={"training_on": "gpu-pool"})
    return settings.model_dump(mode="json")


def rendered() -> str:
    """The text of prefect.yaml."""
    content = {
        "name": "wikistyle",
        # A worker runs the checkout that was deployed: nothing has to be installed as a package for it.
        "pull": [{"prefect.deployments.steps.set_working_directory": {"directory": "{{ $PWD }}"}}],
        "deployments": [*[d for profile in profile_names() for d in deployments_of(profile)], rescue()],
    }
    return HEADER + yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=116)


def deployments_of(profile: str) -> list[dict[str, Any]]:
    """The six deployments of a profile."""
    settings = parameters_of(profile)
    pipeline = _deployment("wikistyle", profile, CPU_POOL, "The whole pipeline: wiki to gallery.", settings)
    # One that is due while another runs is refused; what that one leaves uncollected is told by the next watch.
    pipeline["concurrency_limit"] = {"limit": 1, "collision_strategy": "CANCEL_NEW"}
    changed = _trigger(f"wikistyle: the wiki of {profile} has changed", WIKI_CHANGED, f"wiki.{profile}")
    pipeline["build"] = _kept("wikistyle", profile, changed["name"])
    starts = "Starts the pipeline when watch finds pictures new, gone or taken down."
    pipeline["triggers"] = [changed | {"description": starts}]
    collect = _deployment("collect", profile, CPU_POOL, "Wiki to dataset.", settings)
    finetune = _deployment(
        "finetune", profile, GPU_POOL, "Dataset to snapshots; by itself, of the dataset last collected.", settings
    )
    finetune["concurrency_limit"] = {"limit": 1, "collision_strategy": "ENQUEUE"}  # one training at a time on a GPU
    showcase = _deployment(
        "showcase", profile, GPU_POOL, "Snapshots to pictures and films; by itself, of the last training.", settings
    )
    watch = _deployment("watch", profile, CPU_POOL, "Has the wiki changed? Then the pipeline is started.", settings)
    watch["build"] = _kept("watch", profile)
    watch["schedules"] = [{"interval": 3600, "slug": "hourly", "active": "{{ kept.schedule }}"}]
    watch["concurrency_limit"] = {"limit": 1, "collision_strategy": "CANCEL_NEW"}
    publish = _deployment("publish", profile, CPU_POOL, "The last dataset to the hub.", settings)
    return [pipeline, collect, finetune, showcase, publish, watch]


def rescue() -> dict[str, Any]:
    """The deployment that takes up crashed runs of all the others."""
    trigger = _trigger("wikistyle: a run crashed", "prefect.flow-run.Crashed", "prefect.flow-run.*")
    trigger["match_related"] = {"prefect.resource.role": "tag", "prefect.resource.id": "prefect.tag.wikistyle"}
    trigger["parameters"] = {"run": {"__prefect_kind": "jinja", "template": "{{ event.resource.id }}"}}
    return {
        "name": "crashed",
        "description": "Takes up a run whose process or machine died, where it was.",
        "tags": ["wikistyle"],
        "entrypoint": "flows/rescue.py:rescue",
        "work_pool": {"name": CPU_POOL, "job_variables": {"env": dict(ENVIRONMENT)}},
        "build": _kept("rescue", "crashed", trigger["name"]),
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


def _deployment(flow: str, profile: str, pool: str, description: str, settings: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": profile,
        "description": description,
        "entrypoint": f"flows/{flow}.py:{flow}",
        "tags": ["wikistyle", profile],
        "parameters": {"settings": settings},
        "work_pool": {"name": pool, "job_variables": {"env": dict(ENVIRONMENT)}},
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
