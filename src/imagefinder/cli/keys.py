"""``imagefinder keys``: who may use the server."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from imagefinder.cli import output
from imagefinder.cli.session import JsonOption, settings, unwrapped

if TYPE_CHECKING:
    from imagefinder.server.keys import Keys

HELP = """Create and revoke the keys with which programs and people may use the server.

A running server sees every change at once. Only hashes of keys are stored, in the folder of the setting state.

  imagefinder keys create shop
  imagefinder keys create editor --write
  imagefinder keys list
  imagefinder keys revoke shop"""

CREATE_HELP = """Make a key and show it: this is the only time it can be seen.

Without --write it may look and search; with it, also change collections and start jobs.

  imagefinder keys create shop
  imagefinder keys create editor --write
  curl -H "Authorization: Bearer $(imagefinder keys create me)" http://127.0.0.1:5000/v1/info"""

LIST_HELP = """List the keys: their names, what they may do, when they were made.

  imagefinder keys list --json"""

REVOKE_HELP = """Let a key open nothing any more, from now on.

  imagefinder keys revoke shop"""

app = typer.Typer(name="keys", help=unwrapped(HELP), no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Whose key it is.", show_default=False)]


@app.command("create", help=unwrapped(CREATE_HELP))
def create(
    context: typer.Context,
    name: NameArgument,
    write: Annotated[bool, typer.Option("--write", help="It may also change things.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a key, and print it."""
    with _keys(context) as keys:
        secret = keys.create(name, "write" if write else "read")
    if as_json:
        output.document({"name": name, "access": "write" if write else "read", "key": secret})
        return
    output.note(f"the key {name} may {_may(write=write)}; keep it, it is not shown again:")
    output.line(secret)


@app.command("list", help=unwrapped(LIST_HELP))
def list_keys(context: typer.Context, as_json: JsonOption = False) -> None:
    """Print all keys but their secrets."""
    with _keys(context) as opened:
        keys = opened.entries()
    if as_json:
        output.document(
            [{"name": key.name, "access": key.access, "created_at": _iso(key.created_at)} for key in keys]
        )
        return
    output.table(
        ("name", "may", "made at"),
        [(key.name, _may(write=key.access == "write"), _iso(key.created_at)) for key in keys],
    )
    if not keys:
        output.line("there are none; make one: imagefinder keys create NAME")


@app.command("revoke", help=unwrapped(REVOKE_HELP))
def revoke(context: typer.Context, name: NameArgument, as_json: JsonOption = False) -> None:
    """Take a key away."""
    with _keys(context) as keys:
        keys.revoke(name)
    if as_json:
        output.document({"revoked": name})
    else:
        output.line(f"the key {name} opens nothing any more")


def _keys(context: typer.Context) -> Keys:
    from imagefinder.server.keys import Keys  # noqa: PLC0415 - a quick start

    return Keys(settings(context).state)


def _may(*, write: bool) -> str:
    return "look, search and change" if write else "look and search"


def _iso(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
