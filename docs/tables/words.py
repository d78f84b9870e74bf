"""The table of searches with words: what the names of kinds of clothing find, and the cost of a search."""

from __future__ import annotations

from tables.measured import measured_on, read, spaced


def clothing() -> str:
    """Generate the table of words and what they found."""
    document = read("word_search")
    accuracy, cost = document["accuracy"], document["cost"]
    lines = [
        f"{measured_on('word_search')}.\n",
        f"The {accuracy['images']} images of the set `clothing`, of ten kinds. AP: average precision of the ranking of all "
        "images; by chance it is 0.10.\n",
        "| word | classes searched for | AP | right among the first 5 | shown | of these right | of |",
        "|---|---|---|---|---|---|---|",
    ]
    for word, found in accuracy["words"].items():
        if found is None:
            lines.append(f"| {word} | *unknown* | | | | | |")
            continue
        counts = f"{found['shown']} | {found['right']} | {found['of']}"
        lines.append(
            f"| {word} | {', '.join(found['classes'])} | {found['ap']:.2f} | {found['p5'] * 5:.0f} | {counts} |"
        )
    cpu = cost["next_cpu_seconds"]
    lines += [
        "",
        f"Mean AP of the known words: {accuracy['mean_ap']:.2f}. {accuracy['falsely_shown']:.0%} of all "
        f"{document['words']:,} words are above the threshold for some of these images.\n",
        f"A search of {spaced(cost['images'])} images takes {cost['first_cpu_seconds']:.1f} s of processor time after the "
        f"collection was opened, and then {cpu['median']:.1f} s ({cpu['min']:.1f} to {cpu['max']:.1f}, by the number of classes), "
        f"while the cache of features (setting `cache_bytes`) holds the vectors: {cost['memory_mb']} MB. On this machine, with "
        f"its other work, that was {cost['first_seconds']:.0f} s and {cost['next_seconds']['median']:.1f} s.",
    ]
    return "\n".join(lines) + "\n"
