"""Timing of the stages of a task."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class Stopwatch:
    """Measures the stages of one task.

    Attributes:
        stages: Stage -> seconds, in order of execution.
    """

    stages: dict[str, float] = field(default_factory=dict)
    _start: float = field(default_factory=time.perf_counter)
    _last: float = field(default_factory=time.perf_counter)

    def lap(self, stage: str) -> None:
        """Add the time since the previous lap to this stage."""
        now = time.perf_counter()
        self.stages[stage] = self.stages.get(stage, 0.0) + now - self._last
        self._last = now

    def total(self) -> Mapping[str, float]:
        """Stage -> seconds, with the time since the start as ``total``."""
        return {**self.stages, "total": time.perf_counter() - self._start}
