"""What every stage's settings have in common, and the digest of those that change its output."""

import hashlib
import json
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler
from pydantic_core import CoreSchema


class StageSettings(BaseModel):
    """Frozen and closed: a misspelt setting is an error. Every field says its unit and the reason for its default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def output_settings(self) -> dict[str, Any]:
        """Only what changes the stage's output; fields made with `working` (speed, politeness, memory) are left out."""
        skip = {name for name, field in type(self).model_fields.items() if _is_working(field.json_schema_extra)}
        return self.model_dump(mode="json", exclude=skip)

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """With each field's place: PostgreSQL keeps a schema without its order, and a form goes by `position`."""
        schema = handler(core_schema)
        for place, field in enumerate(handler.resolve_ref_schema(schema).get("properties", {}).values()):
            field["position"] = place
        return schema


def _is_working(extra: object) -> bool:
    return isinstance(extra, dict) and bool(cast("dict[str, object]", extra).get("working"))


def working(default: Any, **kwargs: Any) -> Any:
    """A pydantic Field for how a stage works (batch size, connections) and not for what comes out of it."""
    return Field(default, json_schema_extra={"working": True}, **kwargs)


def digest(value: Any) -> str:
    """sha256 of a value's canonical JSON (sorted keys, no spaces)."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
