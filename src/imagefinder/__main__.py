"""Entry point of ``python -m imagefinder`` and of the ``imagefinder`` command."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit with its exit code."""
    from imagefinder.cli.app import run  # noqa: PLC0415 - importing this module must load nothing

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
