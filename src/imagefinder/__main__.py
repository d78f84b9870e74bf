"""Entry point of ``python -m imagefinder`` and of the ``imagefinder`` command."""

from __future__ import annotations

import gc
import os
import sys


def main() -> None:
    """Run the command line and exit with its exit code."""
    # Importing this module must load nothing, and no file may be opened before the standard streams.
    from imagefinder.cli import standard_streams  # noqa: PLC0415

    standard_streams.prepare()
    # Modules and graphs are loaded once and kept: looking for garbage among them took 30 ms of each command.
    gc.set_threshold(50_000)
    # imagefinder starts its threads itself; starting those of BLAS took 30 ms of each command.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if sys.argv[1:] == ["--version"]:  # without importing the commands, which takes longer
        sys.exit(standard_streams.guarded(_print_version))
    from imagefinder.cli.app import run  # noqa: PLC0415

    sys.exit(run(sys.argv[1:]))


def _print_version() -> int:
    import imagefinder  # noqa: PLC0415 - loads nothing else

    sys.stdout.write(f"imagefinder {imagefinder.__version__}\n")
    return 0


if __name__ == "__main__":
    main()
