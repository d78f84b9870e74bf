"""HTML pages from the templates in this folder; the one place that knows Jinja2."""

from __future__ import annotations

import base64
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from imagefinder.core.text import printable

if TYPE_CHECKING:
    from jinja2 import Environment


def render(template: str, /, **values: object) -> str:
    """A page.

    Args:
        template: Name of a file in this folder.
        values: What it refers to.

    Returns:
        HTML text. Every value in it is escaped, and characters that are not printable are spelled out: ids and
        file names are not to be trusted.

    Raises:
        jinja2.TemplateError: there is no such template, or it refers to a value that is not given.
    """
    return _environment().get_template(template).render(values)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415 - most commands show no page

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_spelled_out,
    )
    environment.filters["data_uri"] = _data_uri
    return environment


def _spelled_out(value: object) -> object:
    if hasattr(value, "__html__"):
        return value  # the output of a macro, in which everything is spelled out already
    return printable(str(value))


def _data_uri(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")
