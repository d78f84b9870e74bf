"""Spatial verification: whether the matches between two images agree on one geometry."""
