"""python -m examples.lifting: see README.md in this folder."""

from __future__ import annotations

from pathlib import Path

from examples.lifting.study import tasks
from examples.study.command import study

SUMMARY = "2D to 3D pose lifting: ordinary networks, averaged over both views, converted, and chiral from scratch."
app = study(tasks, SUMMARY, Path(__file__).parent)

if __name__ == "__main__":
    app()
