"""Performance of large collections, and of the service under load."""

from __future__ import annotations

from typing import Any

from imagefinder.ann.ivf_sq8 import SCORED
from tables.measured import conditions, measured_on, read, spaced

_GROUPS = {
    "all": "all queries",
    "three right answers": "queries with three correct answers",
    "one right answer": "queries with one correct answer",
}
"""Groups of queries in the results -> text."""


def stages() -> str:
    """Generate the accuracy and cost of two-stage search."""
    answer = read("stages")
    lines = [""]
    if rows := answer.get("local"):
        lines += [
            "**sift**; times of the ranking by matches, without decoding and extraction.\n",
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
                "default search (by evidence, with mirrored copies, fast), p50 / p95, ms",
                [f"{row['usual_ms']['p50']:.0f} / {row['usual_ms']['p95']:.0f}" for row in rows],
            ),
            (
                "exact, p50 / p95, ms",
                [f"{row['exact_ms']['p50']:.0f} / {row['exact_ms']['p95']:.0f}" for row in rows],
            ),
            (
                "speed-up, median (min to max)",
                [
                    f"{row['times_as_fast']['median']:.0f} ({row['times_as_fast']['min']:.0f} to "
                    f"{row['times_as_fast']['max']:.0f})"
                    for row in rows
                ],
            ),
            *(
                (
                    f"by matches, {_GROUPS[group]}: correct answers kept / same first hit / same top 3, of queries",
                    [
                        f"{a['right_kept']} / {a['same_first']} / {a['same_three']} of {row['answers'][group]['queries']}"
                        for row in rows
                        for a in (row["answers"][group]["matches"],)
                    ],
                )
                for group in groups
            ),
            (
                "by matches, if the exact top 3 are all correct: same top 3",
                [
                    f"{a['same_three_of_those']} of {a['exact_three_all_right']}"
                    for a in (row["answers"]["all"]["matches"] for row in rows)
                ],
            ),
            (
                "by matches: correct answers in the top 3, fast / exact",
                [
                    f"{a['right_in_fast']} / {a['right_in_exact']}"
                    for a in (row["answers"]["all"]["matches"] for row in rows)
                ],
            ),
            (
                "by evidence: all hits of exact found / same hits found, of queries",
                [
                    f"{a['found_kept']} / {a['same_found']} of {row['answers']['all']['queries']}"
                    for row in rows
                    for a in (row["answers"]["all"]["evidence"],)
                ],
            ),
            (
                "by evidence: correct answers found, fast / exact",
                [
                    f"{a['right_in_fast']} / {a['right_in_exact']}"
                    for a in (row["answers"]["all"]["evidence"] for row in rows)
                ],
            ),
            (
                "by evidence: wrong images found, fast / exact",
                [
                    f"{a['found_by_fast'] - a['right_in_fast']} / {a['found_by_exact'] - a['right_in_exact']}"
                    for a in (row["answers"]["all"]["evidence"] for row in rows)
                ],
            ),
            (
                "CPU time per query, all threads, fast / exact, ms",
                [f"{row['processor_ms']['fast']:.0f} / {row['processor_ms']['exact']:.0f}" for row in rows],
            ),
            (
                "peak memory while searching, MB",
                [f"{(row['resident_peak_bytes'] or 0) / 1e6:.0f}" for row in rows],
            ),
            ("index, bytes per image", [f"{row['index_bytes_per_image']}" for row in rows]),
            ("features, bytes per image", [f"{row['feature_bytes'] / row['images']:.0f}" for row in rows]),
            (
                "indexing: images in seconds",
                [f"{row['images_indexed']} in {row['seconds_to_index']:.0f}" for row in rows],
            ),
            ("peak memory while indexing, MB", [f"{row['indexing_peak_bytes'] / 1e6:.0f}" for row in rows]),
            (
                "machine load while indexing / searching",
                [f"{row['load_while_indexing']} / {row['load_while_asking']}" for row in rows],
            ),
        ]
        lines += [f"| {name} | {' | '.join(values)} |" for name, values in table]
        if len(rows) > 1:
            growth = rows[-1]["fast_ms"]["p50"] / rows[0]["fast_ms"]["p50"]
            lines += [
                "",
                f"From the smallest to the largest collection, the median grew by a factor of {growth:.1f}.",
            ]
    if rows := answer.get("agreement"):
        lines += [
            "",
            f"**Agreement of both modes**: {rows[0]['queries']} queries by evidence; those of the top 3 hits with the decision:",
            "",
            "| images | decision | same, of queries | same except order | all hits of exact | correct, fast / exact | wrong, fast / exact |",
            "|---|---|---|---|---|---|---|",
            *(
                f"| {spaced(row['images'])} | {level} | {a['same']} of {row['queries']} | {a['same_but_for_order']} | {a['kept']} | "
                f"{a['right_in_fast']} / {a['right_in_exact']} | "
                f"{a['fast'] - a['right_in_fast']} / {a['exact'] - a['right_in_exact']} |"
                for row in rows
                for level, a in row["answers"].items()
            ),
        ]
    measured = [line for name in ("stages", "words", "vectors") for line in parts_measured_on(name)]
    return "\n".join([*lines, *words(), *vectors(), *measured, ""])


