"""The server's log: lines for people or JSON objects for programs, each with the id of its request.

Whatever a client sends can turn up in a message. A line is one line in either form: control characters are written
as escapes, and the further lines of a traceback are indented, so that nothing a client sends can pass for a record
or move the cursor of a terminal.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any

from imagefinder.core.text import printable
from imagefinder.server import request_context

ACCESS = logging.getLogger("imagefinder.access")
"""One record for each request that was answered; its attribute ``fields`` holds the particulars."""


class JsonLines(logging.Formatter):
    """One JSON object a line, in ASCII."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
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
    """Time, level and message for people."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record; a traceback follows, indented."""
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
    """What ``logging.config.dictConfig`` and the web server take.

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
