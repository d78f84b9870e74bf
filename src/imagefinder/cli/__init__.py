"""The command line: a client of the library, one file per command; only ``output`` prints."""
