"""``imagefinder serve``: the REST service."""

from __future__ import annotations

from typing import Annotated

import typer

from imagefinder.cli import session
from imagefinder.cli.session import CollectionOption

HELP = """Answer over HTTP, until Ctrl-C.

  imagefinder serve
  imagefinder serve --host 0.0.0.0 --port 8080 -c shop.collection
  curl -X POST -F "image=@photo.jpg" http://127.0.0.1:5000/sift-similar-images

The description of all requests is at /docs of the running service. It sees what imagefinder add puts into the
collection without a restart. There is no password: open it to a network (--host 0.0.0.0) only behind something
that has one."""


def serve(
    context: typer.Context,
    host: Annotated[
        str | None,
        typer.Option(
            "--host",
            metavar="ADDRESS",
            help="Address to listen on, instead of the setting host.",
            show_default=False,
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            "--port",
            metavar="N",
            min=0,
            max=65535,
            help="Port to listen on, instead of the setting port; 0 takes a free one.",
            show_default=False,
        ),
    ] = None,
    collection: CollectionOption = None,
) -> None:
    """Run the service."""
    chosen = session.settings(context, host=host, port=port, collection=collection)
    from imagefinder.server import app  # noqa: PLC0415 - only this command needs the web framework

    app.serve(chosen)
