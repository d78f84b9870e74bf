"""Work that takes longer than a request: indexing, duplicates, rebuilding; it survives a restart."""
