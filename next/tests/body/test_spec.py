"""Specifications: entries, layouts, fields and classes, resolved against the shapes of a model."""

import json
from fractions import Fraction

import numpy as np
import pytest

from chiralize.body.catalog import load_skeleton
from chiralize.body.layout import parse_layout
from chiralize.body.resolve import resolve
from chiralize.body.spec import Spec, load_spec, parse_spec
from chiralize.errors import WrongValueError
from chiralize.symmetry.representation import TensorRepresentation

H36M = load_skeleton("h36m")
ROBOT = """
skeleton: quadruped
inputs:
  - fields:
      [{vector: base_velocity}, {axial: angular_velocity}, {vector: gravity}, {signs: [1, -1, -1], name: command},
       {joints: q}, {joints: dq}, {joints: last_action}, {scalar: 2, name: phase}]
outputs: [{fields: [{joints: action}]}]
"""


def _mirror_pose(values: np.ndarray, joint_axis: int, coord_axis: int) -> np.ndarray:
    """The mirror of h36m poses written from the definition: swap by name, negate x."""
    names = list(H36M.joints)
    swap = {"left": "right", "right": "left"}
    parts = [name.partition("_") for name in names]
    order = [names.index(f"{swap[side]}_{rest}") if side in swap else i for i, (side, _, rest) in enumerate(parts)]
    out = np.moveaxis(np.take(values, order, joint_axis), coord_axis, -1).copy()
    out[..., 0] *= -1
    return np.moveaxis(out, -1, coord_axis)


LAYOUTS = {
    "b t j d": ((2, 5, 17, 3), (2, 3)),
    "b j d": ((4, 17, 2), (1, 2)),
    "b d j": ((4, 3, 17), (2, 1)),
    "b d t j": ((2, 3, 5, 17), (3, 1)),
    "b d t j m": ((2, 3, 5, 17, 2), (3, 1)),
    "... j d": ((2, 3, 4, 17, 2), (3, 4)),
    "j b d": ((17, 6, 2), (0, 2)),
}


@pytest.mark.parametrize("text", LAYOUTS)
def test_layouts_with_axes_of_their_own(text):
    shape, (joint_axis, coord_axis) = LAYOUTS[text]
    values = np.random.default_rng(0).normal(size=shape)
    representation = resolve(load_spec("h36m", input_layouts=[text]), [shape], []).inputs[0].representation
    assert representation is not None and representation.shape == shape
    assert (representation.act(values) == _mirror_pose(values, joint_axis, coord_axis)).all()


@pytest.mark.parametrize("text", ["b (j d)", "b (d j)", "(b j d)", "b (t j d)", "(d t j) b", "b (j t d)"])
def test_merged_axes_are_the_separate_ones_reshaped(text):
    rng = np.random.default_rng(1)
    layout = parse_layout(text)
    sizes = {"b": 3, "t": 4, "j": 17, "d": 2}
    separate = [sizes[word] for word in layout.words]
    shape = tuple(int(np.prod([sizes[word] for word in axis])) for axis in layout.axes)
    spec = parse_spec(f"skeleton: h36m\ninputs: [{{layout: '{text}', dims: [x, y]}}]")
    representation = resolve(spec, [shape], []).inputs[0].representation
    values = rng.normal(size=separate)
    expected = _mirror_pose(values, layout.words.index("j"), layout.words.index("d"))
    assert representation is not None
    assert (representation.act(values.reshape(shape)) == expected.reshape(shape)).all()


@pytest.mark.parametrize("text", ["b t j d d", "b t j (d d)", "b t (j d d)", "b d (t j) d", "d j d t b"])
def test_matrices_have_two_coordinate_axes(text):
    """A rotation R becomes M R M."""
    layout, sizes = parse_layout(text), {"b": 2, "t": 4, "j": 17, "d": 3}
    separate = [sizes[word] for word in layout.words]
    shape = tuple(int(np.prod([sizes[word] for word in axis])) for axis in layout.axes)
    resolved = resolve(parse_spec(f"skeleton: h36m\ninputs: [{{layout: '{text}'}}]"), [shape], [])
    representation, values = resolved.inputs[0].representation, np.random.default_rng(3).normal(size=separate)
    first, second = (place for place, word in enumerate(layout.words) if word == "d")
    expected = _mirror_pose(values, layout.words.index("j"), first).swapaxes(first, second).copy()
    expected = _negated(expected, first).swapaxes(first, second)
    assert representation is not None
    assert (representation.act(values.reshape(shape)) == expected.reshape(shape)).all()
    last = [size - 1 for size in shape]
    assert resolved.label("input", 0, last) == "right_wrist.z.z"


