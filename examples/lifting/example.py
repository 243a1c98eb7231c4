"""The study of lifting, and what its page shows beyond the frame's own tables and pictures."""

from __future__ import annotations

from pathlib import Path

from examples.lifting.actions import action_tables, draw_limited
from examples.lifting.study import tasks
from examples.study.example import Example

EXAMPLE = Example(
    "lifting",
    tasks,
    Path(__file__).parent,
    {"actions": action_tables},
    [draw_limited],
    ("1 frame, 512", "MPJPE mm", "error, mm"),
)
