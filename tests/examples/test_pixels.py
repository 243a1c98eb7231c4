"""The example on pictures: joints are mirrored as pictures are and read off maps, and the study runs."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from examples.pixels.networks import flipped, targets
from examples.pixels.poses import drawn
from examples.pixels.rendering import render
from examples.pixels.study import HEADER, SMOKE, read_off, run, table, write

ROOT = Path(__file__).parents[2]


def test_joints_lie_where_the_people_are() -> None:
    pictures = render(drawn(4, True), 0)
    assert pictures.pixels.shape == (4, 3, 64, 64) and pictures.joints.shape == (4, 17, 2)
    inside = ((pictures.joints > -6) & (pictures.joints < 70)).float().mean()
    assert inside > 0.95
    assert torch.equal(render(drawn(4, True), 0).pixels, pictures.pixels)


@pytest.mark.parametrize("offset", [0.0, 1.5])
def test_joints_are_read_off_the_maps_that_they_make(offset: float) -> None:
    joints = 12 + 36 * torch.rand(5, 17, 2, generator=torch.Generator().manual_seed(0))
    maps = targets(joints - torch.tensor([offset, 0.0]), 16)
    assert torch.allclose(read_off(maps, offset), joints, atol=0.2)


def test_mirrored_pictures_have_mirrored_joints() -> None:
    pictures = render(drawn(2, True), 0)
    which = torch.tensor([True, False])
    pixels, joints = flipped(pictures.pixels, pictures.joints, which)
    assert torch.equal(pixels[0], pictures.pixels[0].flip(-1)) and torch.equal(joints[1], pictures.joints[1])
    assert torch.allclose(joints[0, 4, 0], 63 - pictures.joints[0, 1, 0])
    again = flipped(pixels, joints, which)
    assert torch.equal(again[0], pictures.pixels) and torch.allclose(again[1], pictures.joints, atol=1e-4)


@pytest.mark.thorough
def test_the_study_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHIRALIZE_DATA", raising=False)
    _, _, outcome = run(SMOKE, lambda text: None)
    write(tmp_path / "results.csv", outcome)
    assert [way.passes for way in outcome.ways[:3]] == [1, 2, 2]
    assert (tmp_path / "results.csv").read_text().splitlines()[0] == ",".join(HEADER)


def test_the_page_says_what_the_results_say() -> None:
    folder = ROOT / "examples" / "pixels"
    rows = list(csv.reader((folder / "results.csv").read_text().splitlines()))
    page = (folder / "README.md").read_text()
    assert rows[0] == list(HEADER) and len(rows) == 5
    for row in rows[1:]:
        assert f"| {' | '.join(row)} |" in page
    ratios = [float(row[4]) for row in rows[1:]]
    assert ratios[3] <= 0.96 and ratios == [ratios[0], max(ratios), ratios[2], min(ratios)]
    assert len(table(())) == 0
