"""The table of relations of labelled pairs: copies, other shots, other documents."""

from __future__ import annotations

from collections import Counter

from tables.measured import measured_on, read

RELATIONS = ["identical", "edited copy", "part of", "contains", "same scene", "same layout", "none"]
LABELS = {
    "identical": "identical",
    "edited": "edited copies",
    "near_shot": "other shots of one thing",
    "same_layout": "other content in one layout",
    "different": "unrelated",
}
CHAIN = "two to four edits together"


def confusion() -> str:
    """Generate the table of kinds of pairs and the relations that they got."""
    document = read("copies")
    kinds: dict[str, dict[str, Counter[str]]] = {label: {} for label in LABELS}
    for name, counts in document["compare"].items():
        label, kind = name.split(": ", 1)
        kind = CHAIN if "+" in kind else kind.removeprefix("groc:").removeprefix("places:")
        kinds[label].setdefault(kind, Counter()).update(counts)
    pairs = sum(sum(counts.values()) for counts in document["compare"].values())
    seconds = document["cpu_seconds_per_check"]
    lines = [
        f"{measured_on('copies')}.\n",
        f"{pairs} labelled pairs. **Bold**: all of a label. *None*: the evidence is too weak for any relation.\n",
        "| pairs | number | " + " | ".join(RELATIONS) + " |",
        "|---|---|" + "---|" * len(RELATIONS),
    ]
    for label, title in LABELS.items():
        lines.append(_row(f"**{title}**", sum(kinds[label].values(), Counter())))
        lines += [_row(kind, counts) for kind, counts in sorted(kinds[label].items()) if len(kinds[label]) > 1]
    lines += [
        "",
        "The same pairs as duplicates, each in a collection of its own with `sift`; *proposed*: one file is spare.\n",
        "| pairs | number | " + " | ".join([*RELATIONS, "proposed"]) + " |",
        "|---|---|" + "---|" * (len(RELATIONS) + 1),
    ]
    for label, title in LABELS.items():
        counts = Counter(document["duplicates"][label])
        proposed = counts.pop("proposed", 0)
        lines.append(_row(title, counts) + f" {proposed or ''} |")
    lines += [
        "",
        f"{document['mirrored_answers']} of {pairs} pairs get the counterpart of their relation in the other order. The check takes",
        f"{seconds['photographs']} s of processor time for a pair of photographs, {seconds['documents']} s for documents (medians).",
    ]
    return "\n".join(lines) + "\n"


def _row(title: str, counts: Counter[str]) -> str:
    cells = " | ".join(str(counts[name] or "") for name in RELATIONS)
    return f"| {title} | {sum(counts.values())} | {cells} |"
