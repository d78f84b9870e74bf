"""Matchers, which compare features."""
