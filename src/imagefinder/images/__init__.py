"""From bytes or a URL to an upright RGB array."""
