"""The SLEAP importer: skeleton files, label files, and references that lead nowhere."""

import json

import pytest

from chiralize import errors
from chiralize.body.skeleton.dialects import import_skeleton


def _node(name: str) -> dict:
    return {"py/object": "sleap.skeleton.Node", "py/state": {"py/tuple": [name, 1.0]}}


def _type(number: int) -> dict:
    return {"py/reduce": [{"py/type": "sleap.skeleton.EdgeType"}, {"py/tuple": [number]}]}


SLEAP_LINKS = [
    {"edge_insert_idx": 0, "key": 0, "source": _node("nose"), "target": _node("eyeL"), "type": _type(1)},
    {"edge_insert_idx": 1, "key": 0, "source": {"py/id": 1}, "target": _node("eyeR"), "type": {"py/id": 3}},
]
SLEAP_SYMMETRY = [
    {"key": 0, "source": {"py/id": 2}, "target": {"py/id": 4}, "type": _type(2)},
    {"key": 0, "source": {"py/id": 4}, "target": {"py/id": 2}, "type": {"py/id": 5}},
]
SLEAP_NODES = [{"id": {"py/id": 1}}, {"id": {"py/id": 2}}, {"id": {"py/id": 4}}]
SLEAP = {
    "description": "x",
    "nx_graph": {
        "directed": True,
        "graph": {"name": "face", "num_edges_inserted": 2},
        "links": SLEAP_LINKS + SLEAP_SYMMETRY,
        "multigraph": True,
        "nodes": SLEAP_NODES,
    },
    "preview_image": {"py/b64": "AA"},
}
SLEAP_BARE = {"graph": {"name": "face"}, "links": SLEAP_LINKS, "nodes": SLEAP_NODES}
SLEAP_LABELS = {
    "nodes": [{"name": "nose", "weight": 1.0}, {"name": "eyeL", "weight": 1.0}, {"name": "eyeR", "weight": 1.0}],
    "skeletons": [
        {
            "graph": {"name": "face"},
            "links": [
                {"source": 0, "target": 1, "type": _type(1)},
                {"source": 1, "target": 2, "type": _type(2)},
                {"source": 0, "target": 2, "type": {"py/id": 1}},
            ],
            "nodes": [{"id": 0}, {"id": 1}, {"id": 2}],
        }
    ],
}


FILES = {"skeleton": SLEAP, "without symmetries": SLEAP_BARE, "labels": SLEAP_LABELS}


@pytest.mark.parametrize("case", FILES)
def test_every_form_gives_the_same_face(tmp_path, case):
    path = tmp_path / "face.json"
    path.write_text(json.dumps(FILES[case]))
    notices: list[str] = []
    skeleton = import_skeleton("sleap", path, notices)
    assert (skeleton.joints, skeleton.pairs) == (("nose", "eyeL", "eyeR"), ((1, 2),))
    assert skeleton.edges == ((0, 1), (0, 2)) and skeleton.name == "face"
    assert any("no pairs: they are inferred" in notice for notice in notices) == (case == "without symmetries")


BAD = {
    "sleap slp": ("sleap", "a.slp", "\x89HDF", "ImportFormatError", "HDF5"),
    "sleap none": ("sleap", "a.json", "{}", "ImportFormatError", "`nodes` and `links`"),
    "sleap dangling": (
        "sleap",
        "a.json",
        json.dumps(SLEAP_BARE | {"nodes": [{"id": {"py/id": 99}}]}),
        "ImportFormatError",
        "refers to no node",
    ),
    "sleap type": (
        "sleap",
        "a.json",
        json.dumps(SLEAP_BARE | {"links": [{"source": _node("a"), "target": _node("b"), "type": _type(7)}]}),
        "ImportFormatError",
        "",
    ),
    "sleap half a link": (
        "sleap",
        "a.json",
        json.dumps({"nodes": [], "links": [{"source": _node("a")}]}),
        "ImportFormatError",
        "",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_files_that_cannot_be_imported(tmp_path, case):
    tool, name, text, error, words = BAD[case]
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(getattr(errors, error)) as caught:
        import_skeleton(tool, path, [])
    assert words in caught.value.facts and str(path) in caught.value.where
