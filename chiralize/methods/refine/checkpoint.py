"""`--distill-checkpoint`: the state of distilling in a file, written whole or not at all, read without running code.

`refine.keeper` makes one, and `distillation.Journal` asks it. The file is a dict of `kind`, `owner` (a fingerprint of
network, inputs and number of steps, so that no other run goes on from it) and `runs`: by a run's name, of which there
is one for every result that was distilled, its trials and its state.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from chiralize.errors import UsageError
from chiralize.graph import processes
from chiralize.graph.devices import CPU
from chiralize.storage.atomic import atomic_write, check_writable, streaming

_KIND = "chiralize distillation 3"


class Checkpoint:
    """States of runs by name, in one file; processes beyond the first have files of their own, `PATH.1`, ...

    owner: what the runs belong to.  Raises UsageError for a file that belongs to something else, or is no checkpoint;
    OutputFileError where none can be written.
    """

    def __init__(self, path: Path, owner: str) -> None:
        rank = processes.rank()
        self.path = path.with_name(f"{path.name}.{rank}") if rank else path
        self.owner = owner
        check_writable(self.path)
        self.runs: dict[str, dict[str, Any]] = self._read() if self.path.exists() else {}

    def load(self, run: str) -> dict[str, Any] | None:
        """The state of a run, if the file has it."""
        return self.runs.get(run)

    def save(self, run: str, state: dict[str, Any]) -> None:
        """Raises OutputFileError."""
        self.runs[run] = state
        content = {"kind": _KIND, "owner": self.owner, "runs": self.runs}
        atomic_write(self.path, streaming(lambda stream: torch.save(content, stream)))

    def _read(self) -> dict[str, dict[str, Any]]:
        """The states in the file. Raises UsageError where it is no checkpoint of this run."""
        try:
            content = torch.load(self.path, map_location=CPU, weights_only=True)
        except Exception as error:  # torch raises many kinds of errors on files of another kind
            raise self._refused("it cannot be read as one") from error
        if not isinstance(content, dict) or content.get("kind") != _KIND:
            raise self._refused("it is another file")
        if content["owner"] != self.owner:
            raise self._refused("it belongs to another network, other inputs or another number of steps")
        return content["runs"]

    def _refused(self, why: str) -> UsageError:
        """The error for a file that is not this run's."""
        facts = f"{self.path} is no checkpoint of this run: {why}"
        return UsageError("--distill-checkpoint", facts, "name another file, or delete it to begin anew")
