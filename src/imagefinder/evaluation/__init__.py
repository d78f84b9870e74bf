"""Measures retrieval accuracy on images with labelled answers."""
