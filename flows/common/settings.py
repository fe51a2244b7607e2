"""What a user can set: one pydantic model per stage, gathered, and the profiles that fill them."""

from pathlib import Path
from typing import Any, Literal, cast

import yaml
from pydantic import Field, GetJsonSchemaHandler, TypeAdapter, ValidationError, model_validator
from pydantic_core import CoreSchema

from flows.common import form
from tasks.animate.settings import AnimateSettings
from tasks.caption.settings import CaptionSettings
from tasks.common.errors import WikistyleError
from tasks.common.settings import StageSettings
from tasks.convert.settings import ConvertSettings
from tasks.dataset.settings import DatasetSettings
from tasks.finetune.settings import FinetuneSettings
from tasks.measure.settings import MeasureSettings
from tasks.sample.settings import SampleSettings
from tasks.scrape.settings import ScrapeSettings

ROOT = Path(__file__).resolve().parents[2]
PROFILES = ROOT / "deployments" / "profiles"


class SettingsError(WikistyleError):
    """A profile or setting that does not exist or does not fit; one line with the remedy."""


class Settings(StageSettings):
    """All that a run depends on, stage by stage."""

    profile: str = Field("sample", title="Profile", description="Name of these settings, used in run names.")
    training_on: Literal["here", "gpu-pool"] = Field(
        "here",
        title="Train on",
        description="here: in this process's own worker. gpu-pool: as child runs of the fine-tune and showcase "
        "deployments of the same profile, on the GPU work pool.",
    )
    scrape: ScrapeSettings = Field(default_factory=lambda: ScrapeSettings.model_validate({}), title="1. Scrape")
    convert: ConvertSettings = Field(default_factory=lambda: ConvertSettings.model_validate({}), title="2. Convert")
    caption: CaptionSettings = Field(default_factory=lambda: CaptionSettings.model_validate({}), title="3. Caption")
    dataset: DatasetSettings = Field(default_factory=lambda: DatasetSettings.model_validate({}), title="4. Dataset")
    finetune: FinetuneSettings = Field(
        default_factory=lambda: FinetuneSettings.model_validate({}), title="5. Fine-tune"
    )
    sample: SampleSettings = Field(default_factory=lambda: SampleSettings.model_validate({}), title="6. Sample")
    measure: MeasureSettings = Field(default_factory=lambda: MeasureSettings.model_validate({}), title="7. Measure")
    animate: AnimateSettings = Field(default_factory=lambda: AnimateSettings.model_validate({}), title="8. Animate")

    @model_validator(mode="before")
    @classmethod
    def _by_stage(cls, values: Any) -> Any:
        return form.by_stage(cast("dict[str, Any]", values)) if isinstance(values, dict) else values

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = super().__get_pydantic_json_schema__(core_schema, handler)
        own = handler.resolve_ref_schema(schema)
        stages = {stage: handler.resolve_ref_schema(own["properties"][stage]) for stage in form.STAGES}
        kinds: dict[str, Any] = {stage: cls.model_fields[stage].annotation for stage in form.STAGES}
        alone = {stage: TypeAdapter[Any](kind).json_schema() for stage, kind in kinds.items()}
        form.asked(own, stages, alone)
        return schema


def profile_names() -> list[str]:
    """The profiles that come with wikistyle."""
    return sorted(path.stem for path in PROFILES.glob("*.yaml"))


def load_profile(name_or_file: str, overrides: list[str] | None = None) -> Settings:
    """The settings of a profile by name or YAML file, with `stage.setting=value` overrides (values are YAML).

    Raises SettingsError naming what is unknown or does not fit, and what there is instead.
    """
    path = PROFILES / f"{name_or_file}.yaml"
    if not path.exists():
        path = Path(name_or_file)
    if not path.is_file():
        raise SettingsError(
            f"profile {name_or_file} is neither a file nor one of {', '.join(profile_names())}; "
            "see `wikistyle profiles`"
        )
    try:
        values: dict[str, Any] = yaml.safe_load(path.read_text()) or {}
    except yaml.YAMLError as error:
        raise SettingsError(f"profile {path} is not YAML ({' '.join(str(error).split())}); mend the file") from error
    values.setdefault("profile", path.stem)
    for override in overrides or []:
        _set(values, override)
    return parse(values, f"profile {path.stem}")


def _set(values: dict[str, Any], override: str) -> None:
    name, equals, text = override.partition("=")
    if not equals:
        raise SettingsError(f"--set {override} has no value; write --set finetune.epochs=20")
    *stages, last = name.split(".")
    at = values
    for part in stages:
        below: object = at.setdefault(part, {})
        if not isinstance(below, dict):
            raise SettingsError(f"setting {name} does not exist: {part} has no parts; see `wikistyle run --help`")
        at = cast("dict[str, Any]", below)
    at[last] = yaml.safe_load(text)


def parse(values: dict[str, Any], source: str) -> Settings:
    """Settings from plain values; every problem becomes one line naming the setting."""
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        if not name:
            raise SettingsError(f"{source}: {first['msg'].removeprefix('Value error, ')}") from None
        if first["type"] == "extra_forbidden":
            siblings = _fields_beside(first["loc"])
            raise SettingsError(
                f"setting {name} of {source} does not exist; there are: {', '.join(siblings)}"
            ) from None
        raise SettingsError(
            f"setting {name} of {source} is {first['input']!r}: {first['msg'][0].lower()}{first['msg'][1:]}; "
            "see `wikistyle run --help` for its unit and bounds"
        ) from None


def _fields_beside(location: tuple[int | str, ...]) -> list[str]:
    model: Any = Settings
    for part in location[:-1]:
        model = model.model_fields[str(part)].annotation
    return list(model.model_fields)


def locate(model: str) -> str:
    """A model's folder given relative to the repository, as an absolute path; anything else unchanged."""
    inside = ROOT / model
    return str(inside) if not Path(model).is_dir() and inside.is_dir() else model


def located(settings: Settings) -> Settings:
    """The settings with the models' folders found wherever the current folder is."""
    return settings.model_copy(
        update={
            "caption": settings.caption.model_copy(update={"model": locate(settings.caption.model)}),
            "finetune": settings.finetune.model_copy(update={"base_model": locate(settings.finetune.base_model)}),
            "measure": settings.measure.model_copy(update={"clip_model": locate(settings.measure.clip_model)}),
        }
    )
