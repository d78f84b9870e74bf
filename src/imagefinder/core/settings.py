"""Every setting, in one frozen object; the same names in the environment, a TOML file and flags."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from imagefinder.core.errors import SettingsError

PREFIX = "IMAGEFINDER_"
CONFIG_VARIABLE = "IMAGEFINDER_CONFIG"


def _data_home() -> Path:
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_TRUTH = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def _setting(default: Any, text: str, *, minimum: float | None = None, choices: Sequence[str] = ()) -> Any:
    """A field with its one-line documentation; ``default`` may be a function that makes it."""
    metadata = {"help": text, "minimum": minimum, "choices": tuple(choices)}
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True)
class Settings:
    """What can be configured; ``describe()`` lists it for people.

    ``Settings()`` is the default of everything; ``Settings.load()`` adds the file and the environment.
    """

    collection: Path = _setting(
        lambda: _data_home() / "imagefinder" / "default", "folder of the collection that is used"
    )
    models: Path = _setting(
        lambda: _data_home() / "imagefinder" / "models", "folder of imported model weights and their records"
    )
    store: str = _setting("embedded", "kind of store: embedded (on disk) or memory")
    threads: int = _setting(_cores, "threads for decoding, extraction and networks", minimum=1)
    precision: str = _setting(
        "auto",
        "arithmetic of networks: auto (f32), f32, bf16 or int8 (other than f32: part of the fingerprint)",
        choices=("auto", "f32", "bf16", "int8"),
    )
    tokens: str = _setting(
        "float32",
        "numbers of BEiT's tokens: float32, or int8, a quarter of the size and faster to compare (part of the "
        "fingerprint)",
        choices=("float32", "int8"),
    )
    provider: str = _setting(
        "auto",
        "what runs networks: auto (cpu), cpu, openvino, cuda or coreml",
        choices=("auto", "cpu", "openvino", "cuda", "coreml"),
    )
    batch_size: int = _setting(16, "pictures extracted together while indexing", minimum=1)
    cache_bytes: int = _setting(
        4 << 30, "features held in memory to answer faster; what is over it is read from disk", minimum=0
    )
    exact_bytes: int = _setting(
        1 << 30,
        "mode auto compares with every image while their features take no more bytes (sift: about 10 000 images)",
        minimum=0,
    )
    original_mode: str = _setting(
        "exact", "mode of the original endpoints, whose answer is defined as exact: exact, fast or auto"
    )
    max_image_bytes: int = _setting(64 << 20, "largest encoded picture accepted, bytes", minimum=1)
    max_image_pixels: int = _setting(
        150_000_000, "largest decoded picture accepted, pixels (3 bytes each)", minimum=1
    )
    isolate: bool = _setting(
        os.name == "posix", "decode pictures in processes of their own, so that a bad one harms nothing else"
    )
    decode_seconds: float = _setting(10.0, "longest that decoding one picture may take, seconds", minimum=0.1)
    decode_memory: int = _setting(
        3 << 30, "most memory that decoding one picture may take, bytes", minimum=256 << 20
    )
    sift_max_side: int = _setting(
        1024,
        "pictures are reduced to this longer side for sift; 0 = never (part of the fingerprint)",
        minimum=0,
    )
    sift_max_keypoints: int = _setting(
        1000, "strongest keypoints kept for sift; 0 = all (part of the fingerprint)", minimum=0
    )
    fetch_timeout: float = _setting(20.0, "seconds a download may stand still", minimum=0.1)
    fetch_retries: int = _setting(2, "further tries of a download that failed in passing", minimum=0)
    fetch_connections: int = _setting(16, "downloads at once", minimum=1)
    state: Path = _setting(
        lambda: _data_home() / "imagefinder" / "server", "folder of what the server itself keeps: jobs and keys"
    )
    job_roots: tuple[Path, ...] = _setting(
        (), f"folders that jobs of the server may index, with all below them; several: joined by {os.pathsep!r}"
    )
    job_queue: int = _setting(256, "jobs of the server that may wait; more are answered busy", minimum=1)
    fetch_private: bool = _setting(
        False, "whether clients of the server may name addresses of private networks and of this machine"
    )
    url_queries: bool = _setting(True, "whether clients of the server may name addresses of pictures at all")
    url_seconds: float = _setting(
        20.0, "seconds a download that a client of the server asked for may take", minimum=0.1
    )
    collections: Path = _setting(
        lambda: _data_home() / "imagefinder" / "collections",
        "folder of the further collections of the server, one folder each",
    )
    explanation_seconds: float = _setting(
        3600.0, "seconds the server keeps a query for explanations and shared links", minimum=1
    )
    explanation_queries: int = _setting(1000, "queries kept so at most; the oldest goes first", minimum=1)
    explanation_bytes: int = _setting(
        256 << 20, "bytes of queries kept so at most; a larger one is not kept", minimum=0
    )
    host: str = _setting("127.0.0.1", "address the server listens on")
    port: int = _setting(5000, "port the server listens on", minimum=0)
    auth: str = _setting(
        "auto",
        "whether the server demands a key: on, off, or auto: unless it can be reached from this machine only",
        choices=("auto", "on", "off"),
    )
    allowed_hosts: tuple[str, ...] = _setting(
        (), "names under which the server may be asked, beside those of this machine and addresses in numbers"
    )
    cors_origins: tuple[str, ...] = _setting(
        (), "origins whose pages may ask the server, such as https://shop.example; * = any, with keys only"
    )
    trusted_proxies: tuple[str, ...] = _setting(
        (), "addresses or networks of proxies that are believed who the client is (X-Forwarded-For)"
    )
    concurrent: int = _setting(_cores, "requests the server computes at once", minimum=1)
    queue: int = _setting(64, "further requests that may upload or wait; more are answered busy", minimum=0)
    max_upload_bytes: int = _setting(
        512 << 20, "uploaded bytes that all requests together may hold in memory", minimum=1
    )
    max_connections: int = _setting(512, "connections held open at once; further ones are closed", minimum=1)
    request_seconds: float = _setting(
        60.0, "seconds a request may wait and compute after its upload; 0 = no limit", minimum=0
    )
    requests_per_minute: int = _setting(
        0, "requests a minute of each key, or, without keys, of each address; 0 = no limit", minimum=0
    )
    shutdown_seconds: float = _setting(
        25.0, "seconds requests in flight may go on after the signal to stop", minimum=0
    )
    log_format: str = _setting("text", "lines of the server's log", choices=("text", "json"))

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            value, minimum, choices = (getattr(self, item.name), *map(item.metadata.get, ("minimum", "choices")))
            if isinstance(value, list):  # settings are keys of what a process shares
                object.__setattr__(self, item.name, tuple(value))
            if minimum is not None and not value >= minimum:
                raise SettingsError(f"{item.name} must be at least {minimum}, not {value}")
            if choices and value not in choices:
                raise SettingsError(f"{item.name} must be one of {', '.join(choices)}, not {value!r}")

    @classmethod
    def load(
        cls,
        *,
        environment: Mapping[str, str] | None = None,
        file: Path | None = None,
        overrides: Mapping[str, Any] | None = None,
    ) -> Settings:
        """Defaults, then the TOML file, then the environment, then ``overrides`` (``None`` values are skipped).

        Args:
            environment: Variables ``IMAGEFINDER_NAME``; the process's own by default.
            file: TOML file; by default the one named by ``IMAGEFINDER_CONFIG``, if any.
            overrides: Setting name -> value.

        Raises:
            SettingsError: an unknown name, a value of the wrong type or out of range, an unreadable file.
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
        """As ``load``, and where each value that is no default comes from: setting name -> words for people."""
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
                values[name] = cls._convert(name, value, name)
                origins[name] = "command line"
        return cls(**values), origins

    @classmethod
    def _convert(cls, name: str, value: Any, origin: str) -> Any:
        types = get_type_hints(cls)
        if name not in types:
            raise SettingsError(
                f"{origin}: there is no setting {name!r}", hint=f"settings: {', '.join(sorted(types))}"
            )
        try:
            return _typed(types[name], value)
        except (TypeError, ValueError):
            raise SettingsError(f"{origin}: {name} must be {type_name(types[name])}, not {value!r}") from None

    def describe(self) -> list[tuple[str, str, str]]:
        """Every setting as (name, present value, what it does)."""
        return [
            (item.name, _plain(getattr(self, item.name)), item.metadata["help"])
            for item in dataclasses.fields(self)
        ]

    def to_toml(self, origins: Mapping[str, str]) -> str:
        """A file that gives exactly these settings, with what each does and where its value comes from.

        Args:
            origins: Setting name -> where its value comes from; what is not there is the default.
        """
        return "\n".join(
            f"# {item.metadata['help']}\n# from: {_comment(origins.get(item.name, 'default'))}\n"
            f"{item.name} = {_toml(getattr(self, item.name))}\n"
            for item in dataclasses.fields(self)
        )


