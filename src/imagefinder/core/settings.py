"""All settings in one frozen object; environment, TOML file and command line use the same names."""

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
    """A field with its one-line description; ``default`` may be a factory."""
    metadata = {"help": text, "minimum": minimum, "choices": tuple(choices)}
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings; ``describe()`` lists them with their descriptions.

    ``Settings()`` has the defaults; ``Settings.load()`` also reads the settings file and the environment.
    """

    collection: Path = _setting(lambda: _data_home() / "imagefinder" / "default", "folder of the collection")
    models: Path = _setting(
        lambda: _data_home() / "imagefinder" / "models", "folder of downloaded and imported model weights"
    )
    store: str = _setting("embedded", "kind of store: embedded (on disk) or memory")
    threads: int = _setting(_cores, "number of threads for decoding, feature extraction and networks", minimum=1)
    precision: str = _setting(
        "auto",
        "numeric precision of networks: auto (f32), f32, bf16 or int8 (all but f32 change the fingerprint)",
        choices=("auto", "f32", "bf16", "int8"),
    )
    tokens: str = _setting(
        "float32",
        "element type of BEiT tokens: float32, or int8, which takes a quarter of the space and is faster to "
        "compare (int8 changes the fingerprint)",
        choices=("float32", "int8"),
    )
    provider: str = _setting(
        "auto",
        "execution provider of networks: auto (cpu), cpu, openvino, cuda or coreml",
        choices=("auto", "cpu", "openvino", "cuda", "coreml"),
    )
    batch_size: int = _setting(16, "images per batch when adding images", minimum=1)
    cache_bytes: int = _setting(
        4 << 30,
        "maximum bytes of features cached in memory; the rest is read from disk for each search",
        minimum=0,
    )
    exact_bytes: int = _setting(
        1 << 30,
        "mode auto scores every image while the features take at most this many bytes (sift: about 10 000 images)",
        minimum=0,
    )
    original_mode: str = _setting(
        "exact", "search mode of the original (v0) endpoints: exact, as they are defined, fast or auto"
    )
    max_image_bytes: int = _setting(64 << 20, "maximum size of an encoded image in bytes", minimum=1)
    max_image_pixels: int = _setting(
        150_000_000, "maximum size of a decoded image in pixels (3 bytes each)", minimum=1
    )
    isolate: bool = _setting(
        os.name == "posix", "decode images in separate processes, so that a crash affects only one image"
    )
    decode_seconds: float = _setting(10.0, "maximum seconds to decode one image", minimum=0.1)
    decode_memory: int = _setting(3 << 30, "maximum bytes of memory to decode one image", minimum=256 << 20)
    sift_max_side: int = _setting(
        1024,
        "sift: images are downscaled to this longer side in pixels; 0 = never (part of the fingerprint)",
        minimum=0,
    )
    sift_max_keypoints: int = _setting(
        1000, "sift: number of strongest keypoints kept per image; 0 = all (part of the fingerprint)", minimum=0
    )
    fetch_timeout: float = _setting(20.0, "idle timeout of downloads in seconds", minimum=0.1)
    fetch_retries: int = _setting(2, "number of retries after a transient download failure", minimum=0)
    fetch_connections: int = _setting(16, "maximum number of concurrent downloads", minimum=1)
    state: Path = _setting(
        lambda: _data_home() / "imagefinder" / "server", "folder of the server's own state: jobs and API keys"
    )
    job_roots: tuple[Path, ...] = _setting(
        (), f"folders (with subfolders) that server jobs may add images from, separated by {os.pathsep!r}"
    )
    job_queue: int = _setting(256, "maximum number of waiting server jobs; more are rejected as busy", minimum=1)
    fetch_private: bool = _setting(
        False, "whether server clients may name URLs in private networks and on this machine"
    )
    url_queries: bool = _setting(True, "whether server clients may name image URLs at all")
    url_seconds: float = _setting(20.0, "maximum seconds of a download requested by a server client", minimum=0.1)
    collections: Path = _setting(
        lambda: _data_home() / "imagefinder" / "collections",
        "folder of the server's additional collections, one subfolder each",
    )
    explanation_seconds: float = _setting(
        3600.0, "seconds the server keeps a search result for explanations and shared links", minimum=1
    )
    explanation_queries: int = _setting(
        1000, "maximum number of search results kept; the oldest is dropped first", minimum=1
    )
    explanation_bytes: int = _setting(
        256 << 20, "maximum bytes of search results kept; a larger one is not kept", minimum=0
    )
    host: str = _setting("127.0.0.1", "address the server listens on")
    port: int = _setting(5000, "port the server listens on", minimum=0)
    auth: str = _setting(
        "auto",
        "whether the server requires an API key: on, off, or auto (on if other machines can reach the server)",
        choices=("auto", "on", "off"),
    )
    allowed_hosts: tuple[str, ...] = _setting(
        (), "accepted host names of the server, in addition to those of this machine and IP addresses"
    )
    cors_origins: tuple[str, ...] = _setting(
        (), "origins whose pages may send requests, such as https://shop.example; * = any (API keys required)"
    )
    trusted_proxies: tuple[str, ...] = _setting(
        (), "addresses or networks of proxies whose X-Forwarded-For header is trusted"
    )
    concurrent: int = _setting(_cores, "number of requests the server computes concurrently", minimum=1)
    queue: int = _setting(
        64, "maximum number of further requests that upload or wait; more are rejected as busy", minimum=0
    )
    max_upload_bytes: int = _setting(
        512 << 20, "maximum bytes of uploads in memory, for all requests together", minimum=1
    )
    max_connections: int = _setting(512, "maximum number of open connections; further ones are closed", minimum=1)
    request_seconds: float = _setting(
        60.0, "maximum seconds a request may wait and compute after its upload; 0 = no limit", minimum=0
    )
    requests_per_minute: int = _setting(
        0, "maximum requests per minute for each API key or, without keys, each address; 0 = no limit", minimum=0
    )
    shutdown_seconds: float = _setting(
        25.0, "maximum seconds to finish requests in flight after the stop signal", minimum=0
    )
    log_format: str = _setting("text", "format of the server log", choices=("text", "json"))

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
        """Load settings: defaults, TOML file, environment and ``overrides``, in increasing precedence.

        Args:
            environment: Variables ``IMAGEFINDER_NAME``; default: the environment of the process.
            file: TOML file; default: the one named by ``IMAGEFINDER_CONFIG``, if any.
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
        """Load settings as ``load`` does, and return setting name -> origin for those that are not the default."""
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
                f"{origin}: unknown setting {name!r}", hint=f"settings: {', '.join(sorted(types))}"
            )
        try:
            return _typed(types[name], value)
        except (TypeError, ValueError):
            raise SettingsError(f"{origin}: {name} must be {type_name(types[name])}, not {value!r}") from None

    def describe(self) -> list[tuple[str, str, str]]:
        """Every setting as (name, value, description)."""
        return [
            (item.name, _plain(getattr(self, item.name)), item.metadata["help"])
            for item in dataclasses.fields(self)
        ]

    def to_toml(self, origins: Mapping[str, str]) -> str:
        """These settings as a TOML file with comments on the meaning and origin of each value.

        Args:
            origins: Setting name -> description of its origin; settings without one are defaults.
        """
        return "\n".join(
            f"# {item.metadata['help']}\n# from: {_comment(origins.get(item.name, 'default'))}\n"
            f"{item.name} = {_toml(getattr(self, item.name))}\n"
            for item in dataclasses.fields(self)
        )


def type_name(kind: Any) -> str:
    """Readable name of the type of a setting, for example ``int`` or ``list of str``."""
    return f"list of {get_args(kind)[0].__name__}" if get_origin(kind) is tuple else str(kind.__name__)


def _typed(kind: Any, value: Any) -> Any:
    """Convert a value from a file, an environment variable or the command line to the type of its setting.

    Raises:
        TypeError, ValueError: the value cannot be converted.
    """
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        # Paths may contain commas, so they are separated as in PATH.
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
    # A JSON string is a valid TOML string, except for this character.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def _comment(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)


def _is_link(variable: str, text: str) -> bool:
    """Whether a container platform set this variable for a service named imagefinder."""
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
