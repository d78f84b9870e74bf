"""All settings in one frozen object, with the same names in the environment, in a TOML file and as flags."""

from __future__ import annotations

import dataclasses
import functools
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

from imagefinder.core import home
from imagefinder.core.collection_names import DEFAULT
from imagefinder.core.errors import SettingsError
from imagefinder.core.location import as_location, child, scheme_of, shown
from imagefinder.core.setting_values import comment, expected, plain, toml, typed
from imagefinder.core.suggestions import did_you_mean

PREFIX = "IMAGEFINDER_"
CONFIG_VARIABLE = "IMAGEFINDER_CONFIG"


def _data_home() -> Path:
    folder = Path(os.environ.get("XDG_DATA_HOME") or "")
    # By its specification, a relative path in the variable is ignored.
    return folder if folder.is_absolute() else home.expand("~/.local/share")


def _cache_home() -> Path:
    folder = Path(os.environ.get("XDG_CACHE_HOME") or "")
    return (folder if folder.is_absolute() else home.expand("~/.cache")) / "imagefinder"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@functools.cache
def _memory() -> int:
    """Memory of this machine or container, bytes; 4 GiB if unknown."""
    try:
        physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 4 << 30
    try:
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii"))
    except (OSError, ValueError):  # none, or "max"
        return physical
    return min(physical, limit)


