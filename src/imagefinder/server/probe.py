"""``python -m imagefinder.server.probe``: exits 0 if the service on this machine is ready, else 1.

The container's health check; it needs neither curl nor the web framework.
"""

from __future__ import annotations

import http.client
import sys

from imagefinder.core.settings import Settings


def ready(port: int) -> bool:
    """Whether a service on this machine answers at a port that it can be asked."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=4)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(0 if ready(Settings.load().port) else 1)
