"""API keys of the server: in a file of one machine, or in a database that all servers share."""
