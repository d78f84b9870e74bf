"""Approximate nearest-neighbour (ANN) indexes, which propose candidates; they are derived from a store."""
