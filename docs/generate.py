"""Write docs/reference from the code: ``python docs/generate.py`` (``make docs``); a test compares."""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections import Counter
from pathlib import Path
from typing import Any, get_type_hints

from imagefinder.core import errors
from imagefinder.core.settings import PREFIX, Settings, type_name
from imagefinder.models.catalogue import MODELS, HubFile
from imagefinder.server.errors import KINDS

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
            default = "none" if default == () else f"`{default}`"
        kind = " or ".join(f"`{word}`" for word in item.metadata["choices"]) or type_name(types[item.name])
        lines.append(
            f"| `{item.name}` | `{PREFIX}{item.name.upper()}` | {kind} | {default} | {item.metadata['help']} |"
        )
    lines += [
        '\nIn a TOML file a list is a list: `allowed_hosts = ["pictures.example"]`. In the environment and in flags its items are',
        f"joined by commas (`{PREFIX}ALLOWED_HOSTS=pictures.example,pictures.local`), paths as in `PATH`. A truth value is `true`",
        "or `false`. `imagefinder serve --print-config` prints all values in force as a TOML file, and where each comes from.",
    ]
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


def problems() -> str:
    lines = [
        "# Problems of the REST service\n",
        "Every code that an `application/problem+json` answer can have; [the guide](../guides/rest-api.md) says when.\n",
        "| code | status | retryable | title |",
        "|---|---|---|---|",
        *(
            f"| `{code}` | {kind.status} | {'yes' if kind.retryable else 'no'} | {kind.title} |"
            for code, kind in KINDS.items()
        ),
    ]
    return "\n".join(lines) + "\n"


RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
README = Path(__file__).parents[1] / "README.md"
BEGIN, END = (
    "<!-- results: written by docs/generate.py from benchmarks/results -->\n",
    "<!-- end of results -->",
)
SETS = {
    "copy": "edited copies, and pictures that are not there",
    "places": "other views of a place",
    "fruits360": "the same fruit from another side",
    "grocery": "other photos of a product",
    "clothing": "clothes of the same kind",
    "stamps": "drawings of the same kind",
    "exif_orientation": "the same photo, turned by its EXIF tag",
}
IN_README = ("copy", "places", "grocery")
RANKINGS = {"matches": "score", "evidence": "evidence"}


