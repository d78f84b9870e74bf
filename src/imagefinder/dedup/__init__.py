"""Duplicate detection: candidate pairs are proposed, verified, classified and joined into groups."""
