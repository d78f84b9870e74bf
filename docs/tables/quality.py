"""How often answers are right: of every method, and of other packages."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tables.measured import RANKINGS, SETS, measured_on, read, span

IN_README = ("copy", "places", "grocery")
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
        "Medians in milliseconds for all methods together; calibrating is done once per collection.\n",
        "| set | images | decode | extract | match | verify | decide | total | indexing, s | calibrating, s |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in by_set():
        ms = row["answers"][-1]["query_ms_median"]
        stages = " | ".join(
            f"{ms[stage]:.0f}" for stage in ("decode", "extract", "match", "verify", "decide", "total")
        )
        lines.append(
            f"| `{row['set']}` | {row['images']} | {stages} | {row['seconds_to_index']:.1f} | {row['seconds_to_calibrate']:.1f} |"
        )
    return "\n".join(lines) + "\n"


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
