"""Extractors, which compute the features of images."""
