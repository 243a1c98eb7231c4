"""The study of recognition."""

from __future__ import annotations

from pathlib import Path

from examples.recognition.tasks import tasks
from examples.study.example import Example

EXAMPLE = Example("recognition", tasks, Path(__file__).parent)
