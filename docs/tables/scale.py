"""Large collections, and many requests."""

from __future__ import annotations

from typing import Any

from tables.measured import conditions, measured_on, read, spaced


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
                "the usual search (by evidence, mirror images too, fast), p50 / p95, ms",
                [f"{row['usual_ms']['p50']:.0f} / {row['usual_ms']['p95']:.0f}" for row in rows],
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
    return "\n".join([*lines, *vectors(), *parts_measured_on("stages"), *parts_measured_on("vectors"), ""])


def vectors() -> list[str]:
    """What the index of global vectors finds and costs."""
    answer = read("vectors")
    lines = [
        "",
        "**Global vectors**, the ten best:",
        "",
        "| vectors | looked at | recall of the exact ten | the same first, of queries | p50 / p95, ms | resident at most, MB | bytes per image | indexed in, s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for part, what in (("made", "made"), ("pictures", "of crops of pictures")):
        if row := answer.get(part):
            lines += [
                f"| {spaced(row['images'])} x {row['numbers']}, {what} | {spaced(one['looked_at'])}{' (used)' if one is row else ''} | {found(one)} | "
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
            f"**faiss beside it**, {spaced(row['images'])} x 2048, the same vectors and queries, 64 candidates scored exactly by everybody (faiss holds its index in memory):",
            "",
            "| index | effort | recall@10 | p50 / p95, ms | bytes per image | resident at most, MB | made in, s |",
            "|---|---|---|---|---|---|---|",
            f"| ours | {spaced(row['looked_at'])} vectors | {row['recall_at_10']:.3f} | {row['fast_ms']['p50']:.1f} / {row['fast_ms']['p95']:.1f} | "
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
