"""The server's log: text lines or JSON lines, each with the id of its request.

Messages can contain client input. To prevent log injection and terminal escapes, each record is one line in either
format: control characters are escaped, and the additional lines of a traceback are indented.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any

from imagefinder.core.text import printable
from imagefinder.server import request_context

ACCESS = logging.getLogger("imagefinder.access")
"""Access log: one record per completed request. Its attribute ``fields`` is a mapping of field names to values."""


class JsonLines(logging.Formatter):
    """Formats records as JSON lines, in ASCII."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        document: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request := request_context.current.get():
            document["request_id"] = request.request_id
        document |= getattr(record, "fields", {})
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return json.dumps(document, default=str)


class TextLines(logging.Formatter):
    """Formats records as text: time, level, message and fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line, followed by an indented traceback if it has one."""
        time = datetime.fromtimestamp(record.created).astimezone().isoformat(" ", "milliseconds")
        text = f"{time} {record.levelname:<7} {_printable(record.getMessage())}"
        fields = getattr(record, "fields", {})
        text += "".join(f" {name}={_printable(str(value))}" for name, value in fields.items() if value != "")
        request = request_context.current.get()
        if request and "request_id" not in fields:
            text += f" request_id={request.request_id}"
        if record.exc_info:
            for line in self.formatException(record.exc_info).splitlines():
                text += f"\n    {_printable(line)}"
        return text


def configuration(log_format: str) -> dict[str, Any]:
    """The logging configuration for ``logging.config.dictConfig`` and uvicorn.

    Args:
        log_format: ``text`` or ``json``.
    """
    formatter = JsonLines if log_format == "json" else TextLines
    own = {"handlers": ["log"], "level": "INFO", "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"log": {"()": formatter}},
        "handlers": {"log": {"class": "logging.StreamHandler", "formatter": "log", "stream": "ext://sys.stderr"}},
        "loggers": {"imagefinder": own, "uvicorn": own, "uvicorn.access": {"handlers": [], "propagate": False}},
        "root": {"handlers": ["log"], "level": "WARNING"},
    }


def _printable(text: str) -> str:
    return printable(text.strip("\n"))
