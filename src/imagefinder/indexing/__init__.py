"""From sources (folders, archives, lists, URLs) to entries in a store."""
