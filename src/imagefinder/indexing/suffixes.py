"""Suffixes of files that contain images or name them; imports nothing, for a fast start."""

from __future__ import annotations

ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
TABLE_SUFFIXES = (".csv", ".tsv")
LIST_SUFFIXES = (*TABLE_SUFFIXES, ".jsonl", ".ndjson")
