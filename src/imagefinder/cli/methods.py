"""``imagefinder methods``: the installed search methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from imagefinder.cli import output
from imagefinder.cli.session import JsonOption, memory_collection
from imagefinder.core.serialization import to_json

if TYPE_CHECKING:
    from imagefinder.core.method import MethodState

HELP = """\
  imagefinder methods
  imagefinder methods --json"""


def methods(context: typer.Context, as_json: JsonOption = False) -> None:
    """Print all installed methods."""
    with memory_collection(context) as opened:
        states = opened.methods()
    if as_json:
        output.document([_document(state) for state in states])
        return
    output.table(
        ("method", "ready", "score", "description"),
        [(state.name, "yes" if state.ready else "no", state.score, state.summary) for state in states],
        prose=("description",),
    )
    for state in states:
        if not state.ready:
            output.line()
            output.line(f"{state.name}: {state.reason}")
            output.line(f"  {state.hint}")


def _document(state: MethodState) -> dict[str, Any]:
    answer = to_json(state)
    answer["features"] = answer.pop("spec")
    answer["fingerprint"] = state.fingerprint.digest if state.fingerprint else None
    return answer  # type: ignore[no-any-return] # JSON of a dataclass is a dict