def read(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return document


def by_set() -> list[dict[str, Any]]:
    rows = {row["set"]: row for row in read("evidence")["rows"]}
    return [rows[name] for name in SETS if name in rows]


def readme_results() -> str:
    """The table of methods in the README: measured, not written."""
    lines = [
        "",
        "| method | asked for | mAP | first hit right | found, at 99 % precision | ms per query |",
        "|---|---|---|---|---|---|",
    ]
    for row in by_set():
        for answer in row["answers"]:
            if row["set"] not in IN_README or (answer["ranking"] == "matches") != (answer["method"] != "auto"):
                continue
            bold = "**" if answer["method"] == "auto" else ""
            name = "all together" if answer["method"] == "auto" else f"`{answer['method']}` by score"
            lines.append(
                f"| {bold}{name}{bold} | {SETS[row['set']]}, among {row['images']} | {bold}{answer['mAP']:.3f}{bold} | "
                f"{answer['R@1']:.3f} | {answer['recall_at_99']:.3f} | {answer['query_ms_median']['total']:.0f} |"
            )
    machine, indexing = read("evidence")["measured_on"], read("retrieval")["rows"]
    speeds = {row["method"]: row for row in indexing if row["set"] == "copy"}
    each = ", ".join(
        f"{row['images_indexed_per_second']:.0f} a second and {row['feature_bytes_per_image'] / 1000:.0f} kB each with `{name}`"
        for name, row in sorted(speeds.items())
    )
    lines += [
        "",
        f"Measured by `make bench` on {machine['cores']} cores ({machine['processor']}), without a GPU; "
        f"[all sets and rankings](docs/concepts/results.md). Pictures are indexed at {each}.",
        "",
    ]
    return "\n".join(lines)


def readme(text: str) -> str:
    """The README with the present table in it."""
    head, rest = text.split(BEGIN)
    return head + BEGIN + readme_results() + END + rest.split(END)[1]


def results() -> str:
    """Every set, every method, every ranking."""
    machine = read("evidence")["measured_on"]
    lines = [
        "# Results\n",
        f"Written by `make bench` and `make docs`; measured on {machine['cores']} cores ({machine['processor']}), without a GPU. "
        "The times compare with one another only. Every stored image was scored. See also: [speed](speed.md), [sizes](sizing.md), "
        "[against peers](peers.md).\n",
        "* **score**: the plain order of the method (`ranking=matches`); **evidence**: [by E-value](evidence.md); **auto**: all "
        "methods together.",
        "* **micro-AP**: average precision of one ranking of all hits of all queries; **recall at 99 %**: part of the right "
        "answers above the threshold that keeps precision at 99 %; **recall as match**: part of them called a match.",
        "* **false alarms**: queries without any right answer that got a match.\n",
        "| set | asked for | method, order | mAP | R@1 | micro-AP | recall at 99 % | recall as match | false alarms | ms per query |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in by_set():
        for answer in row["answers"]:
            auto = answer["method"] == "auto"
            name = "**auto**" if auto else f"`{answer['method']}`, {RANKINGS[answer['ranking']]}"
            alarms = f"{answer['false_alarms']} of {row['unanswerable']}" if row["unanswerable"] else "-"
            figures = [
                f"{answer[key]:.3f}" for key in ("mAP", "R@1", "micro_AP", "recall_at_99", "recall_as_matches")
            ]
            lines.append(
                f"| `{row['set']}` ({row['images']}) | {SETS[row['set']]} | {name} | {' | '.join(figures)} | {alarms} | "
                f"{answer['query_ms_median']['total']:.0f} |"
            )
    lines += [
        "\n## Do E-values tell the truth?\n",
        "Wrong hits per query with an E-value up to the one promised: about that number, if E-values are right; fewer, where they "
        "are cautious. Counted on the queries of `copy` that nothing matches, and, for the other sets, on all queries without "
        "their right answers.\n",
        "| set | method, order | up to 1 | up to 0.1 | up to 0.01 |",
        "|---|---|---|---|---|",
    ]
    for row in by_set():
        for answer in row["answers"]:
            name = (
                "**auto**"
                if answer["method"] == "auto"
                else f"`{answer['method']}`, {RANKINGS[answer['ranking']]}"
            )
            wrong = " | ".join(f"{answer['wrong_per_query'][e]:.3f}" for e in ("1", "0.1", "0.01"))
            lines.append(f"| `{row['set']}` | {name} | {wrong} |")
    lines += [
        "\n## What are hits called?\n",
        "The best right hit of each query, asked with all methods: of `copy` by what was done to the picture, of the other sets at "
        "once. *Not found*: it had the decision `none`.\n",
        *relations(by_set()),
    ]
    lines += [
        "\n## Time by stage\n",
        "Medians in milliseconds for all methods together; learning is done once per collection.\n",
        "| set | images | decode | extract | match | verify | judge | total | indexing, s | learning, s |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in by_set():
        ms = row["answers"][-1]["query_ms_median"]
        stages = " | ".join(
            f"{ms[stage]:.0f}" for stage in ("decode", "extract", "match", "verify", "judge", "total")
        )
        lines.append(
            f"| `{row['set']}` | {row['images']} | {stages} | {row['seconds_to_index']:.1f} | {row['seconds_to_learn']:.1f} |"
        )
    return "\n".join(lines) + "\n"


STAGES_BEGIN = "<!-- measured: written by docs/generate.py from benchmarks/results -->\n"
STAGES_END = "<!-- end of measured -->"


def with_tables(text: str, tables: str) -> str:
    """A page with the present tables between its two marks."""
    head, rest = text.split(STAGES_BEGIN)
    return head + STAGES_BEGIN + tables + STAGES_END + rest.split(STAGES_END)[1]


def scale(text: str) -> str:
    """The page on large collections with the present tables in it."""
    return with_tables(text, stages())


def service(text: str) -> str:
    """The page on how the service is built with the present table in it."""
    return with_tables(text, under_load())


def under_load() -> str:
    """What HTTP costs, and what becomes of many requests."""
    answer = read("service")
    alone, crowd, many = answer["alone"], answer["crowd"], answer["many"]
    memory = many["resident_mb"]
    rows = {
        "one client: over HTTP, in process, ms per query": f"{alone['http_ms']:.1f}, {alone['in_process_ms']:.1f}",
        "share of the HTTP layer (median of pairs)": f"{alone['share_of_http_layer']:.1%}".replace("%", " %"),
        f"{crowd['clients']} clients: requests, answered, wrong": f"{crowd['requests']}, {crowd['answered']}, {crowd['wrong']}",
        "told `busy`, and asked again": f"{crowd['turned_away_and_asked_again']}",
        "answered otherwise": f"{crowd['other']}",
        "queries per second, and against one after the other in process": f"{crowd['per_second']:.2f}, {crowd['against_in_process']:.2f} times",
        "seconds to the answer: half of them, 99 %": f"{crowd['p50_s']:.1f}, {crowd['p99_s']:.1f}",
        "many small requests: sent, answered, wrong": f"{many['requests']}, {many['answered']}, {many['wrong']}",
        "requests per second": f"{many['per_second']:.1f}",
        "resident memory: before, after a tenth, at the end, MB": f"{memory[0]}, {memory[1]}, {memory[-1]}",
        "exit status after SIGTERM": f"{answer['exit_status']}",
    }
    return "\n".join(
        [
            "",
            f"{measured_on('service')}. {answer['images']} pictures, SIFT, exact, `POST /sift-similar-images`; every answer was "
            "compared with that of the library, asked one after the other.\n",
            "| | |",
            "|---|---|",
            *(f"| {name} | {value} |" for name, value in rows.items()),
            "\n",
        ]
    )


def stages() -> str:
    """What the two stages give and cost."""
    answer = read("stages")
    lines = [""]
    if rows := answer.get("local"):
        lines += [
            "**sift**; times of the plain order, without reading and extraction.\n",
            "| | " + " | ".join(f"{spaced(row['images'])} images" for row in rows) + " |",
            "|---|" + "---|" * len(rows),
        ]
        groups = ("all", "three right answers", "one right answer")
        table: list[tuple[str, list[str]]] = [
            ("descriptors per image", [f"{row['descriptors_per_image']:.0f}" for row in rows]),
            (
                "fast, p50 / p95, ms",
                [f"{row['fast_ms']['p50']:.0f} / {row['fast_ms']['p95']:.0f}" for row in rows],
            ),
            (
                "exact, p50 / p95, ms",
                [f"{row['exact_ms']['p50']:.0f} / {row['exact_ms']['p95']:.0f}" for row in rows],
            ),
            (
                "times as fast, median (least to greatest)",
                [
                    f"{row['times_as_fast']['median']:.0f} ({row['times_as_fast']['min']:.0f} to "
                    f"{row['times_as_fast']['max']:.0f})"
                    for row in rows
                ],
            ),
            *(
                (
                    f"by matches, {group}: right answers kept / the same first / the same three, of queries",
                    [
                        f"{a['right_kept']} / {a['same_first']} / {a['same_three']} of {row['answers'][group]['queries']}"
                        for row in rows
                        for a in (row["answers"][group]["matches"],)
                    ],
                )
                for group in groups
            ),
            (
                "by matches, where the exact three are all right: the same three",
                [
                    f"{a['same_three_of_those']} of {a['exact_three_all_right']}"
                    for a in (row["answers"]["all"]["matches"] for row in rows)
                ],
            ),
            (
                "by matches: right answers in the three, fast / exact",
                [
                    f"{a['right_in_fast']} / {a['right_in_exact']}"
                    for a in (row["answers"]["all"]["matches"] for row in rows)
                ],
            ),
            (
                "by evidence: all that exact finds is found / the same is found, of queries",
                [
                    f"{a['found_kept']} / {a['same_found']} of {row['answers']['all']['queries']}"
                    for row in rows
                    for a in (row["answers"]["all"]["evidence"],)
                ],
            ),
            (
                "by evidence: right answers found, fast / exact",
                [
                    f"{a['right_in_fast']} / {a['right_in_exact']}"
                    for a in (row["answers"]["all"]["evidence"] for row in rows)
                ],
            ),
            (
                "by evidence: other images found, fast / exact",
                [
                    f"{a['found_by_fast'] - a['right_in_fast']} / {a['found_by_exact'] - a['right_in_exact']}"
                    for a in (row["answers"]["all"]["evidence"] for row in rows)
                ],
            ),
            (
                "processor time of one query, all threads, fast / exact, ms",
                [f"{row['processor_ms']['fast']:.0f} / {row['processor_ms']['exact']:.0f}" for row in rows],
            ),
            (
                "resident at most while asking, MB",
                [f"{(row['resident_peak_bytes'] or 0) / 1e6:.0f}" for row in rows],
            ),
            ("index, bytes per image", [f"{row['index_bytes_per_image']}" for row in rows]),
            ("features, bytes per image", [f"{row['feature_bytes'] / row['images']:.0f}" for row in rows]),
            (
                "indexed, images in seconds",
                [f"{row['images_indexed']} in {row['seconds_to_index']:.0f}" for row in rows],
            ),
            ("resident at most while indexing, MB", [f"{row['indexing_peak_bytes'] / 1e6:.0f}" for row in rows]),
            (
                "load of the machine while indexing / asking",
                [f"{row['load_while_indexing']} / {row['load_while_asking']}" for row in rows],
            ),
        ]
        lines += [f"| {name} | {' | '.join(values)} |" for name, values in table]
        if len(rows) > 1:
            growth = rows[-1]["fast_ms"]["p50"] / rows[0]["fast_ms"]["p50"]
            lines += ["", f"From the smallest to the largest the median grew {growth:.1f} times."]
    if rows := answer.get("agreement"):
        lines += [
            "",
            f"**Do both modes say the same?** {rows[0]['queries']} queries by evidence; of the three best those whose decision is:",
            "",
            "| images | decision | the same, of queries | but for their order | all that exact has | right, fast / exact | others, fast / exact |",
            "|---|---|---|---|---|---|---|",
            *(
                f"| {spaced(row['images'])} | {level} | {a['same']} of {row['queries']} | {a['same_but_for_order']} | {a['kept']} | "
                f"{a['right_in_fast']} / {a['right_in_exact']} | "
                f"{a['fast'] - a['right_in_fast']} / {a['exact'] - a['right_in_exact']} |"
                for row in rows
                for level, a in row["answers"].items()
            ),
        ]
    if row := answer.get("global"):
        lines += [
            "",
            f"**Global vectors**, {spaced(row['images'])} x 2048: recall of the exact ten best {row['recall_at_10']:.3f}, the same first {row['same_first']} of "
            f"{row['queries']}; p50 {row['fast_ms']['p50']:.1f} ms, p95 {row['fast_ms']['p95']:.1f} ms; resident at most "
            f"{(row['resident_peak_bytes'] or 0) / 1e6:.0f} MB; {row['index_bytes_per_image']} bytes per image; indexed in "
            f"{row['seconds_to_index']:.0f} s; load {row['load_while_asking']}.",
        ]
    if (row := answer.get("faiss")) and row["faiss"]:
        lines += [
            "",
            f"**faiss beside it**, {spaced(row['images'])} x 2048, the same vectors and queries, 64 candidates scored exactly by everybody (faiss holds its index in memory):",
            "",
            "| index | effort | recall@10 | p50 / p95, ms | bytes per image | resident at most, MB | made in, s |",
            "|---|---|---|---|---|---|---|",
            f"| ours | 48 cells | {row['recall_at_10']:.3f} | {row['fast_ms']['p50']:.1f} / {row['fast_ms']['p95']:.1f} | "
            f"{row['index_bytes_per_image']} | {(row['resident_peak_bytes'] or 0) / 1e6:.0f} | "
            f"{row['seconds_to_index']:.0f} |",
            *(
                f"| faiss `{peer['index']}` | {one['effort']} | {one['recall_at_10']:.3f} | {one['fast_ms']['p50']:.1f} / "
                f"{one['fast_ms']['p95']:.1f} | {peer['index_bytes_per_image']} | "
                f"{(peer['resident_peak_bytes'] or 0) / 1e6:.0f} | {peer['seconds_to_index']:.0f} |"
                for peer in row["faiss"]
                for one in peer["by_effort"]
            ),
        ]
    for part, machine in answer.get("parts_measured_on", {}).items():
        lines += ["", f"`{part}`: {conditions(machine)}."]
    if "parts_measured_on" not in answer:
        lines += ["", f"{measured_on('stages')}, shared with other work."]
    return "\n".join([*lines, ""])


def relations(rows: list[dict[str, Any]]) -> list[str]:
    names = ["identical", "edited copy", "part of", "contains", "same scene", "similar", "not found"]
    lines = [f"| set | query | queries | {' | '.join(names)} |", "|---|---|---|" + "---|" * len(names)]
    for row in rows:
        kinds: dict[str, Counter[str]] = {}
        for kind in row["answers"][-1]["kinds"]:
            edit = "two edits" if " + " in kind["edit"] else kind["edit"]
            kinds.setdefault(edit, Counter()).update({**kind["relations"], "queries": kind["queries"]})
        for edit, found in kinds.items():
            counts = " | ".join(str(found[name] or "") for name in names)
            lines.append(f"| `{row['set']}` | {edit} | {found['queries']} | {counts} |")
    return lines


def measured_on(name: str) -> str:
    return conditions(read(name)["measured_on"])


def conditions(machine: dict[str, Any]) -> str:
    """Where, during what, and by which command."""
    text = f"Measured on {machine['cores']} cores ({machine['processor']}), without a GPU"
    load, others = machine.get("load_average"), machine.get("cores_busy_for_others")
    if others is not None:
        text += f", of which other work took {others:.2f} on average"
    elif load and load > 1.5 * machine["cores"]:
        text += f", while other work ran on it (load {load:.1f})"
    return text + (f"; `{machine['command']}`" if "command" in machine else "")


def span(values: dict[str, float], digits: int = 0) -> str:
    """Median, and least to greatest."""
    return f"{values['median']:.{digits}f} ({values['min']:.{digits}f} to {values['max']:.{digits}f})"


def spaced(count: int) -> str:
    """A whole number, its thousands apart."""
    return f"{count:,}".replace(",", " ")


def size(count: float) -> str:
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count / 1e3:.3g} kB"


SAID_OF_PEERS = {
    "original algorithm": "* The original algorithm and `sift` give the same counts for the same descriptors; the time is what differs.",
    "OpenCV BFMatcher": "* OpenCV's matcher takes the nearest by distance instead of by product, nearly the same for SIFT.",
    "faiss flat": "* faiss ranks our own vectors: its accuracy is that of `efficientnet-lite0`, and both spend nearly all of a query on "
    "the network.",
    "ImageHash phash": "* Perceptual hashes are the cheapest to make and to compare, and find what keeps its layout; a crop, a turn or "
    "another view is beyond them. Where only re-encoded or resized copies matter they are the better bargain.",
    "imagefinder auto": "* `auto` asks all methods and looks at the best candidates again: it costs more per query than any of them.",
}
"""Shown where the peer was measured."""


def peers() -> str:
    """Other packages on the same pictures."""
    document = read("peers")
    packages = ", ".join(f"{name} {version}" for name, version in document["packages"].items())
    lines = [
        "# Against peers\n",
        f"Written by `make bench-peers` and `make docs`. {measured_on('peers')}. {packages}.\n",
        "Everybody gets the same files, the same queries (a part of each set, evenly spaced), and a process of its own. Every "
        "image is ranked. A query's time includes reading and decoding its file. What is ours is stored durably, with thumbnails; "
        "the others keep what they have in memory, except the original algorithm. How each is used: "
        "[`benchmarks/peers.py`](../../benchmarks/peers.py).\n",
    ]
    for name, asked in SETS.items():
        rows = [row for row in document["rows"] if row["set"] == name]
        if not rows:
            continue
        lines += [
            f"## {asked.capitalize()}\n",
            f"`{name}`: {rows[0]['images']} images; the best first.\n",
            "| who | queries | mAP | first hit right | ms per query | ms per indexed image |",
            "|---|---|---|---|---|---|",
        ]
        for row in sorted(rows, key=lambda row: -row["mAP"]):
            bold = "**" if row["peer"].startswith("imagefinder") else ""
            lines.append(
                f"| {bold}{row['peer']}{bold} | {row['queries']} | {row['mAP']:.3f} | {row['R@1']:.3f} | {span(row['ms_per_query'])} | "
                f"{row['ms_per_indexed_image']:.0f} |"
            )
        lines.append("")
    lines += ["## Not run\n", *(f"* **{name}**: {why}." for name, why in document["not_run"].items())]
    lines += [
        "\n## What the figures say\n",
        *(text for peer, text in SAID_OF_PEERS.items() if any(row["peer"] == peer for row in document["rows"])),
    ]
    return "\n".join(lines) + "\n"


def sizing() -> str:
    """Disk and memory by method and number of images."""
    document = read("sizing")
    lines = [
        "# How large will it be?\n",
        "Written by `make bench` and `make docs`, from collections really made on disk; *computed* sizes lie on the straight line "
        "through the measured ones. One method each; for several, add their features.\n",
        f"* Of each picture {document['thumbnail_bytes'] / 1000:.1f} kB are its thumbnail. `sift` has "
        f"{document['descriptors']['sift']} descriptors per picture here, the mean on photographs of 500 pixels; up to "
        "1 000 by default (`sift_max_keypoints`).",
        "* **Memory** is what a process holds to answer without reading from disk, beside about "
        f"{size(max(row['base_bytes'] for m in document['methods'].values() for row in m['measured']))} for the program, and a loaded network's "
        "weights. The setting `cache_bytes` (4 GiB) is the bound: what is over it is read from disk for each query.\n",
        "| method | images | on disk | in memory | |",
        "|---|---|---|---|---|",
    ]
    for name, method in document["methods"].items():
        for count, row in method["published"].items():
            lines.append(
                f"| `{name}` | {spaced(int(count))} | {size(row['disk_bytes'])} | {size(row['memory_bytes'])} | {row['how']} |"
            )
    lines += [
        "\n## Per image\n",
        "| method | features | on disk, all | in memory | measured up to |",
        "|---|---|---|---|---|",
    ]
    for name, method in document["methods"].items():
        lines.append(
            f"| `{name}` | {size(method['feature_bytes_per_image'])} | {size(method['disk_bytes_per_image'])} | "
            f"{size(method['memory_bytes_per_image'])} | {method['measured'][-1]['images']} images |"
        )
    return "\n".join(lines) + "\n"


def speed() -> str:
    """Networks, indexing, latency."""
    document = read("inference")
    lines = [
        "# Speed of networks, of indexing, and of the first query\n",
        "Written by `make bench` and `make docs`. Medians, least and greatest in brackets; only the ratios compare machines.\n",
        "## Providers and precisions\n",
        f"{measured_on('inference')}. ResNet-50 and BEiT have seeded weights here, EfficientNet-Lite0 its real ones. "
        "What each setting means, and why float32 on the processor is the default: "
        "[decision 9](../decisions/0009-precision-and-providers.md).\n",
        "| network | provider, precision | batch | ms per image | times as fast as f32 on the processor |",
        "|---|---|---|---|---|",
    ]
    for name, network in document["networks"].items():
        for batch, runs in sorted(network["milliseconds_per_image"].items(), key=lambda item: int(item[0])):
            for run, values in runs.items():
                ratio = network["times_as_fast_as_f32"][batch].get(run)
                lines.append(
                    f"| `{name}` | {run} | {batch} | {span(values)} | {span(ratio, 1) if ratio else '1'} |"
                )
    lines += [
        "\n## What a precision costs\n",
        "Cosine of features to those of float32, least and median of 16 pictures (of all their tokens for BEiT).\n",
        "| network | provider, precision | cosine, least | cosine, median | matches found by both | change of a count, median, greatest |",
        "|---|---|---|---|---|---|",
    ]
    for name, network in document["networks"].items():
        for run, near in network["near"].items():
            cosine, agreement = near["cosine_to_f32"], near.get("mutual_nn_agreement")
            matches = (
                f"{100 * agreement['matches_in_both']:.1f} % | {100 * agreement['change_of_a_count']['median']:.1f} %, "
                f"{100 * agreement['change_of_a_count']['max']:.1f} %"
                if agreement
                else "- | -"
            )
            lines.append(f"| `{name}` | {run} | {cosine['min']:.5f} | {cosine['median']:.5f} | {matches} |")
    lines += [
        "\nRetrieval with EfficientNet-Lite0 by cosine, every query that has an answer:\n",
        "| set | queries | provider, precision | mAP | R@1 |",
        "|---|---|---|---|---|",
        *(
            f"| `{row['set']}` | {row['queries']} | {row['run']} | {row['mAP']:.4f} | {row['R@1']:.4f} |"
            for row in document["retrieval"]
        ),
        *int8_tokens(document),
        "\n## The extractor against the bare network\n",
        "Our extractor resizes, normalises and runs; the bare network only runs, on batches of 16 made beforehand.\n",
        "| network | bare, images per second | extractor | % of bare | one thread, ms per image | two threads |",
        "|---|---|---|---|---|---|",
    ]
    for name, network in document["networks"].items():
        bare = network["bare"]
        threads = " | ".join(
            span(network["threads"].get(count, {"median": 0, "min": 0, "max": 0})) for count in "12"
        )
        lines.append(
            f"| `{name}` | {span(bare['images_per_second']['bare'], 1)} | {span(bare['images_per_second']['extractor'], 1)} | "
            f"{span(bare['percent_of_bare'])} | {threads} |"
        )
    lines += [
        "\nBEiT and ResNet-50 keep up with the bare network; EfficientNet-Lite0 takes so little time that making its inputs is a sixth of it "
        "([decision 9](../decisions/0009-precision-and-providers.md)).",
        *indexing(),
        *latency(),
    ]
    return "\n".join(lines) + "\n"


def int8_tokens(document: dict[str, Any]) -> list[str]:
    kernel = read("mutual_nn")["beit"]
    lines = [
        "\n## Tokens in int8\n",
        "The setting `tokens=int8` keeps 152 kB of tokens of an image instead of 605 kB. One comparison with 100 images takes "
        f"1/{kernel['int8_times_as_fast_as_float32']['median']:.1f} of the time "
        f"({1000 * kernel['seconds_per_query']['imagefinder, int8 tokens']['median']:.1f} ms instead of "
        f"{1000 * kernel['seconds_per_query']['imagefinder']['median']:.1f}; `python -m benchmarks mutual_nn`). Matches between "
        f"{document['networks']['beit']['pictures']} pictures, against those of float32:\n",
        "| tokens | matches found by both | change of a count, median, greatest | the picture with the most matches is the same |",
        "|---|---|---|---|",
    ]
    for name, row in document["int8_tokens"].items():
        if name == "commit":
            continue
        change = row["change_of_a_count"]
        lines.append(
            f"| {name} | {100 * row['matches_in_both']:.1f} % | {100 * change['median']:.1f} %, "
            f"{100 * change['max']:.1f} % | {row['same_best_picture']} of {document['networks']['beit']['pictures']} |"
        )
    return lines


def indexing() -> list[str]:
    document = read("indexing")
    lines = [
        "\n## Indexing\n",
        f"{measured_on('indexing')}; {document['pictures']} pictures of `copy`, each under so many names that the extractor is busy for "
        "20 s; ResNet-50 and BEiT with seeded weights. `add` against the bare extractor over decoded pictures, "
        "and against a loop that reads, decodes and extracts with the same threads and stores nothing. Processor time says what "
        "is done, whoever else uses the machine.\n",
        "| method | pictures | add, s | over the loop | over the extractor | over the loop, processor time | over the extractor, processor time | peak memory, once | five times as many pictures |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, method in document["methods"].items():
        over = method["add_over"]
        peaks = document["memory"].get(name)
        lines.append(
            f"| `{name}` | {document['pictures'] * method['times']} | {span(method['seconds']['add'], 1)} | {span(over['decode + extract']['seconds'], 2)} | "
            f"{span(over['extract']['seconds'], 2)} | {span(over['decode + extract']['processor_seconds'], 2)} | "
            f"{span(over['extract']['processor_seconds'], 2)} | "
            + (f"{size(peaks['once'])} | {size(peaks['5 times'])} |" if peaks else "- | - |")
        )
    lines += [
        "\nProcessor milliseconds per picture of each step by itself:\n",
        "| method | read and decode | thumbnail | extract |",
        "|---|---|---|---|",
    ]
    for name, method in document["methods"].items():
        parts = method["parts"]
        lines.append(
            f"| `{name}` | {parts['read and decode']:.1f} | {parts['thumbnail']:.1f} | {parts['extract']:.1f} |"
        )
    lines.append(
        "\nWhat is not extracting (reading, decoding, the thumbnail, hashes, storing) takes about 3 ms of processor time per picture, whatever "
        "the method; one that is done in 14 ms shows it ([decision 10](../decisions/0010-decoding-in-workers.md))."
    )
    return lines


def latency() -> list[str]:
    document = read("latency")
    lines = [
        "\n## The first query, and those after it\n",
        f"{measured_on('latency')}. *Cold*: from the start of a fresh process to its first answer, files in the system's cache; "
        "*warm*: the next five. Milliseconds.\n",
        "| set | method, order | cold | of it start | open | query | warm |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in document["rows"]:
        cold = row["cold_ms"]
        name = "**auto**" if row["method"] == "auto" else f"`{row['method']}`, {RANKINGS[row['ranking']]}"
        parts = " | ".join(f"{cold[key]['median']:.0f}" for key in ("start", "open", "query"))
        lines.append(
            f"| `{row['set']}` ({row['images']}) | {name} | {span(cold['total'])} | {parts} | {span(row['warm_ms'])} |"
        )
    stages = ("decode", "extract", "match", "verify", "judge", "total")
    lines += [
        "\nBy stage, medians, cold and warm:\n",
        f"| set | method, order | | {' | '.join(stages)} |",
        "|---|---|---|" + "---|" * len(stages),
    ]
    for row in document["rows"]:
        name = "**auto**" if row["method"] == "auto" else f"`{row['method']}`, {RANKINGS[row['ranking']]}"
        for kind in ("cold", "warm"):
            times = " | ".join(f"{row[f'{kind}_stages_ms'].get(stage, 0):.0f}" for stage in stages)
            lines.append(f"| `{row['set']}` | {name} | {kind} | {times} |")
    return lines


CONCEPTS = {"peers.md": peers, "sizing.md": sizing, "speed.md": speed}
PAGES = {"settings.md": settings, "models.md": models, "errors.md": error_codes, "problems.md": problems}

if __name__ == "__main__":
    REFERENCE.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(NOTE + page(), encoding="utf-8")
    for name, page in CONCEPTS.items():
        (REFERENCE.parent / "concepts" / name).write_text(NOTE + page(), encoding="utf-8")
    (REFERENCE.parent / "concepts" / "results.md").write_text(NOTE + results(), encoding="utf-8")
    for name, fill in {"scale.md": scale, "service.md": service}.items():
        page = REFERENCE.parent / "concepts" / name
        page.write_text(fill(page.read_text(encoding="utf-8")), encoding="utf-8")
    README.write_text(readme(README.read_text(encoding="utf-8")), encoding="utf-8")
