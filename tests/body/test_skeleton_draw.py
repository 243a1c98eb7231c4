"""Drawings of skeletons in text and as pictures."""

import io
import sys

import pytest
from rich.console import Console

from chiralize.body.skeleton.catalog import load_skeleton, shipped
from chiralize.errors import OutputFileError, UsageError
from chiralize.report.skeleton_picture import save_picture, table, tree


def _text(renderable) -> str:
    out = io.StringIO()
    Console(file=out, width=200).print(renderable)
    return out.getvalue()


def test_table_lists_index_name_side_partner_and_signs():
    lines = _text(table(load_skeleton("h36m"))).splitlines()
    assert lines[0].split() == ["#", "joint", "side", "partner", "signs", "of", "x", "y", "z"]
    assert lines[5].split() == ["4", "left_hip", "left", "1", "right_hip", "-", "+", "+"]
    assert lines[8].split() == ["7", "spine", "center", "-", "+", "+"]


def test_tree_puts_partners_into_one_row():
    rows = [line.split() for line in _text(tree(load_skeleton("h36m"))).splitlines()]
    assert rows[0] == ["left", "center", "right"]
    assert ["left_knee", "right_knee"] in rows and ["spine"] in rows
    assert sum(len(row) for row in rows[1:]) == 17
    assert tree(load_skeleton("cassie")) is None


@pytest.mark.parametrize("name", shipped())
def test_every_joint_with_an_edge_is_drawn(name):
    skeleton = load_skeleton(name)
    drawn = tree(skeleton)
    if drawn is not None:
        text = _text(drawn)
        assert all(skeleton.joints[i] in text for edge in skeleton.edges for i in edge)


def test_markup_in_names_is_text():
    from chiralize.body.skeleton.skeleton import Skeleton

    skeleton = Skeleton("s", ("[red]a", "b"), ((0, 1),), edges=((0, 1),))
    assert "[red]a" in _text(table(skeleton)) and "[red]a" in _text(tree(skeleton))


def test_picture_is_written_or_refused(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    save_picture(load_skeleton("coco"), tmp_path / "coco.svg")
    assert (tmp_path / "coco.svg").read_text().count("left_eye") >= 1 or (tmp_path / "coco.svg").stat().st_size > 1000
    with pytest.raises(OutputFileError):
        save_picture(load_skeleton("cassie"), tmp_path / "none" / "a.png")
    for name in ("a.unknown", "a"):
        with pytest.raises(OutputFileError, match=r"ends in \.png, \.svg or \.pdf"):
            save_picture(load_skeleton("cassie"), tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["coco.svg"]
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UsageError, match="matplotlib is not installed"):
        save_picture(load_skeleton("coco"), tmp_path / "b.png")