def words() -> list[str]:
    """Generate the accuracy and cost of the index of local features, without the features."""
    rows = read("words")["local"]

    def gb(value: int) -> str:
        return f"{value / 1e9:.2f}"

    def times(row: dict[str, Any], name: str) -> str:
        return f"{row[name]['cpu_mean']:.0f}; {row[name]['p50']:.0f} / {row[name]['p95']:.0f}"

    table: list[tuple[str, list[str]]] = [
        ("words", [spaced(row["words"]) for row in rows]),
        ("segments", [f"{row['segments']}" for row in rows]),
        (
            "correct image among 64 candidates / first",
            [f"{r['right']} / {r['right_first']} of {r['queries']}" for r in rows],
        ),
        ("query, CPU ms; p50 / p95, ms", [times(row, "one_ms") for row in rows]),
        ("query and its mirror image, CPU ms; p50 / p95, ms", [times(row, "both_ms") for row in rows]),
        (
            "of these, words and codes of the query, CPU ms; p50 / p95, ms",
            [times(row, "words_of_both_ms") for row in rows],
        ),
        (
            "the same, nothing in the file cache, CPU ms; p50 / p95, ms",
            [times(row, "cold_both_ms") for row in rows],
        ),
        (
            "memory after these queries: anonymous, of files, GB",
            [f"{gb(r['memory']['anonymous'])}, {gb(r['memory']['files'])}" for r in rows],
        ),
        ("peak memory while searching, GB", [gb(row["search_peak_bytes"]) for row in rows]),
        ("file cache of the segments after these queries, GB", [gb(row["cached_bytes"]["after"]) for row in rows]),
        ("segments, GB", [gb(row["index_bytes"]) for row in rows]),
        ("model, GB", [gb(row["model_bytes"]) for row in rows]),
        ("opening with checksums, CPU s", [f"{row['open_seconds']['cpu']:.1f}" for row in rows]),
        (
            "training, CPU s; peak memory, GB",
            [f"{r['train_cpu_seconds']:.0f}; {gb(r['train_peak_bytes'])}" for r in rows],
        ),
        (
            "coding, CPU microseconds per descriptor",
            [f"{row['encode_cpu_microseconds_per_descriptor']:.1f}" for row in rows],
        ),
        (
            "merging segments, CPU s; peak memory, GB",
            [f"{r['merge_cpu_seconds']:.0f}; {gb(r['merge_peak_bytes'])}" for r in rows],
        ),
    ]
    return [
        "",
        f"**sift, the index alone**: {rows[0]['queries']} queries with one correct answer, {rows[0]['query_descriptors']:.0f} descriptors on average:",
        "",
        "| | " + " | ".join(f"{spaced(row['images'])} images" for row in rows) + " |",
        "|---|" + "---|" * len(rows),
        *(f"| {name} | {' | '.join(values)} |" for name, values in table),
    ]


