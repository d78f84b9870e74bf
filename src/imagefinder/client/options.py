"""Conversion of search options to request members and form fields."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from imagefinder.core.answers import OPTION_NAMES
from imagefinder.core.query import SearchOptions
from imagefinder.core.results import Box


def request_members(options: SearchOptions, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The members of a JSON request for search options; options with their default value are omitted.

    Args:
        options: The options.
        changes: Individual options that replace those of ``options``; request names are also accepted. ``None``
            values are ignored.

    Raises:
        InputError: an option has an invalid value.
        TypeError: an option does not exist.
    """
    given = {name: value for name, value in changes.items() if value is not None}
    if "verify" in given:
        given["ranking"] = "evidence" if given.pop("verify") else "matches"
    if "filter" in given:
        given["where"] = given.pop("filter")
    options = replace(options, **given)
    found = {
        OPTION_NAMES.get(one.name, one.name): getattr(options, one.name)
        for one in fields(options)
        if getattr(options, one.name) != one.default
    }
    if "verify" in found:
        found["verify"] = options.ranking == "evidence"
    return found


def query_members(boxes: Sequence[Box], text: str) -> dict[str, Any]:
    """The members of a JSON request for the regions and the text of a query; those without a value are omitted."""
    found: dict[str, Any] = {"boxes": [list(box) for box in boxes]} if boxes else {}
    return {**found, "text": text} if text else found


def form_fields(options: Mapping[str, Any]) -> dict[str, Any]:
    """Convert the members of a JSON request to form fields; each box becomes one field ``box``."""
    fields: dict[str, Any] = {}
    for name, value in options.items():
        if name == "boxes":
            fields["box"] = [",".join(str(number) for number in box) for box in value]
        else:
            fields[name] = _text(value)
    return fields


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return json.dumps(value)
    return str(value)
