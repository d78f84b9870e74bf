"""Candidates that vectors in PostgreSQL propose."""

from __future__ import annotations

from typing import Any

from tables.measured import conditions, read, spaced

_WAYS = {"exact": "vectors, compared one by one", "graph": "vectors, HNSW graph"}
_METHODS = {"sift": "`sift` alone", "union": "`sift` and `efficientnet-lite0`"}


def candidates() -> str:
    """Generate the right answers among the candidates, their cost, and the gate."""
    answer = read("aggregate")
    lines: list[str] = []
    if row := answer.get("served"):
        lines += _served(row)
    if row := answer.get("million"):
        lines += _million(row)
    measured = [
        f"`{part}`: {conditions(machine)}."
        for part, machine in sorted(answer.get("parts_measured_on", {}).items())
        if part in answer
    ]
    return "\n".join(["", *lines, "", "\n\n".join(measured), ""])


def _served(answer: dict[str, Any]) -> list[str]:
    embedded, served = answer["embedded"], answer["served"]
    rows = [(f"embedded indexes, {_METHODS[name]}", embedded[name]) for name in _METHODS]
    rows += [(f"{_WAYS[way]}, {_METHODS[name]}", served["found"][way][name]) for way in _WAYS for name in _METHODS]
    sets = list(rows[0][1]["right"])
    possible = rows[0][1]["possible"]
    relative, smallest = answer["gate"]["relative"], answer["gate"]["smallest"]
    sizes = [
        f"{_METHODS[name]} without graph {served['vectors'][name]['bytes_per_image']} bytes per image, with it "
        f"{served['graphs'][name]['bytes_per_image']}"
        for name in ("sift",)
    ]
    return [
        f"{spaced(answer['images'])} images:",
        "",
        "| | "
        + " | ".join(f"{name} ({possible[name]})" for name in sets)
        + " | proposed per query | CPU ms per query |",
        "|---|" + "---|" * (len(sets) + 2),
        *(
            f"| {label} | "
            + " | ".join(str(row["right"][name]) for name in sets)
            + f" | {row['proposed']:.0f} | {row['cpu_ms']:.0f} |"
            for label, row in rows
        ),
        "",
        "CPU time is that of the process that searches, without the database server.",
        "",
        "Right answers relative to the embedded index of `sift` alone (goal: 0.97):",
        "",
        "| | all queries | edited copies | least of one set |",
        "|---|---|---|---|",
        *(
            f"| {_METHODS[key.split(', ')[0]]}, {_WAYS[key.split(', ')[1]]} | {value:.3f} | {relative['copies'][key]:.3f} "
            f"| {smallest[key][0]:.3f} ({smallest[key][1]}) |"
            for key, value in relative["all"].items()
        ),
        "",
        f"Table of vectors: {'; '.join(sizes)}.",
    ]


def _million(answer: dict[str, Any]) -> list[str]:
    counts = {size: answer["right_among_first"][size] for size in sorted(answer["right_among_first"], key=int)}
    firsts = sorted(next(iter(counts.values())), key=int)
    return [
        "",
        f"**Synthetic distractors**, exact comparison: share of {answer['queries']} queries with one right answer that "
        "find it among the first",
        "",
        "| images | " + " | ".join(firsts) + " |",
        "|---|" + "---|" * len(firsts),
        *(
            f"| {spaced(int(size))} | " + " | ".join(f"{row[k]:.3f}" for k in firsts) + " |"
            for size, row in counts.items()
        ),
    ]