def _share_of_memory(part: int, least: int, most: int) -> int:
    return max(least, min(most, _memory() // part))


_LARGEST_INTEGER = 2**63 - 1
_LARGEST_SECONDS = 10**9
"""Largest settings that are times; timers accept no infinite ones."""


def _setting(default: Any, text: str, *, minimum: float | None = None, choices: Sequence[str] = ()) -> Any:
    """A dataclass field with its description, limits and choices; a callable ``default`` is a factory."""
    metadata = {"help": text, "minimum": minimum, "choices": tuple(choices)}
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of library, command line and server; ``describe()`` returns their descriptions.

    ``Settings()`` has the defaults; ``Settings.load()`` also reads the settings file and the environment.
    """

    collection: str = _setting(
        lambda: str(_data_home() / "imagefinder" / "default"),
        "the collection: its folder, or its URL, such as postgresql://host/DATABASE/NAME; for the server, its "
        "default collection",
    )
    models: Path = _setting(
        lambda: _data_home() / "imagefinder" / "models", "folder of imported model weights and their manifest"
    )
    store: str = _setting(
        "embedded", "storage backend of a collection that is named by its path: embedded (on disk) or memory"
    )
    objects: str = _setting(
        "rows",
        "where a collection in a database keeps features and thumbnails: rows (of the database), an object store "
        "such as s3://bucket/prefix?endpoint=https://host, or a shared folder such as file:///mnt/shared",
    )
    objects_cache_bytes: int = _setting(
        2 << 30,
        "disk space for popular objects of an object store, in the folder scratch, bytes; 0: none",
        minimum=0,
    )
    vectors: str = _setting(
        "rows",
        "what searches the vectors that propose candidates in a collection in a database: rows (the database "
        "itself), or a Milvus server such as milvus://host:19530/database",
    )
    database_seconds: float = _setting(
        30.0, "time limit for an answer of the database server of a collection, seconds", minimum=1
    )
    database_connections: int = _setting(
        16, "maximum number of connections of a process to a database server", minimum=2
    )
    database_password_file: str = _setting(
        "", "file with the password for the database server, if neither the location nor PGPASSWORD has one"
    )
    scratch: Path = _setting(
        _cache_home, "folder for local files of collections in a database, such as indexes; they can be rebuilt"
    )
    preview_cache_bytes: int = _setting(
        1 << 30, "disk space of the server for previews, in the folder scratch, bytes; 0: none", minimum=0
    )
    keep_originals: bool = _setting(
        False,
        "keep the originals of uploaded images in the collection; previews of up to 1600 pixels are always kept",
    )
    threads: int = _setting(
        _cores,
        "number of threads for decoding, feature extraction, networks, matching and verification",
        minimum=1,
    )
    precision: str = _setting(
        "auto",
        "numeric precision of networks: auto (f32), f32, bf16 or int8 (part of the fingerprint, except f32)",
        choices=("auto", "f32", "bf16", "int8"),
    )
    tokens: str = _setting(
        "float32",
        "data type of BEiT tokens: float32, or int8, which is 4 times smaller and faster to "
        "compare (part of the fingerprint)",
        choices=("float32", "int8"),
    )
    provider: str = _setting(
        "auto",
        "execution provider for networks: auto (cpu), cpu, openvino, cuda or coreml",
        choices=("auto", "cpu", "openvino", "cuda", "coreml"),
    )
    batch_size: int = _setting(16, "number of images per extraction batch when adding images", minimum=1)
    cache_bytes: int = _setting(
        4 << 30, "memory limit of the feature cache, bytes; features beyond it are read from disk", minimum=0
    )
    exact_bytes: int = _setting(
        1 << 30,
        "mode auto scores every image while the features are not larger than this, bytes "
        "(sift: about 10,000 images)",
        minimum=0,
    )
    thumbnail_features_bytes: int = _setting(
        8 << 30,
        "disk space for features of thumbnails in a collection, bytes (51 kB per image); without them a search "
        "computes those of up to 6 candidates (90 ms of CPU time); 0: never stored",
        minimum=0,
    )
    original_mode: str = _setting(
        "exact",
        "search mode of the original endpoints: exact, fast or auto; the API defines their answers as exact",
    )
    max_image_bytes: int = _setting(64 << 20, "size limit of an encoded image, bytes", minimum=1)
    max_image_pixels: int = _setting(
        150_000_000, "size limit of a decoded image, pixels (3 bytes each)", minimum=1
    )
    max_local_bytes: int = _setting(
        lambda: _share_of_memory(8, 64 << 20, 1 << 30),
        "size limit of an encoded local file, bytes; default: an eighth of the memory, 64 MiB to 1 GiB",
        minimum=1,
    )
    max_local_pixels: int = _setting(
        lambda: _share_of_memory(16, 150_000_000, 700_000_000),
        "size limit of a decoded local file, pixels; default: one per 16 bytes of memory, 150 to 700 million; "
        "images beyond max_image_pixels are reduced while they are decoded",
        minimum=1,
    )
    max_pages: int = _setting(100, "number of pages of a TIFF file that are added, as separate images", minimum=1)
    animation_frames: int = _setting(
        1, "number of frames of an animation that are added, evenly spread, as separate images", minimum=1
    )
    stacks: bool = _setting(
        True,
        "count versions of one picture (raw and JPEG, edited copies, bursts) as one image, and show only the best",
    )
    places: bool = _setting(
        False,
        "show where images were taken (coordinates, city, country) in answers, lists and exports, and allow "
        "filters on it",
    )
    isolate: bool = _setting(
        os.name == "posix", "decode images in separate processes, so that a crash affects only one image"
    )
    decode_seconds: float = _setting(10.0, "time limit for decoding an image, seconds", minimum=0.1)
    decode_memory: int = _setting(3 << 30, "memory limit for decoding an image, bytes", minimum=256 << 20)
    sift_max_side: int = _setting(
        1024,
        "images are reduced to this length of the longer side for sift, pixels; 0: never "
        "(part of the fingerprint)",
        minimum=0,
    )
    sift_max_keypoints: int = _setting(
        1000, "number of strongest keypoints used by sift; 0: all (part of the fingerprint)", minimum=0
    )
    zip_encoding: str = _setting(
        "auto", "encoding of names in zip archives that are not marked as UTF-8, such as cp932; auto: detected"
    )
    fetch_timeout: float = _setting(20.0, "idle timeout of a download, seconds", minimum=0.1)
    fetch_retries: int = _setting(2, "number of retries after a transient download failure", minimum=0)
    fetch_connections: int = _setting(16, "number of concurrent downloads", minimum=1)
    state: Path = _setting(
        lambda: _data_home() / "imagefinder" / "server", "folder of the server's state: API keys and jobs"
    )
    job_roots: tuple[Path, ...] = _setting(
        (), f"folders, including subfolders, from which jobs may add images; separator: {os.pathsep!r}"
    )
    concurrent_jobs: int = _setting(
        2,
        "number of jobs or portions that a server or worker works on at the same time; 0: servers leave the jobs "
        "to imagefinder work, which then works on 2 (only with a database of collections)",
        minimum=0,
    )
    lease_seconds: float = _setting(
        30.0,
        "time after which the jobs of a killed server or worker are given to another one, seconds; the others "
        "renew it",
        minimum=1,
    )
    job_queue: int = _setting(
        256, "maximum number of queued jobs; further job requests are answered with busy", minimum=1
    )
    fetch_private: bool = _setting(
        False, "allow clients to name URLs in private networks and on the server itself"
    )
    url_queries: bool = _setting(True, "allow clients to name image URLs, which the server downloads")
    url_seconds: float = _setting(20.0, "time limit for downloading a URL named by a client, seconds", minimum=0.1)
    collections: str = _setting(
        lambda: str(_data_home() / "imagefinder" / "collections"),
        "folder of the additional collections, one subfolder each; or the URL of a database, such as "
        "postgresql://db.example/imagefinder, which then contains all collections, keys and jobs",
    )
    explanation_seconds: float = _setting(
        3600.0, "lifetime of a search handle (explanations, shared links), seconds", minimum=1
    )
    explanation_queries: int = _setting(
        1000, "maximum number of cached searches; the oldest is evicted first", minimum=1
    )
    explanation_bytes: int = _setting(
        256 << 20, "memory limit of cached searches, bytes; a larger search is not cached", minimum=0
    )
    host: str = _setting("127.0.0.1", "address on which the server listens")
    port: int = _setting(5000, "port on which the server listens; 0: any free port", minimum=0)
    auth: str = _setting(
        "auto",
        "require API keys: on, off, or auto (required unless only this machine can reach the server)",
        choices=("auto", "on", "off"),
    )
    allowed_hosts: tuple[str, ...] = _setting(
        (), "accepted host names of the server, in addition to localhost names and IP addresses"
    )
    cors_origins: tuple[str, ...] = _setting(
        (), "origins of web pages that may send requests, such as https://shop.example; *: any (requires keys)"
    )
    trusted_proxies: tuple[str, ...] = _setting(
        (), "addresses or networks of proxies whose X-Forwarded-For, -Proto and -Prefix headers are trusted"
    )
    root_path: str = _setting(
        "/", "path under which a reverse proxy serves the server, such as /images; links in answers begin with it"
    )
    concurrent: int = _setting(_cores, "number of requests computed at the same time", minimum=1)
    queue: int = _setting(
        64, "number of further requests that may upload or wait; more are answered with busy", minimum=0
    )
    max_upload_bytes: int = _setting(
        512 << 20, "memory limit for the uploads of all requests together, bytes", minimum=1
    )
    max_json_bytes: int = _setting(
        32 << 20, "size limit of a JSON request, bytes; images in base64 are a third larger", minimum=1
    )
    max_connections: int = _setting(
        512, "maximum number of open connections; further ones replace idle ones or are closed", minimum=1
    )
    request_seconds: float = _setting(
        60.0, "time limit for a request after its upload, including downloads, seconds; 0: none", minimum=0
    )
    requests_per_minute: int = _setting(
        0, "rate limit per API key or, without keys, per client address, requests per minute; 0: none", minimum=0
    )
    shutdown_seconds: float = _setting(25.0, "grace period for requests in flight at shutdown, seconds", minimum=0)
    log_format: str = _setting("text", "format of the server's log: text or json", choices=("text", "json"))

    def __post_init__(self) -> None:
        for name in ("collection", "collections"):
            object.__setattr__(self, name, as_location(getattr(self, name)))
        for item in dataclasses.fields(self):
            value, minimum, choices = (getattr(self, item.name), *map(item.metadata.get, ("minimum", "choices")))
            if isinstance(value, list):  # settings must be hashable, because runtimes are shared by them
                object.__setattr__(self, item.name, tuple(value))
            if minimum is not None and not value >= minimum:
                raise SettingsError(f"{item.name} must be at least {minimum}, not {value}")
            largest = _LARGEST_SECONDS if isinstance(value, float) else _LARGEST_INTEGER
            if isinstance(value, int | float) and not value <= largest:
                raise SettingsError(f"{item.name} must be at most {largest:,}, not {value!r:.100}")
            if choices and value not in choices:
                raise SettingsError(
                    f"{item.name} must be one of {', '.join(choices)}, not {value!r}",
                    hint=did_you_mean(str(value), choices),
                )
        try:
            b"a".decode("ascii" if self.zip_encoding == "auto" else self.zip_encoding)
        except (LookupError, ValueError) as error:
            raise SettingsError(
                f"zip_encoding: unknown encoding {self.zip_encoding!r}",
                hint="for example cp866 or cp1251 (Cyrillic), cp932 (Japanese), gbk (Chinese), cp949 (Korean)",
            ) from error

    @classmethod
    def load(
        cls,
        *,
        environment: Mapping[str, str] | None = None,
        file: Path | None = None,
        overrides: Mapping[str, Any] | None = None,
    ) -> Settings:
        """Load the settings. Later sources win: defaults, TOML file, environment, ``overrides``.

        Args:
            environment: Environment variables ``IMAGEFINDER_NAME``; default: those of the process.
            file: TOML file; default: the file named by ``IMAGEFINDER_CONFIG``, if set.
            overrides: Setting name -> value; ``None`` values are ignored.

        Raises:
            SettingsError: a name is unknown, a value has the wrong type or is out of range, or the file is
                unreadable.
        """
        return cls.load_with_origins(environment=environment, file=file, overrides=overrides)[0]

    @classmethod
    def load_with_origins(
        cls,
        *,
        environment: Mapping[str, str] | None = None,
        file: Path | None = None,
        overrides: Mapping[str, Any] | None = None,
    ) -> tuple[Settings, dict[str, str]]:
        """Load the settings with the origin of each value that is not a default.

        Arguments and errors are those of ``load``.

        Returns:
            Settings, and setting name -> description of the origin.
        """
        environment = os.environ if environment is None else environment
        values: dict[str, Any] = {}
        origins: dict[str, str] = {}
        if file is None and environment.get(CONFIG_VARIABLE):
            file = Path(environment[CONFIG_VARIABLE])
        if file is not None:
            for name, value in _read_toml(file).items():
                values[name] = cls._convert(name, value, str(file))
                origins[name] = f"file {file}"
        for variable, text in environment.items():
            if variable.startswith(PREFIX) and variable != CONFIG_VARIABLE and not _is_link(variable, text):
                name, origin = variable[len(PREFIX) :].lower(), f"environment variable {variable}"
                values[name] = cls._convert(name, text, origin)
                origins[name] = origin
        for name, value in (overrides or {}).items():
            if value is not None:
                values[name] = cls._convert(name, value)
                origins[name] = "command line"
        settings = cls(**values)
        if settings.database and "collection" not in values:
            settings = dataclasses.replace(settings, collection=child(settings.database, DEFAULT))
            origins["collection"] = origins["collections"]
        return settings, origins

    @classmethod
    def _convert(cls, name: str, value: Any, origin: str = "") -> Any:
        where = f"{origin}: " if origin else ""
        if isinstance(value, os.PathLike):
            value = os.fspath(value)
        types = get_type_hints(cls)
        if name not in types:
            names = sorted(types)
            everything = f"the settings are: {', '.join(names)}"
            if origin.startswith("environment"):
                names = [*names, CONFIG_VARIABLE[len(PREFIX) :].lower()]
            hint = did_you_mean(name, names) or everything
            raise SettingsError(f"{where}unknown setting {name!r}", hint=hint)
        try:
            return typed(types[name], value)
        except (TypeError, ValueError):
            raise SettingsError(f"{where}{name} must be {expected(types[name])}, not {value!r}") from None

    @property
    def database(self) -> str:
        """The URL of the database with all collections, keys and jobs; empty if they are in folders."""
        return self.collections if scheme_of(self.collections) else ""

    def folder(self, name: str) -> Path:
        """The folder named by a setting, for use.

        Raises:
            SettingsError: it is in the home folder of a user who has none, or the collection is not in a folder.
        """
        hint = f"set {PREFIX}{name.upper()} or XDG_DATA_HOME to a folder that this user can write"
        if name == "collection":
            hint = f"name a folder with -c FOLDER, or {hint}"
            if scheme_of(self.collection):
                raise SettingsError(f"the collection {shown(self.collection)} is not in a folder", hint=hint)
        return home.check(Path(getattr(self, name)), f"the folder of the setting {name}", hint=hint)

    def describe(self) -> list[tuple[str, str, str]]:
        """Each setting as (name, current value, description)."""
        return [
            (item.name, plain(self._shown(item.name)), item.metadata["help"]) for item in dataclasses.fields(self)
        ]

    def to_toml(self, origins: Mapping[str, str]) -> str:
        """A TOML file with these settings; comments give the description and origin of each value.

        Args:
            origins: Setting name -> description of the origin; other settings are marked as defaults.
        """
        return "\n".join(
            f"# {item.metadata['help']}\n# from: {comment(origins.get(item.name, 'default'))}\n"
            f"{item.name} = {toml(self._shown(item.name))}\n"
            for item in dataclasses.fields(self)
        )

    def _shown(self, name: str) -> Any:
        """The value of a setting, without the password in a URL."""
        value = getattr(self, name)
        return shown(value) if name in ("collection", "collections", "objects", "vectors") else value


def _is_link(variable: str, text: str) -> bool:
    """Whether a container platform sets this variable, which it does for a service named imagefinder."""
    name = variable[len(PREFIX) :]
    return bool(re.match(r"SERVICE_(HOST|PORT)|PORT_\d+_(TCP|UDP)", name)) or (
        name == "PORT" and text.startswith(("tcp://", "udp://"))
    )


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"cannot read the settings file {file}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"the settings file {file} is not valid TOML: {error}") from error
