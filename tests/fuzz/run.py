"""Coverage-guided fuzzing of one parser: ``python tests/fuzz/run.py NAME --seconds 60``.

What is found is written to ``tests/fuzz/corpus/NAME`` and from then on is a test.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
import time
import warnings
from pathlib import Path

import atheris

sys.path.append(str(Path(__file__).parents[1] / "support"))
with atheris.instrument_imports(include=["imagefinder", "python_multipart"]):
    import cluster_targets  # noqa: F401 - adds its targets
    from targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=sorted(TARGETS))
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--max-bytes", type=int, default=1 << 16)
    options = parser.parse_args()
    warnings.simplefilter("error")  # it would go to somebody's terminal
    warnings.simplefilter("ignore", DeprecationWarning)
    target = TARGETS[options.name]
    known = CORPUS / options.name

    def run(data: bytes) -> None:
        begin = time.monotonic()
        try:
            target.run(data)
            assert time.monotonic() - begin < 10, "it takes longer than 10 s"
        except BaseException:
            known.mkdir(parents=True, exist_ok=True)
            (known / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
            raise

    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(target.seeds()):
            Path(folder, f"seed-{number}").write_bytes(seed)
        arguments = [sys.argv[0], folder, *([str(known)] if known.is_dir() else [])]
        limits = [f"-max_total_time={options.seconds}", f"-max_len={options.max_bytes}", "-rss_limit_mb=2048"]
        atheris.Setup(
            [*arguments, *limits, "-timeout=30", "-print_final_stats=1", f"-artifact_prefix={folder}/"], run
        )
        atheris.Fuzz()


if __name__ == "__main__":
    main()
