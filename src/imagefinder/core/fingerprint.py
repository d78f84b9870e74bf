"""What made a feature: enough to know whether two features may be compared."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Name, version, parameters and weights of an extractor.

    Attributes:
        method: Name of the method.
        version: Version of the extraction; raised whenever the same picture would give other features.
        parameters: Everything that changes the features; values are JSON values.
        weights: SHA-256 of the weight file, hexadecimal; empty where there is none.
    """

    method: str
    version: int
    parameters: Mapping[str, Any] = field(default_factory=dict)
    weights: str = ""

    def to_json(self) -> str:
        """Canonical text: sorted keys, no spaces; equal fingerprints give equal text."""
        return json.dumps(
            {
                "method": self.method,
                "version": self.version,
                "parameters": dict(self.parameters),
                "weights": self.weights,
            },
            sort_keys=True,
            separators=(",", ":"),
        )

    @classmethod
    def from_json(cls, text: str) -> Fingerprint:
        """Read what ``to_json`` wrote.

        Raises:
            ValueError: the text is no fingerprint.
        """
        try:
            data = json.loads(text)
            made = cls(data["method"], data["version"], data["parameters"], data["weights"])
        except (KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"not a fingerprint: {text[:100]}") from error
        kinds = {"method": str, "version": int, "parameters": dict, "weights": str}
        if not all(isinstance(getattr(made, name), kind) for name, kind in kinds.items()):
            raise ValueError(f"not a fingerprint: {text[:100]}")
        return made

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits that stand for the whole."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:12]

    def difference(self, other: Fingerprint) -> str:
        """In words: every value that differs, this one's first; empty when equal."""
        parts = []
        for name in ("method", "version", "weights"):
            ours, theirs = getattr(self, name), getattr(other, name)
            if ours != theirs:
                parts.append(f"{name} {ours or 'none'} against {theirs or 'none'}")
        for key in sorted({*self.parameters, *other.parameters}):
            ours, theirs = self.parameters.get(key), other.parameters.get(key)
            if ours != theirs:
                parts.append(f"{key} {ours!r} against {theirs!r}")
        return "; ".join(parts)
