"""Reading JSON and YAML files, and checking that what is in them has the expected shape.

Does not know what a data set is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from metricsmith.sandbox.errors import DataError

__all__ = ["Record", "load_json", "load_yaml", "numbered", "parsed", "text_of"]


class Record(BaseModel):
    """Base of the shapes we expect. Nothing is converted, and unknown fields are kept in `model_extra`."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True, allow_inf_nan=False)


_R = TypeVar("_R", bound=Record)


def text_of(file: Path) -> str:
    """The text of a UTF-8 file, without a byte order mark. DataError where it is missing or no text."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(file, "the file is missing") from None
    except UnicodeDecodeError as error:
        raise DataError(file, f"the file is not UTF-8 text: {error.reason} at byte {error.start}") from None
    except OSError as error:
        raise DataError(file, f"the file cannot be read: {error.strerror}") from None


def load_json(file: Path) -> Any:
    """The value in a JSON file. DataError where there is none, with line and column."""
    text = text_of(file)
    if not text.strip():
        raise DataError(file, "the file is empty", remedy="a JSON document was expected")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise DataError(
            file, f"this is not JSON: {error.msg} at {place}", remedy="is the file complete?"
        ) from None
    except (RecursionError, ValueError) as error:  # nested too deep; a number of thousands of digits
        raise DataError(file, f"this JSON cannot be read: {error}") from None


def load_yaml(file: Path) -> Any:
    """The value in a YAML file, plain types only. DataError where there is none."""
    text = text_of(file)
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise DataError(file, f"this is not YAML: {reason}") from None


def parsed(shape: type[_R], value: Any, file: Path, item: str | None = None) -> _R:
    """`value` as a record of this shape. DataError naming the first field that does not fit."""
    try:
        return shape.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"] if not str(part).endswith("]"))
        message = first["msg"][0].lower() + first["msg"][1:]
        raise DataError(file, f"{field}: {message}" if field else message, item=item) from None


def numbered(name: str, values: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    """Each value of the list called `name`, with what to call it in a message: "images[3] (id 17)"."""
    for index, value in enumerate(values):
        has_id = isinstance(value, dict) and isinstance(value.get("id"), int | str)
        yield f"{name}[{index}]" + (f" (id {value['id']})" if has_id else ""), value
