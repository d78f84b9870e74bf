"""Values of options and arguments, converted without Pydantic.

Typer converts every value with Pydantic, which takes longer to import than most commands take to run. Values of
the simple types are converted here; others, and values that are not valid, are left to Typer.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,15}")


def convert_plainly(parameter: Any) -> None:
    """Let a parameter of Typer convert simple values itself; without effect in versions that use no Pydantic.

    Repeated calls have no effect.
    """
    known = hasattr(parameter, "get_runtime_param") and hasattr(parameter, "type_descriptor")
    if known and "get_runtime_param" not in vars(parameter):
        convert_all = parameter.get_runtime_param
        parameter.get_runtime_param = lambda: _PlainFirst(convert_all)


class _PlainFirst:
    """Converter of one parameter: simple values itself, all others by Typer."""

    def __init__(self, convert_all: Any) -> None:
        self._convert_all = convert_all

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """The converted value; Typer's errors if it is not valid."""
        if value is None:
            return () if param.multiple or param.nargs == -1 else None
        found = _plain(param.type_descriptor, value)
        return self._convert_all().coerce(value, param=param, ctx=ctx) if found is None else found


def _plain(kind: Any, value: Any) -> Any:
    """A value of a simple type; ``None`` if it is not of one, or not valid."""
    wanted, limits = kind.annotation, kind.parameter_info
    if getattr(limits, "parser", None) is not None:
        return None
    if wanted is str and isinstance(value, str):
        return value
    if wanted == list[str] and isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return list(value)
    if get_origin(wanted) is Literal and value in get_args(wanted):
        return value
    if wanted is Path and isinstance(value, str | Path):
        # Typer refuses existing paths that cannot be read.
        return None if os.path.exists(value) and not os.access(value, os.R_OK) else Path(value)  # noqa: PTH110
    if wanted is int and _WHOLE_NUMBER.fullmatch(str(value)):
        number, low, high = int(value), limits.min, limits.max
        return number if (low is None or number >= low) and (high is None or number <= high) else None
    return None
