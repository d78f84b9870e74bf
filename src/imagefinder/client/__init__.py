"""A typed client for the REST API: ``from imagefinder.client import Client`` or ``AsyncClient``."""

from imagefinder.client.async_client import AsyncClient
from imagefinder.client.async_jobs import AsyncRemoteJob
from imagefinder.client.client import Client
from imagefinder.client.errors import (
    AccessError,
    BusyError,
    ClientError,
    ConflictError,
    ConnectionFailedError,
    InvalidAnswerError,
    JobFailedError,
    NotFoundError,
    RequestError,
    ServerProblem,
    UnavailableError,
)
from imagefinder.client.images import ById, Stored
from imagefinder.client.jobs import RemoteJob
from imagefinder.core.answers import (
    CollectionInfo,
    Duplicates,
    DuplicateSet,
    FailedImage,
    Image,
    MethodStatus,
    RemovedImage,
    SearchAnswer,
    SearchHit,
    ServerInfo,
    ServerLimits,
)
from imagefinder.core.jobs import JobProgress
from imagefinder.core.query import SearchOptions
from imagefinder.core.results import Comparison

__all__ = [
    "AccessError",
    "AsyncClient",
    "AsyncRemoteJob",
    "BusyError",
    "ById",
    "Client",
    "ClientError",
    "CollectionInfo",
    "Comparison",
    "ConflictError",
    "ConnectionFailedError",
    "DuplicateSet",
    "Duplicates",
    "FailedImage",
    "Image",
    "InvalidAnswerError",
    "JobFailedError",
    "JobProgress",
    "MethodStatus",
    "NotFoundError",
    "RemoteJob",
    "RemovedImage",
    "RequestError",
    "SearchAnswer",
    "SearchHit",
    "SearchOptions",
    "ServerInfo",
    "ServerLimits",
    "ServerProblem",
    "Stored",
    "UnavailableError",
]
