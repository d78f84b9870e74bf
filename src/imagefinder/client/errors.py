"""The errors of the client, in one tree.

::

    ClientError
    ├── ConnectionFailedError   no connection, a timeout, or a broken connection
    ├── InvalidAnswerError      the response does not belong to this API
    ├── JobFailedError          the job failed or was cancelled
    └── ServerProblem           an error response (RFC 9457)
        ├── RequestError            400, 405, 408, 413, 415, 422, 424: invalid request
        ├── AccessError             401, 403: API key missing, invalid or not sufficient
        ├── NotFoundError           404
        ├── ConflictError           409
        ├── BusyError               429: too many requests
        └── UnavailableError        5xx: the server cannot process the request
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imagefinder.core.jobs import Job, JobProblem


class ClientError(Exception):
    """Root of the tree.

    Attributes:
        code: Stable, machine-readable name of the kind of error; for ``ServerProblem``, the code of the server.
        message: What happened, in one sentence.
        retryable: Whether the same call may succeed later.
        hint: What to do next; may be empty.
        status: HTTP status; 0 without a response.
        request_id: Id of the request in the server's log; empty without a response.
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
    """The connection could not be established, timed out or broke."""


class InvalidAnswerError(ClientError):
    """The response does not belong to this API: it is from another server, a proxy or another version."""


class JobFailedError(ClientError):
    """The job failed or was cancelled.

    Attributes:
        job: Final state of the job.
    """

    def __init__(self, job: Job) -> None:
        problem = job.problem or JobProblem(f"job_{job.state}", f"the job was {job.state}", "")
        super().__init__(problem.code, f"job {job.id} ({job.kind}): {problem.detail}", hint=problem.hint)
        self.job = job


class ServerProblem(ClientError):  # noqa: N818 - the word of RFC 9457
    """The server responded with a problem document.

    Attributes:
        title: Short summary of the kind of problem.
        field: Name of the invalid parameter or field; empty if the problem has none.
        members: The complete problem document.
        retry_after: Seconds to wait before a retry, as stated by the server; ``None`` if it states none.
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
    """The request is invalid."""


class AccessError(ServerProblem):
    """The API key is missing, invalid or does not allow the request."""


class NotFoundError(ServerProblem):
    """The resource does not exist."""


class ConflictError(ServerProblem):
    """The state of the collection does not allow the request."""


class BusyError(ServerProblem):
    """The server is busy, or the rate limit is exceeded."""


class UnavailableError(ServerProblem):
    """The server cannot process the request."""


def problem(
    members: Mapping[str, Any],
    *,
    status: int | None = None,
    request_id: str = "",
    retry_after: float | None = None,
) -> ServerProblem:
    """The error for a problem document.

    Args:
        members: The problem document.
        status: HTTP status; ``None``: the one in the document.
        request_id: Id of the request, if the document has none.
        retry_after: Value of the Retry-After header, seconds.
    """
    status = int(members["status"]) if status is None else status
    kinds = {401: AccessError, 403: AccessError, 404: NotFoundError, 409: ConflictError, 429: BusyError}
    kind = kinds.get(status, UnavailableError if status >= 500 else RequestError)
    return kind(members, status=status, request_id=request_id, retry_after=retry_after)
