"""Decode, download, resize and draw images."""
