"""The arithmetic: arrays in, arrays out; no ids, no stores, no settings."""
