"""Jobs: work that takes longer than a request, such as adding images. Jobs survive a restart of the server."""
