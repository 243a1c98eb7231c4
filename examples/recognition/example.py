"""The study of recognition."""

from __future__ import annotations

from pathlib import Path

from examples.recognition.tasks import tasks
from examples.study.example import Example

EXAMPLE = Example(
    "recognition",
    tasks,
    Path(__file__).parent,
    short=("actions, 64 frames, 216", "top1_percent", "right, %"),
)
