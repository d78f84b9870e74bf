"""Write docs/reference from the code: ``python docs/generate.py`` (``make docs``); a test compares."""

from __future__ import annotations

import dataclasses
import inspect
import json
from pathlib import Path
from typing import get_type_hints

from imagefinder.core import errors
from imagefinder.core.settings import PREFIX, Settings
from imagefinder.models.catalogue import MODELS, HubFile

REFERENCE = Path(__file__).parent / "reference"
NOTE = "<!-- Written by docs/generate.py; change the code, then run: make docs -->\n\n"


def settings() -> str:
    types = get_type_hints(Settings)
    lines = [
        "# Settings\n",
        "One name, four places; later ones win: the default, a TOML file (`--config FILE` or",
        f"`{PREFIX}CONFIG`), the environment (`{PREFIX}NAME`), a flag of the command line.\n",
        "| name | environment | type | default | what it does |",
        "|---|---|---|---|---|",
    ]
    for item in dataclasses.fields(Settings):
        default = item.default
        if item.default_factory is not dataclasses.MISSING:
            value = item.default_factory()
            default = (
                f"`$XDG_DATA_HOME/imagefinder/{value.name}`" if isinstance(value, Path) else "number of cores"
            )
        else:
            default = f"`{default}`"
        lines.append(
            f"| `{item.name}` | `{PREFIX}{item.name.upper()}` | {types[item.name].__name__} | {default} | "
            f"{item.metadata['help']} |"
        )
    return "\n".join(lines) + "\n"


def models() -> str:
    lines = [
        "# Networks\n",
        "| method | weights | revision | size | licence | SHA-256 | preprocessing | features |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for model in MODELS.values():
        source = model.source
        hub = isinstance(source, HubFile)
        p = model.preprocessing
        resize = (
            f"shorter side {p.resize_to}, centre {p.size}"
            if p.resize == "shorter-side"
            else f"{p.size} x {p.size}"
        )
        lines.append(
            f"| {model.name} | [{source.repository if hub else source.package}]({model.homepage}) `{source.filename}` | "
            f"{source.revision if hub else 'pinned package'} | {model.size_bytes / 1e6:.0f} MB | {model.licence} | "
            f"{model.sha256 or 'taken from the hub at the first download, then kept'} | {resize}, {p.interpolation}, "
            f"mean {p.mean}, std {p.std} | {model.features.kind}, {model.features.dim} x {model.features.dtype} |"
        )
    return "\n".join(lines) + "\n"


def error_codes() -> str:
    lines = [
        "# Errors\n",
        "Every error on purpose has a stable code, a message, a hint, and says whether trying again may help.\n",
        "| code | class | retryable | when |",
        "|---|---|---|---|",
    ]
    for _, kind in inspect.getmembers(errors, inspect.isclass):
        if issubclass(kind, errors.ImagefinderError):
            first = (inspect.getdoc(kind) or "").splitlines()[0]
            lines.append(f"| `{kind.code}` | `{kind.__name__}` | {'yes' if kind.retryable else 'no'} | {first} |")
    return "\n".join(lines) + "\n"


RESULTS = Path(__file__).parents[1] / "benchmarks" / "results" / "retrieval.json"
README = Path(__file__).parents[1] / "README.md"
BEGIN, END = (
    "<!-- results: written by docs/generate.py from benchmarks/results/retrieval.json -->\n",
    "<!-- end of results -->",
)
KINDS = {"copy": "edited copies", "places": "other views of a place"}


def results() -> str:
    """The table of methods in the README: measured, not written."""
    document = json.loads(RESULTS.read_text(encoding="utf-8"))
    lines = [
        "",
        "| method | asked for | mAP | R@1 | ms per query | of it extract / match / verify | images indexed per s | features per image |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in sorted(document["rows"], key=lambda row: (row["method"] != "sift", row["method"], row["set"])):
        for ranking, found in row["rankings"].items():
            ms = found["query_ms_median"]
            stages = [f"{ms[stage]:.0f}" if stage in ms else "-" for stage in ("extract", "match", "verify")]
            lines.append(
                f"| `{row['method']}`{', verified' if ranking == 'evidence' else ''} | "
                f"{KINDS.get(row['set'], row['set'])} among {row['images']} | {found['mAP']:.3f} | {found['R@1']:.3f} | "
                f"{ms['total']:.0f} | {' / '.join(stages)} | {row['images_indexed_per_second']:.0f} | "
                f"{row['feature_bytes_per_image'] / 1000:.0f} kB |"
            )
    machine = document["measured_on"]
    lines += [
        "",
        f"Measured by `make bench` on {machine['cores']} cores ({machine['processor']}), without a GPU; mAP and R@1 over "
        f"{' and '.join(str(n) for n in sorted({row['queries_judged'] for row in document['rows']}, reverse=True))} queries.",
        "",
    ]
    return "\n".join(lines)


def readme(text: str) -> str:
    """The README with the present table in it."""
    head, rest = text.split(BEGIN)
    return head + BEGIN + results() + END + rest.split(END)[1]


PAGES = {"settings.md": settings, "models.md": models, "errors.md": error_codes}

if __name__ == "__main__":
    REFERENCE.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(NOTE + page(), encoding="utf-8")
    README.write_text(readme(README.read_text(encoding="utf-8")), encoding="utf-8")