def _negated(values: np.ndarray, axis: int) -> np.ndarray:
    """Without its first coordinate's sign."""
    out = np.moveaxis(values, axis, -1).copy()
    out[..., 0] *= -1
    return np.moveaxis(out, -1, axis)


@pytest.mark.parametrize(
    ("layout", "axes"), [("b j d t", (0, 1, 2, 3)), ("b t j d", (0, 3, 1, 2)), ("b d t j", (0, 2, 3, 1))]
)
def test_signs_of_joints_on_axes_of_their_own(layout: str, axes: tuple[int, ...]) -> None:
    """Rotations beside a translation, as motion diffusion has them: the whole joint has the opposite signs."""
    rotation = [1, -1, -1, -1, 1, 1]
    signs = dict.fromkeys(("root", "left", "right"), rotation) | {"move": [-sign for sign in rotation]}
    text = "joints: [root, left, right, move]\npairs: [[left, right]]\ndims: [a, b, c, d, e, f]\nnegate: []\n"
    values = np.random.default_rng(2).normal(size=(2, 4, 6, 5))
    expected = values[:, [0, 2, 1, 3]] * np.array(list(signs.values()))[None, :, :, None]
    moved = values.transpose(axes)
    representation = (
        resolve(parse_spec(f"{text}signs: {signs}\ninputs: [{layout}]"), [moved.shape], []).inputs[0].representation
    )
    assert representation is not None and (representation.act(moved) == expected.transpose(axes)).all()


# ---- inferring layouts ---------------------------------------------------------------------------------------------
INFERRED = {
    ("h36m", (1, 243, 17, 2)): "b t j d",
    ("h36m", (1, 1, 17, 3)): "b t j d",
    ("h36m", (8, 17, 2)): "b j d",
    ("h36m", (8, 3, 17)): "b d j",
    ("ntu", (4, 3, 64, 25, 1)): "b d t j u",
    ("quadruped", (8, 12)): "b j",
    ("quadruped", (8, 12, 1)): "b j t",
    ("quadruped", (8, 30, 12)): "b t j",
    ("hand-21", (8, 21, 3)): "b j d",
}


@pytest.mark.parametrize("case", INFERRED)
def test_unambiguous_sizes_need_no_layout(case):
    name, shape = case
    tensor = resolve(load_spec(name), [shape], []).inputs[0]
    assert tensor.layout == INFERRED[case]
    explicit = resolve(load_spec(name, input_layouts=[tensor.layout]), [shape], []).inputs[0].representation
    assert tensor.representation == explicit


STDS = ("{layout: b j, negate: []}", "{layout: b j, dims: [q], negate: []}", "{fields: [{joints: std}], negate: []}")


@pytest.mark.parametrize("entry", [*STDS, "{layout: b j, dims: []}", "{layout: b j, signs: [1]}"])
def test_standard_deviations_have_no_signs(entry):
    """`negate: []` says that nothing is negated, whatever signs the skeleton's joints have of their own."""
    spec = parse_spec(f"skeleton: quadruped\noutputs: [{{layout: b j}}, {entry}]")
    mean, spread = resolve(spec, [], [(2, 12), (2, 12)]).representations("output")
    values = np.random.default_rng(0).normal(size=(2, 12))
    assert mean is not None and spread is not None
    assert (spread.act(values) == np.abs(mean.act(np.ones(12)[None])) * spread.act(values)).all()
    assert spread.is_sign_free and not mean.is_sign_free


def test_negated_dims_beside_signs_of_joints_are_refused():
    with pytest.raises(WrongValueError):
        resolve(parse_spec("skeleton: quadruped\noutputs: [{dims: [q, c], negate: [c]}]"), [], [(2, 12, 2)])
    both = parse_spec("skeleton: quadruped\noutputs: [{layout: b j d, dims: [q, c], signs: [-1, 1]}]")
    (representation,) = resolve(both, [], [(2, 12, 2)]).representations("output")
    assert representation is not None
    assert (representation.act(np.ones((2, 12, 2))) == [-1, 1]).all()


