"""Renders HTML pages from the templates in this folder, with Jinja2."""

from __future__ import annotations

import base64
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from imagefinder.core.text import printable

if TYPE_CHECKING:
    from jinja2 import Environment


def render(template: str, /, **values: object) -> str:
    """Render a template.

    Args:
        template: Name of a file in this folder.
        values: Variables of the template.

    Returns:
        HTML text. All values are HTML-escaped, and unprintable characters are replaced by escape sequences: ids
        and file names are untrusted input.

    Raises:
        jinja2.TemplateError: the template does not exist, or a variable is missing.
    """
    return _environment().get_template(template).render(values)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415 - fast start

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printable,
    )
    environment.filters["data_uri"] = _data_uri
    return environment


def _printable(value: object) -> object:
    if hasattr(value, "__html__"):
        return value  # output of a macro, already escaped
    return printable(str(value))


def _data_uri(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")
