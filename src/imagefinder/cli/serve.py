"""``imagefinder serve``: the REST service."""

from __future__ import annotations

from typing import Annotated

import typer

from imagefinder.cli import output, session
from imagefinder.cli.session import CollectionOption, CollectionsOption, ConfigOption, LogFormatOption

HELP = """\
  imagefinder serve
  imagefinder serve --port 8080 -c shop.collection
  imagefinder keys create shop --write
  imagefinder serve --host 0.0.0.0
  imagefinder serve --config server.toml --print-config
  imagefinder serve --collections postgresql://db.example/imagefinder
  curl -X POST -F "image=@photo.jpg" http://127.0.0.1:5000/sift-similar-images

The running service documents its API at /docs. It picks up changes to the collection without a restart. If other
machines can reach it, requests need an API key: create keys with imagefinder keys, or change this with --auth.

With --collections and the URL of a database, everything that the service stores is in that database. Any number of
services can then run behind a load balancer, and imagefinder work adds images on further machines."""


# wide: a parameter for each option of the command, as typer declares them.
def serve(  # long: mostly the declarations of its options, as typer reads them.
    context: typer.Context,
    *,
    host: Annotated[
        str | None,
        typer.Option(
            "--host",
            metavar="ADDRESS",
            help="Address to listen on; overrides the setting host.",
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
            help="Port to listen on; overrides the setting port. 0 selects a free port.",
            show_default=False,
        ),
    ] = None,
    auth: Annotated[
        str | None,
        typer.Option(
            "--auth",
            metavar="on|off|auto",
            help="Require API keys; auto: only if other machines can reach the service.",
            show_default=False,
        ),
    ] = None,
    log_format: LogFormatOption = None,
    collection: CollectionOption = None,
    collections: CollectionsOption = None,
    config: ConfigOption = None,
    print_config: Annotated[
        bool,
        typer.Option(
            "--print-config", help="Print the effective settings as TOML, with the source of each, and exit."
        ),
    ] = False,
) -> None:
    """Run the service."""
    chosen, origins = session.settings_with_origins(
        context,
        config,
        host=host,
        port=port,
        auth=auth,
        log_format=log_format,
        collection=collection,
        collections=collections,
    )
    if print_config:
        output.text(chosen.to_toml(origins))
        return
    from imagefinder.server import app  # noqa: PLC0415 - only this command needs the web framework

    app.serve(chosen)
