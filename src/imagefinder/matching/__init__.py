"""Matchers: features in, scores out."""
