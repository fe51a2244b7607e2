"""The settings as text, from the pydantic models: one line each, with its default, what fits, and what it is."""

import json
import types
import typing
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from flows.common.settings import Settings


def describe_settings(model: type[BaseModel] = Settings, prefix: str = "") -> list[str]:
    """One line for each setting: name = default (bounds), and what it is; a line and blank ones about each stage."""
    lines: list[str] = []
    for name, field in model.model_fields.items():
        kind: Any = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            lines += ["", f"{prefix}{name}: {' '.join((kind.__doc__ or '').split())}", ""]
            lines += describe_settings(kind, f"{prefix}{name}.")
        else:
            default = json.dumps(field.get_default(call_default_factory=True), ensure_ascii=False, default=str)
            lines.append(f"  {prefix}{name} = {default}  ({what_fits(field)})  {field.description or ''}")
    return lines


def what_fits(field: FieldInfo) -> str:
    """A field's type, or its choices, and its bounds: `whole number, 1 to 8`."""
    return ", ".join([*_kinds(field.annotation), *_bounds(field.metadata)])


def _kinds(annotation: Any) -> list[str]:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        return [" | ".join(str(choice) for choice in arguments)]
    if origin in (types.UnionType, typing.Union):
        return [" or ".join(kind for one in arguments for kind in _kinds(one))]
    if origin is tuple:
        return [f"list of {kind}s" for kind in _kinds(arguments[0])]
    names = {int: "whole number", float: "number", str: "text", bool: "true | false", type(None): "null"}
    return [names[annotation]]


def _bounds(metadata: list[Any]) -> list[str]:
    """Of a number or of the length of a text or list, in words."""
    found = {name: value for bound in metadata for name, value in _limits(bound)}
    low = str(found["ge"]) if "ge" in found else f"over {found['gt']}" if "gt" in found else ""
    high = str(found["le"]) if "le" in found else f"under {found['lt']}" if "lt" in found else ""
    words = [f"{low} to {high}" if "ge" in found and "le" in found else ", ".join(filter(None, [
        f"{low} or more" if "ge" in found else low, f"up to {high}" if "le" in found else high]))]  # fmt: skip
    if "multiple_of" in found:
        words.append(f"multiple of {found['multiple_of']}")
    if "min_length" in found and "max_length" in found:
        words.append(f"length {found['min_length']} to {found['max_length']}")
    elif "min_length" in found:
        words.append(f"at least {found['min_length']}")
    elif "max_length" in found:
        words.append(f"length up to {found['max_length']}")
    if "pattern" in found:
        words.append(f"matching {found['pattern']}")
    return [word for word in words if word]


def _limits(bound: Any) -> list[tuple[str, Any]]:
    names = ("ge", "gt", "le", "lt", "multiple_of", "min_length", "max_length", "pattern")
    return [(name, value) for name in names if (value := getattr(bound, name, None)) is not None]
