"""Groups of commands, and their help: plain text without Rich, which takes longer to import than to search."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

from imagefinder.cli.plain_values import convert_plainly


class CommandGroup(TyperGroup):
    """A group of commands, listed with their whole summaries; ``panels`` may give them headings."""

    panels: dict[str, tuple[tuple[str, str], ...]] | None = None
    """Heading -> (name, summary) of its commands; ``None``: one list of all commands."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the options before the command."""
        _convert_plainly(self, ctx)
        return super().parse_args(ctx, args)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command with this name; ``None`` if there is none."""
        command = super().get_command(ctx, cmd_name)
        if command is not None:
            _convert_plainly(command, ctx)
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the commands below their headings."""
        panels = self.panels or {"Commands": self._rows(ctx)}
        wide = max(len(name) for rows in panels.values() for name, _ in rows)
        for heading, rows in panels.items():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(wide), summary) for name, summary in rows])

    def _rows(self, ctx: Any) -> tuple[tuple[str, str], ...]:
        commands = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        return tuple(
            (name, (command.help or "").split("\n\n")[0]) for name, command in commands if command is not None
        )


def unwrapped(text: str) -> str:
    """Help text for terminals of any width: joins the lines of a paragraph, keeps indented examples."""
    # A paragraph that begins with this character is not wrapped.
    return "\n\n".join(
        f"\b\nExamples:\n{part}" if part.startswith("  ") else " ".join(part.split())
        for part in text.split("\n\n")
    )


def _convert_plainly(command: Any, ctx: Any) -> None:
    for parameter in command.get_params(ctx):  # with --help
        convert_plainly(parameter)
