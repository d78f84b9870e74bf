"""``imagefinder keys``: API keys of the REST service."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Annotated

import typer

from imagefinder.cli import output
from imagefinder.cli.command_group import CommandGroup, unwrapped
from imagefinder.cli.session import CollectionsOption, JsonOption, settings

if TYPE_CHECKING:
    from imagefinder.core.keys import Access
    from imagefinder.core.service_contracts import Keys

HELP = """\
A running service applies every change immediately, or within a second if it shares a database with others. Only
hashes of keys are stored, in the folder named by the setting state or, with --collections, in a database.

  imagefinder keys create shop
  imagefinder keys create editor --write
  imagefinder keys list
  imagefinder keys revoke shop"""

CREATE_HELP = """Create an API key and print it. The key cannot be shown again.

By default a key allows read access: searches and lookups. With --write it also allows changes to collections and
starting jobs. With --collection it is restricted to the named collections, which need not exist yet.

  imagefinder keys create shop
  imagefinder keys create editor --write
  imagefinder keys create supplier --collection shoes --collection bags
  KEY=$(imagefinder keys create me)
  curl -H "Authorization: Bearer $KEY" http://127.0.0.1:5000/v1/info"""

LIST_HELP = """List the keys: name, access, collections and creation time.

  imagefinder keys list --json"""

REVOKE_HELP = """Revoke a key, effective immediately; its open event streams end within seconds.

Jobs that the key has started continue; cancel them with another key.

  imagefinder keys revoke shop"""

app = typer.Typer(name="keys", cls=CommandGroup, no_args_is_help=True, add_completion=False, rich_markup_mode=None)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the key.", show_default=False)]


@app.command("create", help=unwrapped(CREATE_HELP))
def create(
    context: typer.Context,
    name: NameArgument,
    *,
    write: Annotated[bool, typer.Option("--write", help="Also allow changes and jobs.")] = False,
    collection: Annotated[
        list[str] | None,
        typer.Option(
            "--collection",
            metavar="NAME",
            help="Restrict the key to this collection of the server; repeatable. Default: all collections.",
            show_default=False,
        ),
    ] = None,
    collections: CollectionsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create a key and print it."""
    access: Access = "write" if write else "read"
    with _keys(context, collections) as keys:
        secret = keys.create(name, access, collection or None)
    allowed = sorted(set(collection)) if collection else None
    if as_json:
        output.document({"name": name, "access": access, "collections": allowed, "key": secret})
        return
    scope = f" to {', '.join(allowed)}" if allowed else ""
    output.note(f"key {name} ({access} access{scope}); save it now, it is not shown again:")
    output.line(secret)


@app.command("list", help=unwrapped(LIST_HELP))
def list_keys(context: typer.Context, collections: CollectionsOption = None, as_json: JsonOption = False) -> None:
    """Print all keys, without their secrets."""
    with _keys(context, collections) as opened:
        keys = opened.entries()
    if as_json:
        output.document(
            [
                {
                    "name": key.name,
                    "access": key.access,
                    "collections": key.collections,
                    "created_at": _iso(key.created_at),
                }
                for key in keys
            ]
        )
        return
    if not keys:
        output.line("no keys; create one with: imagefinder keys create NAME")
        return
    output.table(
        ("name", "access", "collections", "created"),
        [(key.name, key.access, ", ".join(key.collections or ("all",)), _iso(key.created_at)) for key in keys],
    )


@app.command("revoke", help=unwrapped(REVOKE_HELP))
def revoke(
    context: typer.Context, name: NameArgument, collections: CollectionsOption = None, as_json: JsonOption = False
) -> None:
    """Revoke a key."""
    with _keys(context, collections) as keys:
        keys.revoke(name)
    if as_json:
        output.document({"revoked": name})
    else:
        output.line(f"revoked key {name}")


def _keys(context: typer.Context, collections: str | None) -> contextlib.AbstractContextManager[Keys]:
    from imagefinder.server.parts import open_keys  # noqa: PLC0415 - fast start

    return open_keys(settings(context, collections=collections))


def _iso(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
