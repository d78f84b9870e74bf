"""Readiness probe: ``python -m imagefinder.server.probe`` exits with 0 if the local service is ready, otherwise 1.

It is the health check of the container and needs neither curl nor the web framework.
"""

from __future__ import annotations

import http.client
import sys

from imagefinder.core.settings import Settings


def is_ready(port: int) -> bool:
    """Whether a service on this machine reports at this port that it is ready."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=4)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(0 if is_ready(Settings.load().port) else 1)
