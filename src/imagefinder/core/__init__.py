"""Types, contracts and errors that all packages share: NumPy and the standard library only."""