# ---- entries --------------------------------------------------------------------------------------------------------
def test_confidence_is_kept_and_other_dims_chosen():
    text = "skeleton: openpose\ninputs: [{layout: b d t j, dims: [x, y, c]}]"
    (representation,) = resolve(parse_spec(text), [(1, 3, 9, 18)], []).representations("input")
    assert representation is not None
    assert representation.axes[1].action.sign.tolist() == [-1, 1, 1]
    text = "skeleton: smpl\ninputs: [{layout: b j d, dims: [a, b, c], signs: [1, -1, -1]}]"
    (representation,) = resolve(parse_spec(text), [(1, 24, 3)], []).representations("input")
    assert representation is not None and representation.axes[2].action.sign.tolist() == [1, -1, -1]
    text = "skeleton: h36m\ninputs: [{layout: b j, dims: []}, {layout: b j, dims: [x]}, {layout: b t d}]"
    score, lateral, root = resolve(parse_spec(text), [(1, 17), (1, 17), (1, 9, 3)], []).representations("input")
    assert score and lateral and root
    assert score.is_sign_free and not score.is_trivial
    assert (lateral.axes[1].action.sign == -1).all()
    assert root.axes[2].action.sign.tolist() == [-1, 1, 1]


def test_robot_fields():
    resolved = resolve(parse_spec(ROBOT), [(5, 50)], [(5, 12)])
    inputs, outputs = resolved.inputs[0].representation, resolved.outputs[0].representation
    assert inputs is not None and outputs is not None
    action = inputs.axes[1].action
    joints = load_skeleton("quadruped").merged_action()
    assert action.sign[:12].tolist() == [1, -1, 1, -1, 1, -1, 1, -1, 1, 1, -1, -1]
    assert (action.partner[:12] == np.arange(12)).all()
    for start in (12, 24, 36):
        assert action.restrict(range(start, start + 12)) == joints
    assert action.sign[48:].tolist() == [1, 1]
    assert outputs.axes[1].action == joints
    labels = [resolved.label("input", 0, (0, place)) for place in (1, 5, 11, 12, 35, 49)]
    assert labels == ["base_velocity.y", "angular_velocity.z", "command[2]", "q.FL_hip", "dq.RR_calf", "phase[1]"]


def test_free_invariant_and_classes():
    text = """
skeleton: h36m
inputs: [{layout: b t j d}, {free: true}]
outputs:
  - {invariant: true}
  - {classes: {swap: [[wave_left, wave_right]], names: [walk, wave_left, wave_right]}}
  - {classes: {swap: [[0, 3]]}}
"""
    resolved = resolve(parse_spec(text), [(1, 2, 17, 2), (1,)], [(1, 60), (1, 3), (1, 4)])
    assert resolved.inputs[1].representation == TensorRepresentation.trivial((1,))
    assert resolved.outputs[0].representation == TensorRepresentation.trivial((1, 60))
    assert (
        str(resolved.outputs[1].representation) == "+[1: | 3: (1 2)]"
        and str(resolved.outputs[2].representation) == "+[1: | 4: (0 3)]"
    )
    assert resolved.label("output", 1, (0, 2)) == "wave_right"
    assert resolved.label("output", 0, (0, 2)) == "[0, 2]"
    assert resolved.outputs[0].layout == "invariant"


def test_invariant_option_covers_every_output():
    spec = load_spec("h36m", invariant=True)
    resolved = resolve(spec, [(1, 9, 17, 2)], [(1, 60), (1, 5)])
    assert all(output is not None and output.is_trivial for output in resolved.representations("output"))
    assert Spec.from_dict(spec.to_dict()) == spec
    with pytest.raises(WrongValueError):
        load_spec("h36m", invariant=True, output_layouts=["b j d"])


def test_states_are_left_to_inference_and_joined_in_order():
    text = """
skeleton: h36m
inputs: [{layout: b j d}, {state: true}, {state: true}]
outputs: [{layout: b j d}, {state: true}, {like: input 2}, {like: out}, {like: input 0}]
"""
    text = text.replace("{layout: b j d}, {state: true}, {like", "{layout: b j d, name: out}, {state: true}, {like")
    pose, state = (1, 17, 3), (2, 1, 64)
    resolved = resolve(parse_spec(text), [pose, state, state], [pose, state, state, pose, pose])
    assert (
        resolved.inputs[1].representation is None
        and resolved.outputs[1].representation is None
        and resolved.outputs[2].representation is None
    )
    assert (
        resolved.outputs[3].representation == resolved.outputs[0].representation == resolved.outputs[4].representation
    )
    assert (("input", 1), ("output", 1)) in resolved.joined
    assert (("input", 2), ("output", 2)) in resolved.joined
    assert resolved.label("output", 3, (0, 4, 0)) == "left_hip.x"
    crossed = parse_spec("skeleton: h36m\ninputs: [state, state]\noutputs: [{like: input 1}, state]")
    joined = resolve(crossed, [state, state], [state, state]).joined
    assert set(joined) == {(("input", 1), ("output", 0)), (("input", 0), ("output", 1))}


