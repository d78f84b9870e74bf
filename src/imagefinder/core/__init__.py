"""The words every other package speaks: NumPy and the standard library only."""
