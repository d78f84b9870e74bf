"""Download images from URLs, with limits and address checks."""
