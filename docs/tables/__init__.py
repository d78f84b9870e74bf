"""The tables of the documentation: of what the code says and of what was measured."""
