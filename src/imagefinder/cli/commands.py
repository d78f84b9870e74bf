"""The commands by name; the module of a command is imported when it runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, NamedTuple

import typer

from imagefinder.cli.command_group import CommandGroup, unwrapped


class Listed(NamedTuple):
    """A command that is not imported yet.

    Attributes:
        place: ``module:object`` in this package; the object is the function of a command or the app of a group.
            The module has the text of the help below the summary, ``HELP``.
        heading: Heading in the list of commands; empty for a deprecated name, which is not listed.
        summary: First sentences of the help.
    """

    place: str
    heading: str
    summary: str


_IMAGES, _SEARCH, _MAINTENANCE = "Images", "Search", "Maintenance"
_METHODS, _SERVICE = "Methods and settings", "Service and data"

COMMANDS: Mapping[str, Listed] = {
    "add": Listed("add:add", _IMAGES, "Add images to the collection."),
    "remove": Listed("remove:remove", _IMAGES, "Remove images from the collection. The files stay on disk."),
    "list": Listed("list_:list_images", _IMAGES, "List the images of the collection, sorted by id."),
    "info": Listed("info:info", _IMAGES, "Show the contents of the collection, and the images that failed."),
    "search": Listed("search:search", _SEARCH, "Find images that match a query image."),
    "explain": Listed("explain:explain", _SEARCH, "Show why a query matches an image of the collection."),
    "duplicates": Listed("duplicates:duplicates", _SEARCH, "Find duplicate images within the collection."),
    "compare": Listed("compare:compare", _SEARCH, "Compare two images directly, without a collection."),
    "demo": Listed("demo:demo", _SEARCH, "Show how imagefinder works, on example images."),
    "check": Listed("check:check", _MAINTENANCE, "Verify the collection, and repair damage."),
    "backup": Listed(
        "backup:backup", _MAINTENANCE, "Copy the collection to a new folder, even while it is in use."
    ),
    "copy": Listed(
        "copy_:copy", _MAINTENANCE, "Copy a collection to another folder or a database, and verify the copy."
    ),
    "migrate": Listed(
        "migrate:migrate",
        _MAINTENANCE,
        "Upgrade a collection, or the tables of a database, from an older version of imagefinder.",
    ),
    "sweep": Listed("sweep:sweep", _MAINTENANCE, "Delete unused objects of a collection with an object store."),
    "build-index": Listed(
        "build_index:build_index", _MAINTENANCE, "Build or update the ANN indexes for fast searches."
    ),
    "methods": Listed(
        "methods:methods", _METHODS, "List the search methods, and whether each is ready to run on this machine."
    ),
    "evaluate": Listed("evaluate:evaluate", _METHODS, "Measure the accuracy of each method on your own images."),
    "settings": Listed("settings:show", _METHODS, "List all settings with their current values."),
    "models": Listed("models:app", _METHODS, "Download, transfer and verify network weights."),
    "serve": Listed("serve:serve", _SERVICE, "Run the REST service and the web page, until Ctrl-C."),
    "work": Listed("work:work", _SERVICE, "Do the jobs in a database, with any number of other workers."),
    "import": Listed("import_:import_features", _SERVICE, "Import features from a folder of .npy files."),
    "export": Listed("export:export_features", _SERVICE, "Export the features of the collection as .npy files."),
    "keys": Listed("keys:app", _SERVICE, "Create, list and revoke the API keys of the REST service."),
    "index": Listed("build_index:index", "", "Deprecated: use build-index."),
}
"""Name -> command, in the order of the help."""


class Commands(Mapping[str, Any]):
    """The commands by name; looking one up imports it. Nothing is imported to list the names."""

    def __init__(self) -> None:
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded:
            self._loaded[name] = _load(name, COMMANDS[name])
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class LazyGroup(CommandGroup):
    """The commands of ``COMMANDS``, each imported when it runs."""

    def __init__(self, **options: Any) -> None:
        """Create the group; ``options`` are those of ``TyperGroup``."""
        super().__init__(**options | {"commands": Commands()})
        self.panels = {
            heading: tuple((name, entry.summary) for name, entry in COMMANDS.items() if entry.heading == heading)
            for heading in dict.fromkeys(entry.heading for entry in COMMANDS.values() if entry.heading)
        }

    def list_commands(self, ctx: Any) -> list[str]:
        """All names, in the order of the help."""
        del ctx
        return list(COMMANDS)


def _load(name: str, entry: Listed) -> Any:
    module_name, _, attribute = entry.place.partition(":")
    module = import_module(f"imagefinder.cli.{module_name}")
    found = getattr(module, attribute)
    if not isinstance(found, typer.Typer):
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        app.command(name, hidden=not entry.heading)(found)
        found = app
    command = typer.main.get_command(found)
    command.help = unwrapped(f"{entry.summary}\n\n{module.HELP}" if entry.heading else entry.summary)
    return command
