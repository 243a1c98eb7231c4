"""The format of the page: one more file, and checkpoints of one more trainer are read and put back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from chiralize.storage import formats
from chiralize.storage.format import Format
from chiralize.storage.load import load_model
from chiralize.storage.registry import known_formats
from chiralize.storage.sniff import sniff
from chiralize.storage.writing_back import write_back
from tests.support.trainer_files import FACTORY, weights

PAGE = Path(__file__).parents[2] / "docs" / "add-a-format.md"


@pytest.fixture
def with_distilled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The file that the page shows, among the formats."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "formats").mkdir()
    (tmp_path / "formats" / "distilled.py").write_text(code)
    monkeypatch.setattr(formats, "__path__", [*formats.__path__, str(tmp_path / "formats")])
    known_formats.cache_clear()
    yield
    known_formats.cache_clear()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    student = {**weights("net."), "temperature": torch.ones(1)}
    torch.save({"student": student, "teacher": weights(seed=1), "step": 3}, tmp_path / "s.pt")
    return tmp_path / "s.pt"


def test_without_the_file_it_is_any_checkpoint(path: Path) -> None:
    assert sniff(path) == "state_dict"
    with pytest.raises(Exception, match=r"(?s)2 tables fit the network.*--key student or --key teacher"):
        load_model(path, factory=FACTORY)


def test_one_more_file_is_one_more_format(with_distilled: None, path: Path, tmp_path: Path) -> None:
    assert sniff(path) == "distilled"
    loaded = load_model(path, factory=FACTORY)
    assert loaded.format == "distilled" and loaded.notes[0] == "took the entry 'student', which holds the weights"
    assert torch.equal(loaded.module.state_dict()["first.weight"], weights()["first.weight"])
    assert loaded.origin is not None
    state = {name: tensor + 1 for name, tensor in loaded.module.state_dict().items()}
    notes = write_back(loaded.origin, state, tmp_path / "out.pt", "{}")
    assert notes[0].startswith("written as a checkpoint of our trainer")
    written = torch.load(tmp_path / "out.pt")
    assert torch.equal(written["student"]["net.first.weight"], state["first.weight"]) and written["step"] == 3
    assert all(torch.equal(written["teacher"][name], tensor) for name, tensor in weights(seed=1).items())


def test_formats_are_the_files_of_their_folder() -> None:
    names = {path.stem for path in Path(formats.__path__[0]).glob("*.py")} - {"__init__"}
    assert set(known_formats()) == names
    assert all(isinstance(record, Format) and record.name == name for name, record in known_formats().items())
    ranks = [record.rank for record in known_formats().values()]
    assert ranks == sorted(ranks, reverse=True)
    assert all(record.load or record.arrays for record in known_formats().values())
