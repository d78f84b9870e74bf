"""Extractors: pictures in, features out."""
