"""Add images from sources (folders, archives, lists and URLs) to a store."""
