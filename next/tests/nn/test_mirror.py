"""T in the open: its laws on arrays and tensors of every kind, against T written with plain torch and numpy."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._pytree import tree_leaves

from chiralize import Mirror
from chiralize.body.spec import parse_spec
from chiralize.errors import ChiralizeError, UsageError
from chiralize.symmetry.action import act
from tests.support.pixel_nets import pixels
from tests.support.zoo import CASES
from tests.support.zoo.case import H36M, Case, pose
from tests.support.zoo.judging import answers

WITHOUT_STATES = [name for name, case in CASES.items() if None not in (*case.turns_in, *case.turns_out)]
ROBOT = """\
skeleton: {joints: [trunk, l_hip, l_knee, r_hip, r_knee], pairs: [[l_hip, r_hip], [l_knee, r_knee]], dims: [q],
  negate: [q], lateral: y}
inputs: [{fields: [{vector: velocity}, {axial: spin}, {scalar: 2, name: command}, {joints: positions}]}]
outputs: [{fields: [{joints: torques}]}]
"""
DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int8, torch.complex64)
PIXELS = """\
skeleton: h36m
inputs: [{layout: b j d, dims: [x, y], reflect: {x: 320}}]
outputs: [{layout: b j d, dims: [x, y], reflect: {x: 500}}]
"""
BODIES = ("h36m", "coco", "smpl-24")


def drawn(shape: Any, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def turned_pixels(x: Any, center: float) -> Any:
    """T: joints swap, x is mirrored at the centre. x: "... joint coord"."""
    out = x.copy()
    for a, b in H36M:
        out[..., [a, b], :] = out[..., [b, a], :]
    out[..., 0] = 2 * center - out[..., 0]
    return out


def mirror_of(case: Case) -> Mirror:
    args, kwargs = case.example()
    shapes = [tuple(answer.shape) for answer in answers(case.model(), case)[0]]
    return Mirror.of(parse_spec(case.spec), example=(args, kwargs), output_shapes=shapes)


@pytest.mark.parametrize("name", WITHOUT_STATES)
def test_it_is_the_mirror_of_every_network_of_the_zoo(name: str) -> None:
    """Layouts, several tensors, classes that swap, robot fields: as T is written beside the networks."""
    case = CASES[name]
    tensors = [leaf for leaf in tree_leaves(case.steps(1)[0]) if isinstance(leaf, Tensor)]
    mirror = mirror_of(case)
    images = mirror.inputs(*tensors) if len(tensors) > 1 else (mirror.inputs(tensors[0]),)
    assert len(images) == len(case.turns_in)
    for turn, tensor, image in zip(case.turns_in, tensors, images, strict=True):
        assert turn is not None and torch.equal(image, turn(tensor))
    outs = [drawn(tensor.shape, 1) for tensor in mirror.output_tensors or ()]
    images = mirror.outputs(*outs) if len(outs) > 1 else (mirror.outputs(outs[0]),)
    for turn, tensor, image in zip(case.turns_out, outs, images, strict=True):
        assert turn is not None and torch.equal(image, turn(tensor))
    with pytest.raises(UsageError):
        mirror.inputs(*tensors, tensors[0])


@given(st.sampled_from(BODIES), st.integers(1, 3), st.integers(0, 99), st.sampled_from(DTYPES), st.booleans())
def test_twice_is_nothing_and_numpy_agrees(body: str, rows: int, seed: int, dtype: torch.dtype, flat: bool) -> None:
    """T(T(x)) = x bit for bit; numpy, torch, the module and `act` give the same numbers, all new."""
    joints = len(Mirror.of(body).spec.skeleton.joints)
    layout = "b t (j d)" if flat else "b t j d"
    shape = (rows, 2, 3 * joints) if flat else (rows, 2, joints, 3)
    mirror = Mirror.of(body, input_shapes=[(1, 4, *shape[2:])], input_layouts=[layout])
    x = (drawn(shape, seed) * 50).to(dtype)
    image = mirror(x)
    assert image.dtype == dtype and torch.equal(mirror(image), x) and not torch.equal(image, x)
    assert torch.equal(image, mirror.module()(x))
    (tensor,) = mirror.described([shape])
    assert tensor.representation is not None and torch.equal(image, act(x, tensor.representation))
    assert torch.equal(mirror(x[0]), image[0])  # a sample without the batch
    if dtype != torch.bfloat16:
        array = x.numpy().copy()
        of_array = mirror(array)
        assert of_array.dtype == array.dtype and np.array_equal(of_array, image.numpy())
        assert np.array_equal(array, x.numpy())


@given(st.integers(0, 99), st.floats(-3, 3), st.floats(-3, 3))
def test_linear_where_there_is_no_centre(seed: int, a: float, b: float) -> None:
    mirror = Mirror.of("h36m", input_shapes=[(1, 17, 3)])
    x, y = drawn((3, 17, 3), seed), drawn((3, 17, 3), seed + 1)
    assert torch.equal(mirror(a * x + b * y), a * mirror(x) + b * mirror(y))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_pixels_are_mirrored_at_their_centre(dtype: torch.dtype) -> None:
    mirror = Mirror.of(parse_spec(PIXELS), input_shapes=[(1, 17, 2)], output_shapes=[(1, 17, 2)])
    x = pixels(5, 17, 2, dtype=dtype)
    assert np.array_equal(mirror(x.numpy()), turned_pixels(x.numpy(), 320.0))
    assert torch.equal(mirror(x), torch.from_numpy(turned_pixels(x.numpy(), 320.0)))
    assert torch.equal(mirror.outputs(x), torch.from_numpy(turned_pixels(x.numpy(), 500.0)))
    assert torch.equal(mirror.module()(x), mirror(x)) and torch.equal(mirror(x[1]), mirror(x)[1])
    assert float((mirror(mirror(x)) - x).abs().max()) <= 640 * torch.finfo(dtype).eps
    whole = x.long()
    assert torch.equal(mirror(whole), torch.from_numpy(turned_pixels(whole.numpy(), 320)))


def test_a_centre_that_whole_numbers_cannot_hold_is_refused() -> None:
    mirror = Mirror.of(parse_spec(PIXELS.replace("320", "320.25")), input_shapes=[(1, 17, 2)])
    with pytest.raises(UsageError):
        mirror(torch.zeros(1, 17, 2, dtype=torch.int64))
    with pytest.raises(UsageError):
        mirror(np.zeros((1, 17, 2), np.int32))
    assert float(mirror(torch.zeros(1, 17, 2))[0, 0, 0]) == 640.5


def test_a_robot_by_its_fields() -> None:
    """Velocity, angular velocity, a command, joints: written out by hand."""
    mirror = Mirror.of(parse_spec(ROBOT), input_shapes=[(1, 13)], output_shapes=[(1, 5)])
    x = torch.arange(1.0, 14.0)[None]
    expected = [1, -2, 3, -4, 5, -6, 7, 8, -9, -12, -13, -10, -11]
    assert mirror(x)[0].tolist() == expected and mirror(x.numpy())[0].tolist() == expected
    assert mirror.outputs(torch.arange(1.0, 6.0))[None][0].tolist() == [-1, -4, -5, -2, -3]


def test_gradients_flow_and_inputs_stay() -> None:
    mirror = Mirror.of("h36m", input_shapes=[(1, 17, 3)])
    x = drawn((2, 17, 3), 0).requires_grad_()
    weights = drawn((2, 17, 3), 1)
    (mirror(x) * weights).sum().backward()
    assert x.grad is not None and torch.equal(x.grad, mirror(weights))  # T is its own transpose
    assert torch.autograd.gradcheck(mirror, drawn((1, 17, 3), 2).requires_grad_())


def test_the_module_moves_exports_compiles_and_is_copied() -> None:
    mirror = Mirror.of("h36m", input_shapes=[(2, 27, 17, 2)])
    module = mirror.module()
    x = torch.randn(2, 27, 17, 2)
    assert not list(module.parameters()) and module.state_dict() == {}
    sizes = ({0: torch.export.Dim.AUTO, 1: torch.export.Dim.AUTO},)
    program = torch.export.export(module, (x,), dynamic_shapes=(sizes,)).module()
    longer = torch.randn(5, 9, 17, 2)
    assert torch.equal(program(longer), mirror(longer))
    assert torch.equal(torch.compile(module, backend="eager")(x), mirror(x))
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module)), module.double(), module.half()):
        assert torch.equal(other(x), mirror(x))
    assert torch.equal(pickle.loads(pickle.dumps(mirror))(x), mirror(x))


def test_values_may_lie_in_structures() -> None:
    mirror = Mirror.of("h36m", input_shapes=[(1, 17, 2), (1, 17, 3)])
    x, y = torch.randn(4, 17, 2), np.random.default_rng(0).normal(size=(4, 17, 3))
    image = mirror({"x": x, "more": [y, "text", None]})
    assert torch.equal(image["x"], mirror(x, y)[0]) and np.array_equal(image["more"][0], mirror(x, y)[1])
    assert image["more"][1:] == ["text", None]


def test_without_sizes_every_call_is_read_by_its_own() -> None:
    mirror = Mirror.of("h36m")
    for shape in ((3, 17, 3), (3, 9, 17, 2)):
        x = drawn(shape, 0)
        sized = Mirror.of("h36m", input_shapes=[shape])
        assert torch.equal(mirror(x), sized(x)) and torch.equal(mirror.outputs(x), sized(x))
    with pytest.raises(ChiralizeError):
        mirror(torch.zeros(3, 51))
    assert torch.equal(Mirror.of("h36m", io="output")(x), mirror(x))


def test_free_tensors_and_scores_stay() -> None:
    given = parse_spec("skeleton: h36m\ninputs: [{layout: b j d}, {free: true}]\noutputs: [{invariant: true}]\n")
    mirror = Mirror.of(given, input_shapes=[(1, 17, 3), (1, 4)], output_shapes=[(1, 10)])
    table, scores = torch.randn(7, 4), torch.randn(3, 10)
    assert mirror(torch.randn(2, 17, 3), table)[1] is table and mirror.outputs(scores) is scores


SIZED = Mirror.of("h36m", input_shapes=[(1, 17, 2)])
REFUSED: dict[str, Callable[[], Any]] = {
    "sizes": lambda: SIZED(torch.zeros(4, 16, 2)),
    "rank": lambda: SIZED(torch.zeros(1, 2, 17, 2)),
    "unsigned": lambda: SIZED(torch.zeros(1, 17, 2, dtype=torch.uint8)),
    "unsigned array": lambda: SIZED(np.zeros((1, 17, 2), np.uint16)),
    "text": lambda: SIZED(np.full((1, 17, 2), "a")),
    "nothing": lambda: SIZED(3),
    "two": lambda: SIZED(torch.zeros(1, 17, 2), torch.zeros(1)),
    "one shape": lambda: Mirror.of("h36m", input_shapes=(1, 17, 2)),  # type: ignore[arg-type]
    "both": lambda: Mirror.of("h36m", input_shapes=[(1, 17, 2)], example=1),
    "side": lambda: Mirror.of("h36m", io="in"),  # type: ignore[arg-type]
    "module": lambda: Mirror.of("h36m").module(),
    "like": lambda: Mirror.of(parse_spec("skeleton: h36m\noutputs: [{like: input 0}]"), output_shapes=[(1, 17, 3)]),
    "state": lambda: Mirror.of(parse_spec("skeleton: h36m\ninputs: [{state: true}]"), input_shapes=[(1, 8)])(
        torch.zeros(1, 8)
    ),
    "classes": lambda: Mirror.of(parse_spec("skeleton: h36m\noutputs: [{classes: {swap: [[0, 1]]}}]")).outputs(
        torch.zeros(4, dtype=torch.int64)
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_mirrored_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        REFUSED[name]()


def test_booleans_are_swapped() -> None:
    seen = torch.rand(3, 17, 2) > 0.5
    assert torch.equal(SIZED(seen), pose()(seen.long() * 1).abs().bool())
    assert np.array_equal(SIZED(seen.numpy()), SIZED(seen).numpy()) and torch.equal(SIZED.module()(seen), SIZED(seen))


def test_it_says_what_it_is() -> None:
    assert repr(SIZED) == "<Mirror of h36m-17, inputs: b j d>"
    assert repr(SIZED.outputs) == "<Mirror of h36m-17, outputs: read by their shapes>"
    assert "input 0: b j d" in repr(SIZED.module())
