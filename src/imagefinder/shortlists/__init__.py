"""Compact indexes that propose candidates; everything here is derived from a store and can be made again."""
