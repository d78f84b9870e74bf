"""Approximate nearest-neighbour indexes that propose candidates; all of it is derived from a store."""
