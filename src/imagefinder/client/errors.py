"""Every error the client raises on purpose, in one tree.

::

    ClientError
    ├── ConnectionFailedError   no server, or the connection broke
    ├── InvalidAnswerError      an answer that is none of this API
    ├── JobFailedError          a job that was waited for failed or was cancelled
    └── ServerProblem           the server said no (RFC 9457)
        ├── RequestError            400, 405, 408, 413, 415, 422, 424: the request cannot be used
        ├── AccessError             401, 403: a key is missing or not enough
        ├── NotFoundError           404
        ├── ConflictError           409
        ├── BusyError               429: too many requests
        └── UnavailableError        5xx: the server cannot answer (now)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imagefinder.core.jobs import Job, JobProblem


class ClientError(Exception):
    """Root of the tree.

    Attributes:
        code: Stable name of the kind of error; ``ServerProblem`` has those of the server.
        message: One sentence: what happened.
        retryable: Whether the same call may succeed later.
        hint: What to do next; may be empty.
        status: HTTP status; 0 where there was no answer.
        request_id: By which the server's log names the request; empty where there was no answer.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        retryable: bool = False,
        hint: str = "",
        status: int = 0,
        request_id: str = "",
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retryable = retryable
        self.hint = hint
        self.status = status
        self.request_id = request_id


class ConnectionFailedError(ClientError):
    """No server answers there, it took too long, or the connection broke."""


class InvalidAnswerError(ClientError):
    """What came back is no answer of this API: another server, a proxy, another version."""


class JobFailedError(ClientError):
    """A job that was waited for failed or was cancelled.

    Attributes:
        job: As it ended.
    """

    def __init__(self, job: Job) -> None:
        problem = job.problem or JobProblem(f"job_{job.state}", f"it was {job.state}", "")
        super().__init__(problem.code, f"job {job.id} ({job.kind}): {problem.detail}", hint=problem.hint)
        self.job = job


class ServerProblem(ClientError):  # noqa: N818 - the word of RFC 9457
    """The server answered with a problem.

    Attributes:
        title: The kind of problem in words.
        field: The parameter or field that is wrong; empty if it is none.
        members: The whole problem as it came.
        retry_after: Seconds the server asks to wait; ``None`` if it does not say.
    """

    def __init__(
        self, members: Mapping[str, Any], *, status: int, request_id: str, retry_after: float | None
    ) -> None:
        super().__init__(
            str(members.get("code", "")),
            str(members.get("detail", "")),
            retryable=members.get("retryable") is True,
            hint=str(members.get("hint", "")),
            status=status,
            request_id=str(members.get("request_id") or request_id),
        )
        self.title = str(members.get("title", ""))
        self.field = str(members.get("field", ""))
        self.members = members
        self.retry_after = retry_after


class RequestError(ServerProblem):
    """The request cannot be used."""


class AccessError(ServerProblem):
    """A key is missing, wrong or does not allow this."""


class NotFoundError(ServerProblem):
    """There is nothing of that name."""


class ConflictError(ServerProblem):
    """The collection is in no state for this."""


class BusyError(ServerProblem):
    """Too many requests at once, or in this minute."""


class UnavailableError(ServerProblem):
    """The server cannot answer, now or at all."""


def problem(
    members: Mapping[str, Any], *, status: int, request_id: str = "", retry_after: float | None = None
) -> ServerProblem:
    """The error for a problem."""
    kinds = {401: AccessError, 403: AccessError, 404: NotFoundError, 409: ConflictError, 429: BusyError}
    kind = kinds.get(status, UnavailableError if status >= 500 else RequestError)
    return kind(members, status=status, request_id=request_id, retry_after=retry_after)
