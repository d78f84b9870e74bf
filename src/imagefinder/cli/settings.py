"""``imagefinder settings``: what can be configured."""

from __future__ import annotations

import typer

from imagefinder.cli import output, session
from imagefinder.cli.session import JsonOption
from imagefinder.core.settings import PREFIX

HELP = """List every setting with its present value.

A setting is given in a TOML file (--config, or the file that IMAGEFINDER_CONFIG names), in the environment
(IMAGEFINDER_ and its name in capitals) or on the command line (--set, before the command); the later ones win.

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
        output.table(("setting", "value", "what it does"), rows)
