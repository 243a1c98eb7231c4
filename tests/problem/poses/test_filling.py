"""Poses in every layout, and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from chiralize.body.tensors import parse_spec, resolve
from chiralize.body.tensors.resolved import ResolvedTensor
from chiralize.problem.poses.filling import Form, UnfitError

SIZES = {"b": 4, "t": 9, "j": 17, "d": 2, "1": 1, "m": 2}


def tensor_of(entry: str, shape: tuple[int, ...], skeleton: str = "h36m") -> ResolvedTensor:
    spec = parse_spec(f"skeleton: {skeleton}\ninputs: [{entry}]\noutputs: [{{free: true}}]\n")
    return resolve(spec, [shape], [(4, 1)]).input_tensors[0]


def laid_out(layout: str) -> ResolvedTensor:
    shape = []
    for word in layout.replace("(", " ( ").replace(")", " ) ").split():
        if word == "(":
            shape.append(-1)
        elif word != ")":
            if shape and shape[-1] < 0:
                shape[-1] *= SIZES[word]
            else:
                shape.append(SIZES[word])
        elif shape:
            shape[-1] = abs(shape[-1])
    return tensor_of(f"{{layout: {layout}, dims: [x, y]}}", tuple(shape))


@pytest.mark.parametrize(
    "layout",
    [
        "b t j d",
        "b j d",
        "b d t j",
        "b t (j d)",
        "b (j d)",
        "b (d j)",
        "b (t j d)",
        "b (j d) t",
        "b d t j 1",
        "b 1 j d",
    ],
)
def test_layouts(layout: str) -> None:
    tensor = laid_out(layout)
    form = Form.of(tensor)
    frames = 9 if "t" in layout else 1
    values = np.random.default_rng(0).normal(size=(4, frames, 17, 2))
    filled = form.filled(values)
    assert filled.shape == tensor.shape and form.frames == frames
    assert tensor.pose is not None
    for index in (
        (0,) * filled.ndim,
        tuple(size - 1 for size in filled.shape),
        tuple(size // 2 for size in filled.shape),
    ):
        words = dict(tensor.pose.positions(index))
        assert filled[index] == values[words["b"], words.get("t", 0), words["j"], words["d"]]
    assert np.allclose(form.read(torch.from_numpy(filled)), values)


def test_scores_are_one() -> None:
    form = Form.of(tensor_of("{layout: b j d, dims: [x, y, c]}", (4, 18, 3), "openpose"))
    filled = form.filled(np.zeros((4, 1, 18, 2)))
    assert (filled[..., 2] == 1).all() and (filled[..., :2] == 0).all() and form.coordinates == 2


REFUSED = {
    "{layout: b j d, dims: [q, r], negate: [q]}": "input 0 has the dims q, r, and poses have x y or x y z",
    "{layout: b j d, dims: [x, y], negate: [y]}": "the mirror of input 0 negates y, and not x alone",
    "{layout: b m j d, dims: [x, y]}": "layout 'b m j d' has axes other than samples, frames, joints and coordinates",
    "{layout: t j d, dims: [x, y]}": "input 0 has no samples along its first axis",
    "{free: true}": "input 0 is no pose",
}


@pytest.mark.parametrize("entry", REFUSED)
def test_what_is_no_positions_is_refused(entry: str) -> None:
    shape = (4, 2, 17, 2) if " m " in entry else (4, 17, 2)
    with pytest.raises(UnfitError) as caught:
        Form.of(tensor_of(entry, shape))
    assert str(caught.value) == REFUSED[entry]
