"""The REST service: HTTP in front of a collection."""
