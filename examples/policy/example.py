"""The study of a policy."""

from __future__ import annotations

from pathlib import Path

from examples.policy.task import tasks
from examples.study.example import Example

EXAMPLE = Example(
    "policy",
    tasks,
    Path(__file__).parent,
    short=("Ant, all turns shown", "error_percent", "error of the torques, %"),
)
