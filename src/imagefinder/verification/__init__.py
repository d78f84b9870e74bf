"""Whether matches between two pictures agree on one geometry."""
