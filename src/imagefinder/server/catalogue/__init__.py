"""The collections of a server by name: folders of one machine, or collections of a database."""