def vectors() -> list[str]:
    """Generate the accuracy and cost of the index of global vectors."""
    answer = read("vectors")
    lines = [
        "",
        "**Global vectors**, top 10:",
        "",
        "| vectors | scanned | recall of the exact top 10 | same first, of queries | p50 / p95, ms | peak memory, MB | bytes per image | indexing, s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for part, what in (("made", "synthetic"), ("pictures", "of image crops")):
        if row := answer.get(part):
            lines += [
                f"| {spaced(row['images'])} x {row['numbers']}, {what} | {spaced(one['looked_at'])}{' (used)' if one['looked_at'] == SCORED else ''} | {found(one)} | "
                + (
                    f"{(row['resident_peak_bytes'] or 0) / 1e6:.0f} | {row['index_bytes_per_image']} | {row['seconds_to_index']:.0f} |"
                    if one is row
                    else "| | |"
                )
                for one in sorted([row, *row["by_rows"]], key=lambda one: one["looked_at"])
            ]
    if (row := answer.get("faiss")) and row["faiss"]:
        lines += [
            "",
            f"**Comparison with faiss**: {spaced(row['images'])} x 2048, same vectors and queries, 64 candidates re-scored exactly by each (faiss keeps its index in memory):",
            "",
            "| index | effort | recall@10 | p50 / p95, ms | bytes per image | peak memory, MB | build time, s |",
            "|---|---|---|---|---|---|---|",
            f"| imagefinder | {spaced(row['looked_at'])} vectors | {row['recall_at_10']:.3f} | {row['fast_ms']['p50']:.1f} / {row['fast_ms']['p95']:.1f} | "
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
    return lines


def found(row: dict[str, Any]) -> str:
    return (
        f"{row['recall_at_10']:.3f} | {row['same_first']} of {row['queries']} | "
        f"{row['fast_ms']['p50']:.1f} / {row['fast_ms']['p95']:.1f}"
    )


def parts_measured_on(name: str) -> list[str]:
    return [
        line
        for part, machine in read(name)["parts_measured_on"].items()
        for line in ("", f"`{part}`: {conditions(machine)}.")
    ]


def under_load() -> str:
    """Generate the overhead of HTTP and the behaviour under many requests."""
    answer = read("service")
    alone, crowd, many = answer["alone"], answer["crowd"], answer["many"]
    memory = many["resident_mb"]
    rows = {
        "one client: HTTP, in-process, ms per query": f"{alone['http_ms']:.1f}, {alone['in_process_ms']:.1f}",
        "overhead of the HTTP layer (median of pairs)": f"{alone['share_of_http_layer']:.1%}".replace("%", " %"),
        f"{crowd['clients']} clients: requests, answered, wrong": f"{crowd['requests']}, {crowd['answered']}, {crowd['wrong']}",
        "rejected as `busy` and retried": f"{crowd['turned_away_and_asked_again']}",
        "other responses": f"{crowd['other']}",
        "queries per second, and relative to sequential in-process queries": f"{crowd['per_second']:.2f}, {crowd['against_in_process']:.2f} x",
        "seconds to the response, p50, p99": f"{crowd['p50_s']:.1f}, {crowd['p99_s']:.1f}",
        "many small requests: sent, answered, wrong": f"{many['requests']}, {many['answered']}, {many['wrong']}",
        "requests per second": f"{many['per_second']:.1f}",
        "resident memory: before, after 10 %, at the end, MB": f"{memory[0]}, {memory[1]}, {memory[-1]}",
        "exit status after SIGTERM": f"{answer['exit_status']}",
    }
    return "\n".join(
        [
            "",
            f"{measured_on('service')}. {answer['images']} images, SIFT, exact, `POST /sift-similar-images`; every response was "
            "compared with the result of the library.\n",
            "| | |",
            "|---|---|",
            *(f"| {name} | {value} |" for name, value in rows.items()),
            "\n",
        ]
    )
