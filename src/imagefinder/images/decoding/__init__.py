"""Encoded image bytes to an upright RGB array, in this process or in worker processes."""
