"""Settings as a form asks for them: what people change comes first, in one place, and is not asked for again below.

A form shows a stage's fields under that stage; what most runs change would be spread over a dozen screens. So the few
settings of `ESSENTIALS` stand together in a form, and in the parameters of deployments, under `essentials`. That is a
matter of writing alone: `Settings` puts each where it belongs, and parameters that say all by stage are as good.
"""

from collections.abc import Mapping
from typing import Any, cast

KEY = "essentials"
DESCRIPTION = "What people change. All the rest follows, stage by stage."
# name: (stage, how the form asks for it). Without further description, so that they fit on one screen.
ESSENTIALS = {
    "api_url": ("scrape", "Wiki: address of its api.php; empty: the bundled sample wiki"),
    "rights_basis": ("scrape", "Rights basis: why you may train on its pictures"),
    "epochs": ("finetune", "Epochs"),
    "repo_id": ("dataset", "Repository on the hub for the dataset, owner/name; empty: not published"),
    "prompts": ("sample", "Prompts: a film of each"),
}
STAGES = {stage for stage, _ in ESSENTIALS.values()}


def as_asked(values: Mapping[str, Any]) -> dict[str, Any]:
    """All settings, by stage as plain values, the way a form asks for them: essentials first, and there alone."""
    essentials = {name: values[stage][name] for name, (stage, _) in ESSENTIALS.items()}
    return {KEY: essentials} | without_essentials(values)


def without_essentials(values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings, by stage as plain values, but those that a form asks for first."""
    left = dict(values)
    for name, (stage, _) in ESSENTIALS.items():
        left[stage] = {field: value for field, value in left[stage].items() if field != name}
    return left


def by_stage(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with each of the essentials under its stage; one that is None counts as not said.

    Raises ValueError for what is not among the essentials, or is said there and by its stage in two ways: a form never
    writes both, and neither may be passed over.
    """
    placed = {name: value for name, value in values.items() if name != KEY}
    essentials: Any = values.get(KEY) or {}
    if not isinstance(essentials, Mapping) or not ESSENTIALS.keys() >= set(cast("Mapping[Any, Any]", essentials)):
        raise ValueError(f"{KEY} holds some of {', '.join(ESSENTIALS)} and nothing else")
    for name, value in cast("Mapping[str, Any]", essentials).items():
        stage = ESSENTIALS[name][0]
        said = dict(placed.get(stage) or {})
        if value is None:
            continue
        if name in said and said[name] != value:
            raise ValueError(f"{KEY}.{name} and {stage}.{name} differ; leave one of them out")
        placed[stage] = said | {name: value}
    return placed


def asked(schema: dict[str, Any], stages: Mapping[str, dict[str, Any]], alone: Mapping[str, dict[str, Any]]) -> None:
    """Change the JSON schema of `Settings` into the form's. `stages` are the stages' in it, `alone` each by itself.

    The essentials have no default there: a form would write it beside what older parameters say under the stage. And
    a stage takes what the form doesn't show, for those parameters; `Settings` itself remains strict.
    """
    fields: dict[str, Any] = {}
    for place, (name, (stage, title)) in enumerate(ESSENTIALS.items()):
        shown = {key: value for key, value in alone[stage]["properties"][name].items() if key != "default"}
        shown.pop("description", None)
        fields[name] = shown | {"title": title, "position": place}
        stages[stage]["properties"].pop(name, None)
        stages[stage].pop("additionalProperties", None)
    essentials = {"title": "Essentials", "description": DESCRIPTION, "type": "object", "properties": fields}
    schema["properties"] = {KEY: essentials | {"additionalProperties": False, "position": -1}} | schema["properties"]
