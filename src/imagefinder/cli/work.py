"""``imagefinder work``: do the jobs in a database."""

from __future__ import annotations

import typer

from imagefinder.cli import session
from imagefinder.cli.session import CollectionOption, CollectionsOption, ConfigOption, LogFormatOption

HELP = """\
Servers and imagefinder add --queue store jobs in the database of a collection. A worker takes portions of them,
some seconds of work each. Start as many workers as there are machines; start and stop them at any time. When a
worker is killed, another one takes its portion after half a minute. SIGTERM and Ctrl-C stop a worker after the
images in progress.

A worker must be able to read what it adds: URLs by public addresses (or any, with the setting fetch_private), and
folders under the same path as on the machine that named them. It adds images only from folders in the setting
job_roots, and leaves those of other folders to other workers. It needs the weights of the methods in use.

  imagefinder work --collections postgresql://db.example/imagefinder
  imagefinder work -c postgresql://db.example/imagefinder/shop
  IMAGEFINDER_JOB_ROOTS=/mnt/images imagefinder work --collections postgresql://db.example/imagefinder"""


def work(
    context: typer.Context,
    *,
    collection: CollectionOption = None,
    collections: CollectionsOption = None,
    config: ConfigOption = None,
    log_format: LogFormatOption = None,
) -> None:
    """Work until SIGTERM or Ctrl-C."""
    chosen, only = session.in_database(
        context, collection, config, collections=collections, log_format=log_format, whole=True
    )
    from imagefinder.server import worker  # noqa: PLC0415 - only this command needs it

    worker.run(chosen, only=only)
