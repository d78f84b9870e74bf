"""``imagefinder settings``: all settings and their values."""

from __future__ import annotations

import typer

from imagefinder.cli import output, session
from imagefinder.cli.session import JsonOption
from imagefinder.core.settings import PREFIX

HELP = """\
Settings come from a TOML file (--config, or the file named by IMAGEFINDER_CONFIG), from environment variables
(IMAGEFINDER_ plus the name in capitals) and from the command line (--set, before the command). Environment
variables override the file, and the command line overrides both.

  imagefinder settings
  IMAGEFINDER_THREADS=2 imagefinder add ~/Pictures
  imagefinder --set sift_max_side=800 -c small.collection add ~/Pictures"""


def show(context: typer.Context, as_json: JsonOption = False) -> None:
    """Print all settings."""
    rows = session.settings(context).describe()
    if as_json:
        output.document(
            {name: {"value": value, "help": text, "variable": PREFIX + name.upper()} for name, value, text in rows}
        )
    else:
        output.table(("setting", "value", "description"), rows, prose=("description",))
