"""A typed client of the REST service: ``from imagefinder.client import Client``."""

from imagefinder.client.answers import (
    Answer,
    CollectionInfo,
    Comparison,
    Duplicates,
    DuplicateSet,
    FailedImage,
    Found,
    Image,
    Info,
    Limits,
    MethodState,
)
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
from imagefinder.client.jobs import Job, JobProgress
from imagefinder.client.pictures import ById, Stored

__all__ = [
    "AccessError",
    "Answer",
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
    "Found",
    "Image",
    "Info",
    "InvalidAnswerError",
    "Job",
    "JobFailedError",
    "JobProgress",
    "Limits",
    "MethodState",
    "NotFoundError",
    "RequestError",
    "ServerProblem",
    "Stored",
    "UnavailableError",
]
