import importlib
import re

import pytest
from typer.main import get_command

from imagefinder.cli import commands
from imagefinder.cli.app import app

LISTED = [name for name, entry in commands.COMMANDS.items() if entry.heading]


def test_the_help_lists_every_command_below_its_heading(call):
    text = call("--help").out
    for heading in dict.fromkeys(commands.COMMANDS[name].heading for name in LISTED):
        panel = re.search(rf"^{heading}:\n((?:  .*\n)+)", text, re.M)[1]
        names = re.findall(r"^  (\S+)", panel, re.M)
        assert [name for name in LISTED if commands.COMMANDS[name].heading == heading] == names
    assert not re.search(r"^  index ", text, re.M)


@pytest.mark.parametrize("name", LISTED)
def test_the_help_of_a_command_begins_with_its_summary(name):
    module, _, attribute = commands.COMMANDS[name].place.partition(":")
    module = importlib.import_module(f"imagefinder.cli.{module}")
    assert hasattr(module, attribute)
    text = get_command(app).commands[name].help
    assert text.startswith(commands.COMMANDS[name].summary + "\n\n")
    assert text.count(commands.COMMANDS[name].summary) == 1
    assert module.HELP.strip()


def test_an_unknown_name():
    assert commands.Commands().get("nothing") is None