def type_name(kind: Any) -> str:
    """The type of a setting, for people: ``int``, ``list of str``."""
    return f"list of {get_args(kind)[0].__name__}" if get_origin(kind) is tuple else str(kind.__name__)


def _typed(kind: Any, value: Any) -> Any:
    """A value from a file, a variable or a flag as the type of its setting.

    Raises:
        TypeError: nothing of that type.
        ValueError: likewise.
    """
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        # Paths may have commas in their names; they are joined as in PATH.
        parts = value.split(os.pathsep if item is Path else ",") if isinstance(value, str) else value
        if not isinstance(parts, list | tuple):
            raise TypeError
        return tuple(_typed(item, part.strip() if isinstance(value, str) else part) for part in parts if part)
    if kind is Path:
        return Path(value).expanduser()
    if kind is str:
        if not isinstance(value, str):
            raise TypeError
        return value
    if kind is bool:
        return value if isinstance(value, bool) else _truth(value)
    if isinstance(value, bool) or (kind is int and isinstance(value, float)):
        raise TypeError
    return kind(value)


def _truth(text: Any) -> bool:
    word = str(text).strip().lower()
    if word not in _TRUTH:
        raise ValueError(word)
    return _TRUTH[word]


def _plain(value: Any) -> str:
    if isinstance(value, tuple):
        return (os.pathsep if value and isinstance(value[0], Path) else ",").join(map(str, value)) or "(none)"
    return str(value)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    # A JSON string is a TOML string, but for this one character.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def _comment(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)


def _is_link(variable: str, text: str) -> bool:
    """Container platforms set such variables for a service that happens to be called imagefinder."""
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