def test_pixels_are_mirrored_at_their_centre():
    text = "skeleton: coco\ninputs: [{{layout: '{}', dims: [x, y], reflect: {{x: 639/2}}, missing: zero}}]"
    for layout, shape in (("b j d", (2, 17, 2)), ("b (d j)", (2, 34)), ("b d t j", (2, 2, 5, 17))):
        tensor = resolve(parse_spec(text.format(layout)), [shape], []).inputs[0]
        center = tensor.center
        assert center is not None and tensor.representation is not None
        full = np.broadcast_to(center, shape)
        assert set(np.unique(full)) == {0.0, 319.5}
        values = np.random.default_rng(0).uniform(0, 639, size=shape)
        mirrored = tensor.representation.act(values - full) + full
        if layout == "b j d":
            assert np.allclose(mirrored[:, :3, 0], 639 - values[:, [0, 2, 1], 0])
            assert np.allclose(mirrored[:, 0, 1], values[:, 0, 1])
    one = parse_spec("skeleton: coco\ninputs: [{layout: b j, dims: [x], reflect: {x: 5}}]")
    assert resolve(one, [(2, 17)], []).inputs[0].center.tolist() == [[5.0]]
    assert resolve(load_spec("coco"), [(2, 17, 2)], []).inputs[0].center is None


# ---- loading ---------------------------------------------------------------------------------------------------------
def test_load_spec_takes_names_files_skeletons_and_specs(tmp_path):
    path = tmp_path / "lifter.yaml"
    path.write_text("skeleton: h36m\ninputs: [b t j d]\nhidden: {negated: 1/3}\nactivation: tanh\nname: my-lifter\n")
    spec = load_spec(path)
    assert (spec.name, spec.skeleton.joints, spec.activation) == ("my-lifter", H36M.joints, "tanh")
    assert spec.hidden.negated_for() == Fraction(1, 3)
    assert load_spec(spec) == spec and load_spec(str(path)) == spec
    assert load_spec(H36M).skeleton is H36M
    assert load_spec("h36m").name == "h36m-17"
    path.write_text("skeleton: h36m\n")
    spec = load_spec(path)
    assert (spec.name, spec.skeleton) == ("lifter", H36M)
    assert Spec.from_dict(spec.to_dict()) == spec


def test_negated_with_keep_is_noticed():
    spec = parse_spec("skeleton: h36m\nhidden: {negated: 1/3}", "f.yaml")
    assert len(spec.notices) == 1 and "f.yaml:2" in spec.notices[0] and "activation: tanh" in spec.notices[0]


def test_layout_options_replace_those_of_the_file():
    spec = parse_spec("skeleton: h36m\ninputs: [{layout: b j d, dims: [x, y]}, {free: true}]")
    first, second = load_spec(spec, input_layouts=["b (d j)"]).inputs or ()
    assert (first.layout, first.dims, second.kind) == ("b (d j)", ("x", "y"), "free")
    words = load_spec("h36m", input_layouts=["free", "state", "invariant", "auto"]).inputs or ()
    assert [tensor.kind for tensor in words] == ["free", "state", "invariant", "pose"]
    with pytest.raises(WrongValueError):
        load_spec(spec, input_layouts=["b j d"] * 3)


FULL = """
chiralize: 1
name: everything
joints: [FL_hip, FR_hip, waist, "no"]
pairs: [[FL_hip, FR_hip]]
dims: [q]
negate: []
signs: {waist: [-1]}
lateral: y
edges: [[waist, FL_hip], [waist, FR_hip]]
source: "here: and there"
inputs:
  - {name: obs, fields: [{vector: v}, {axial: w}, {scalar: 2, name: s}, {signs: [1, -1], name: t}, {joints: q}]}
  - layout: "b (j d)"
    skeleton: coco
    joints: [nose, left_eye, right_eye]
    dims: [x, y, c]
    reflect: {x: 1/3}
    missing: zero
  - {layout: b j d, negate: [q], signs: {waist: [1]}}
  - {state: true}
  - {free: true}
outputs:
  - {classes: {swap: [[a, b]], names: [a, b, c]}}
  - {classes: {swap: [[0, 1]]}}
  - {like: input 0}
  - {invariant: true}
hidden: {pairing: [skeleton, half], negated: {"a.*": 1/3, "*": 0}}
activation: tanh
"""


@pytest.mark.parametrize("text", [FULL, ROBOT, "skeleton: h36m", "skeleton: smpl\ninputs: [b j d]\noutputs: []"])
def test_dictionaries_are_json_and_self_contained(text):
    spec = parse_spec(text)
    again = Spec.from_dict(json.loads(json.dumps(spec.to_dict())))
    assert again == spec
    assert again.to_dict() == spec.to_dict()
