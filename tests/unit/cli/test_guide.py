"""The guides describe every command and option, and no others."""

import re
from pathlib import Path

import pytest
import typer

from imagefinder.cli.app import app

GUIDE = (Path(__file__).parents[3] / "docs" / "guides" / "command-line.md").read_text(encoding="utf-8")
FIRST_STEPS = (Path(__file__).parents[3] / "docs" / "guides" / "first-steps.md").read_text(encoding="utf-8")
ROOT = typer.main.get_command(app)


def leaves(command=ROOT, path=()):
    """Every command, except groups and deprecated names, with its path."""
    if not getattr(command, "commands", None):
        yield path, command
    for name, child in getattr(command, "commands", {}).items():
        if not child.hidden:
            yield from leaves(child, (*path, name))


def options(command):
    return {
        name
        for parameter in command.params
        if parameter.param_type_name == "option" and not parameter.hidden
        for name in parameter.opts
    }


def section(name):
    found = re.search(rf"^## {re.escape(name)}$(.*?)(?=^## |\Z)", GUIDE, re.M | re.S)
    assert found, f"the guide has no section on {name}"
    return found[1]


def named(text):
    """All words in code that look like options."""
    return set(re.findall(r"(?<![\w-])(--?[a-z][a-z-]*)", "\n".join(re.findall(r"`[^`]+`|```.*?```", text, re.S))))


@pytest.mark.parametrize(
    ("path", "command"), leaves(), ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_every_command_is_described_with_its_options(path, command):
    text = section(path[0])
    assert " ".join(path) in GUIDE
    assert options(command) - named(text) <= {"-h", "--help"}


def test_options_before_the_command_are_described():
    assert options(ROOT) <= named(GUIDE.split("\n## Output")[0])


@pytest.mark.parametrize("guide", [GUIDE, FIRST_STEPS])
def test_no_option_is_described_that_does_not_exist(guide):
    existing = set().union(options(ROOT), *(options(command) for _, command in leaves()))
    existing |= {"--no-mirror", "--no-stacks"}
    foreign = {"-s", "-r"}  # of curl and jq, in examples
    assert named(guide) - existing - foreign - {"-h", "--help"} == set()


@pytest.mark.parametrize("guide", [GUIDE, FIRST_STEPS])
def test_every_command_of_an_example_exists(guide):
    existing = {path[0] for path, _ in leaves()}
    words = re.findall(r"^(?:[A-Z_]+=\S+ )*imagefinder ([^#\n]*)", guide, re.M)
    called = set()
    for line in words:
        parts = [word for word in line.split() if not word.startswith("-")]
        called |= {next((word for word in parts if word in existing), line)}
    assert words
    assert called <= existing


@pytest.mark.parametrize(
    ("path", "command"), leaves(), ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_every_help_has_an_example(path, command):
    assert f"imagefinder {' '.join(path)}" in command.help or f" {path[-1]} " in command.help.split("\n\n", 1)[1]
