"""Mistakes in entries, layouts and shapes: error, place, numbers and remedy."""

import pytest

from chiralize import errors
from chiralize.body.tensors import load_spec, parse_layout, parse_spec, resolve

H = "skeleton: h36m\n"
BAD_ENTRIES = {
    "unknown key": (H + "inputs: [{layot: b j d}]", "UnknownKeyError", 2, "no key 'layot'", "'layout'"),
    "unknown top key": (H + "input: []", "UnknownKeyError", 2, "no key 'input'", "'inputs'"),
    "inputs as map": (H + "inputs: {layout: b}", "WrongValueError", 2, "inputs must be a list", ""),
    "two kinds": (H + "inputs: [{free: true, state: true}]", "WrongValueError", 2, "both `free` and `state`", ""),
    "dims of a state": (H + "inputs: [{state: true, dims: [x]}]", "WrongValueError", 2, "no meaning beside", ""),
    "free maybe": (H + "inputs: [{free: maybe}]", "WrongValueError", 2, "true or false", ""),
    "layout with twice j": (H + "inputs:\n - {layout: b j j d}", "WrongValueError", 3, "'j' stands twice", "dims: []"),
    "layout with thrice j": (H + "inputs:\n - {layout: b j j j}", "WrongValueError", 3, "'j' stands too often", ""),
    "layout of a bare string": (H + "inputs:\n - b (j d", "WrongValueError", 3, "'(' without ')'", ""),
    "f without fields": (H + "inputs: [{layout: b f}]", "WrongValueError", 2, "no `fields`", ""),
    "fields without f": (
        H + "inputs: [{layout: b j, fields: [{joints: q}]}]",
        "WrongValueError",
        2,
        "beside `fields`",
        "mark",
    ),
    "fields merged": (H + "inputs: [{layout: (b f), fields: [{joints: q}]}]", "WrongValueError", 2, "merged", ""),
    "fields empty": (H + "inputs: [{fields: []}]", "WrongValueError", 2, "empty", ""),
    "field of two kinds": (H + "inputs: [{fields: [{vector: a, axial: b}]}]", "WrongValueError", 2, "vector", "one of"),
    "field unknown": (H + "inputs: [{fields: [{vectr: a}]}]", "UnknownKeyError", 2, "'vectr'", "'vector'"),
    "scalar zero": (H + "inputs: [{fields: [{scalar: 0}]}]", "WrongValueError", 2, "0 entries", ""),
    "scalar as name": (H + "inputs: [{fields: [{scalar: phase}]}]", "WrongValueError", 2, "whole number", ""),
    "signs in a field": (H + "inputs: [{fields: [{signs: [1, 0]}]}]", "WrongValueError", 2, "'0'", ""),
    "joint unknown": (H + "inputs: [{joints: [hips]}]", "UnknownNameError", 2, "'hips'", "'hip'"),
    "joint half": (H + "inputs: [{joints: [left_hip]}]", "UnpairedJointError", 2, "'right_hip'", ""),
    "joints none": (H + "inputs: [{joints: []}]", "WrongValueError", 2, "empty", "free: true"),
    "dims all unknown": (H + "inputs: [{dims: [u, v]}]", "MissingKeyError", 2, "none of which", "negate"),
    "negate unknown": (H + "inputs: [{dims: [x, y], negate: [z]}]", "UnknownNameError", 2, "'z'", "x, y"),
    "reflect unknown": (H + "inputs: [{reflect: {w: 1}}]", "UnknownNameError", 2, "'w'", ""),
    "reflect text": (H + "inputs: [{reflect: {x: half}}]", "WrongValueError", 2, "number", ""),
    "a history that nobody could list": (
        H + "inputs: [{fields: [{history: 10000, of: [{scalar: 1000000}]}]}]",
        "WrongValueError",
        2,
        "fields of 10000000000 entries, more than 1000000",
        "",
    ),
    "missing": (H + "inputs: [{missing: nan}]", "WrongValueError", 2, "'nan', not one of none, zero", ""),
    "skeleton unknown": (H + "inputs: [{skeleton: coko}]", "UnknownNameError", 2, "'coko'", "'coco'"),
    "classes without swap": (H + "outputs: [{classes: {names: [a]}}]", "MissingKeyError", 2, "without `swap`", ""),
    "class by name": (H + "outputs: [{classes: {swap: [[a, b]]}}]", "MissingKeyError", 2, "no `names`", ""),
    "class unknown": (
        H + "outputs: [{classes: {swap: [[wav, walk]], names: [wave, walk]}}]",
        "UnknownNameError",
        2,
        "'wav'",
        "'wave'",
    ),
    "class twice": (H + "outputs: [{classes: {swap: [], names: [a, a]}}]", "WrongValueError", 2, "'a' is listed", ""),
    "class chain": (H + "outputs: [{classes: {swap: [[0, 1], [1, 2]]}}]", "NotAnInvolutionError", 2, "swaps with", ""),
    "class with itself": (
        H + "outputs: [{classes: {swap: [[1, 1]]}}]",
        "WrongValueError",
        2,
        "class '1' is paired with itself",
        "",
    ),
    "class pair": (
        H + "outputs: [{classes: {swap: [0, 1]}}]",
        "WrongValueError",
        2,
        "swap lists pairs, and '0'",
        "[[A",
    ),
    "activation": (H + "activation: relu", "WrongValueError", 2, "'relu', not one of keep, tanh", ""),
}


@pytest.mark.parametrize("case", BAD_ENTRIES)
def test_mistakes_in_entries(case):
    text, name, line, facts, remedy = BAD_ENTRIES[case]
    with pytest.raises(getattr(errors, name)) as caught:
        parse_spec(text, "net.yaml")
    assert type(caught.value).__name__ == name
    assert caught.value.where == f"net.yaml:{line}"
    assert facts in caught.value.facts
    assert remedy in caught.value.remedy


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no axis"),
        ("b ((j d))", "parentheses inside"),
        ("b ()", "empty parentheses"),
        ("b j)", "')' without '('"),
        ("b (j d", "'(' without ')'"),
        ("... b ...", "'...' twice"),
        ("b (... j)", "inside parentheses"),
        ("b j j d", "'j' stands twice beside d"),
        ("b j j j", "'j' stands too often"),
        ("b j d d d", "'d' stands too often"),
        ("b, j", "',' is not a word"),
        ("b 2 d", "'2' is not a word"),
        ("b j-d", "'-' is not a word"),
    ],
)
def test_layouts_that_cannot_be_read(text, reason):
    with pytest.raises(errors.WrongValueError) as caught:
        parse_layout(text)
    assert reason in caught.value.facts and repr(text) in caught.value.facts


def _refusal(text: str, shape: tuple[int, ...], kind: str = "input") -> errors.SpecError:
    spec = parse_spec(text, "net.yaml")
    with pytest.raises(errors.SpecError) as caught:
        resolve(spec, [shape] if kind == "input" else [], [shape] if kind == "output" else [])
    return caught.value


def test_joint_and_coordinate_merged_is_always_ambiguous():
    error = _refusal(H, (1, 34))
    assert isinstance(error, errors.AmbiguousLayoutError)
    assert str(error) == (
        "AmbiguousLayoutError CH108  input 0: shape (1, 34) fits 2 layouts of h36m-17: 'b (j d)', 'b (d j)'\n"
        '    Fix: say which, --input-layout "b (j d)" or `layout:` in the file; '
        "(j d) is x, y of one joint, then of the next, (d j) is x of all joints, then y of all"
    )


def test_all_coordinates_are_likelier_than_a_part_of_them() -> None:
    """Two people in a clip are no x and y, where x, y and z have an axis."""
    message = str(_refusal("skeleton: ntu-25", (1, 2, 100, 25, 3)))
    assert "'b t u j d', 'b d t j u'" in message and '--input-layout "b t u j d"' in message


@pytest.mark.parametrize(
    ("text", "shape", "layouts"),
    [
        (H, (17, 17, 17, 2), ["'b j t d'", "'b t j d'"]),
        (H, (8, 2, 17, 3), ["'b d j t'", "'b t j d'"]),
        ("skeleton: openpose", (2, 3, 300, 18, 2), ["'b d t j u'", "'b t u j d'"]),
        (H, (4, 243, 51), ["'b t (j d)'", "'b t (d j)'"]),
        (H, (4, 34, 243), ["'b (j d) t'", "'b (d j) t'"]),
    ],
)
def test_ambiguous_sizes_list_every_candidate(text, shape, layouts):
    error = _refusal(text, shape)
    assert isinstance(error, errors.AmbiguousLayoutError)
    assert all(layout in error.facts for layout in layouts)
    assert error.facts.count("'") == 2 * len(layouts)


SIZES = {
    "other joints": (H, (8, 16, 3), "no layout fits shape (8, 16, 3): h36m-17 has 17 joints", "h36m-16 has 16 joints"),
    "one coordinate": (H, (8, 17, 1), "seems to have one number of every joint", "dims: [x]}] for one coordinate"),
    "a number": (H, (8, 17), "seems to have one number of every joint", "dims: [] for a score"),
    "a confidence beside three": (
        H,
        (8, 17, 4),
        "dims ['x', 'y', 'z'], the network seems to have 4 numbers of every joint",
        'skeleton: h36m-17, inputs: [{layout: "b j d", dims: [x, y, z, c]}], with c in `negate` too if the mirror',
    ),
    "six merged": (H, (8, 102), "seems to have 6 numbers", 'layout: "b (j d)", dims: [x, y, z, c1, c2, c3]}]'),
    "coordinates and then confidences": (
        H,
        (8, 68, 9),
        "seems to have 4 numbers of every joint",
        '; or, where the coordinates of all joints stand before what else each has, inputs: [{layout: "b f t", fields: '
        "[{joints: position}, {joints: confidence, kind: scalar}]}]",
    ),
    "two bodies": (
        H,
        (8, 9, 136),
        "seems to have 8 numbers of every joint",
        '; or, of 2 bodies one after the other, inputs: [{layout: "b t (m j d)", dims: [x, y, z, c]}]',
    ),
    "named numbers": (
        H,
        (8, 9, 23),
        "so an axis of size 17",
        ", or describe what its numbers are by `fields` in a file",
    ),
    "several could be": (H, (8, 5, 17, 7), "beside the axis of size 17 none has the size of the coordinates", ""),
    "joints axis": (H + "inputs: [b j d]", (8, 16, 3), "size 16 is not j=17", "of 16 joints: h36m-16, h36m-sh-16"),
    "four coordinates": (
        H + "inputs: [b j d]",
        (8, 17, 4),
        "4 coordinates",
        'inputs: [{layout: "b j d", dims: [x, y, z, c]}]',
    ),
    "matrices": (H + "inputs: [b j d d]", (8, 17, 3, 2), "axis 3 of layout 'b j d d': size 2 is not d=3", "dims are"),
    "matrices merged": (H + "inputs: [b j (d d)]", (8, 17, 6), "size 6 is not d=3 x d=3", "17 joints"),
    "given dims": (H + "inputs: [{layout: b j d, dims: [x, y]}]", (8, 17, 3), "size 3 is not d=2", "(3)"),
    "merged": (H + "inputs: [{layout: b (j d), dims: [x, y]}]", (8, 35), "size 35 is not j=17 x d=2", "17 joints"),
    "merged rest": (H + "inputs: [b (j d)]", (8, 35), "size 35 is not j=17 x d=?", ""),
    "two open": (H + "inputs: [b (t j d)]", (8, 102), "2 sizes are open", "`dims`"),
    "axes": (H + "inputs: [b j d]", (8, 5, 17, 3), "3 axes, the tensor has 4", "..."),
    "too few axes": (H + "inputs: ['b ... t j d']", (17, 3), "needs 4 axes or more, the tensor has 2", ""),
    "j alone": (H + "inputs: [b j]", (8, 17), "has j but no d", "dims: []"),
    "class names": (H + "inputs: [{classes: {swap: [], names: [a, b]}}]", (8, 3), "2 class names", ""),
    "class index": (H + "inputs: [{classes: {swap: [[0, 7]]}}]", (8, 3), "class 7", "from 0"),
    "fields": (
        "skeleton: a1\ninputs: [{fields: [{vector: v}, {joints: q}]}]",
        (8, 16),
        "the fields make 15 entries (v 3 + q 12), but axis 1 has size 16",
        "correct the list: {joints: NAME}, {vector: NAME}, ",
    ),
    "fields of one number a joint": (
        H + "inputs: [{fields: [{joints: position}, {joints: confidence}]}]",
        (8, 68),
        "the fields make 102 entries (position 51 + confidence 51), but axis 1 has size 68",
        "{joints: confidence} is 3 numbers for each joint (x, y, z): for one that has no sign, such as a confidence",
    ),
    "fields without one number a joint": (
        H + "inputs: [{fields: [{joints: position}]}]",
        (8, 68),
        "the fields make 51 entries (position 51), but axis 1 has size 68",
        "17 are missing, as many as the body has joints: {joints: NAME, kind: scalar} for what each joint has",
    ),
    "fields of joints": (
        "skeleton: a1\ninputs: [{fields: [{vector: v}, {joints: q}]}]",
        (8, 27),
        "the fields make 15 entries (v 3 + q 12), but axis 1 has size 27",
        "12 are missing, as many as the body has joints: {joints: NAME} for what each joint has",
    ),
    "fields of joints twice": (
        "skeleton: a1\ninputs: [{fields: [{vector: v}, {joints: q}]}]",
        (8, 39),
        "but axis 1 has size 39",
        "24 (2 times 12) are missing, as many as the body has joints",
    ),
}


@pytest.mark.parametrize("case", SIZES)
def test_sizes_that_do_not_fit(case):
    text, shape, facts, remedy = SIZES[case]
    error = _refusal(text, shape)
    assert isinstance(error, errors.LayoutSizeError) and error.code == "CH109"
    assert facts in error.facts or facts in str(error)
    assert remedy in error.remedy
    assert error.where.startswith("input 0")


def test_scores_without_a_body_hint_at_invariant():
    assert "--invariant" in _refusal(H, (8, 60), "output").remedy


def test_wrong_numbers_of_tensors_list_the_shapes():
    error = _refusal(H + "inputs: [b j d, free]", (8, 17, 3))
    assert isinstance(error, errors.WrongValueError)
    assert error.where == "net.yaml:2" and error.facts == "2 inputs are described, the model has 1: (8, 17, 3)"


def test_vector_fields_need_a_lateral_axis():
    text = "joints: [a]\npairs: []\ndims: [q]\nnegate: []\ninputs: [{fields: [{vector: v}]}]"
    error = _refusal(text, (8, 3))
    assert isinstance(error, errors.MissingKeyError) and "lateral: y" in error.remedy


def test_per_joint_signs_on_separate_axes_are_no_product():
    text = "joints: [a, b, w]\npairs: [[0, 1]]\nsigns: {w: [1, -1, 1]}\ninputs: [b j d]"
    error = _refusal(text, (8, 3, 3))
    assert "no product" in error.facts and "(j d)" in error.remedy
    assert "has no j" in _refusal(text.replace("b j d", "b d"), (8, 3)).facts


def test_reflect_needs_a_negated_coordinate_of_the_tensor():
    assert "not negated" in _refusal(H + "inputs: [{layout: b j d, reflect: {y: 3}}]", (8, 17, 2)).facts
    assert "no dim 'z'" in _refusal(H + "inputs: [{layout: b j d, reflect: {z: 3}}]", (8, 17, 2)).facts


@pytest.mark.parametrize(
    ("like", "words"), [("input 9", "no tensor is called 'input 9'"), ("output 0", "itself like"), ("inputt 0", "")]
)
def test_like_must_name_a_tensor(like, words):
    spec = parse_spec(H + f"inputs: [b j d]\noutputs: [{{like: {like}}}]", "net.yaml")
    with pytest.raises(errors.SpecError) as caught:
        resolve(spec, [(1, 17, 3)], [(1, 17, 3)])
    assert words in caught.value.facts and caught.value.where == "net.yaml:3"


def test_like_of_another_shape():
    spec = parse_spec(H + "inputs: [b j d]\noutputs: [{like: input 0}]", "net.yaml")
    with pytest.raises(errors.LayoutSizeError, match="that tensor has shape"):
        resolve(spec, [(1, 17, 3)], [(1, 17, 2)])


@pytest.mark.parametrize(
    ("entry", "read", "answered"),
    [
        ("b t (j d)", (2, 8, 51), (2, 3, 51)),
        ("{layout: b t j d, reflect: {x: 320}}", (2, 8, 17, 3), (2, 1, 17, 3)),
        ("{fields: [{joints: angles}, {scalar: 1, name: speed}]}", (2, 8, 52), (2, 5, 52)),
        ("{classes: {swap: [[0, 1]]}, layout: b t classes}", (2, 8, 3), (2, 5, 3)),
    ],
)
def test_like_of_another_number_of_frames_is_as_its_layout_says(entry, read, answered):
    spec = parse_spec(H + f"inputs: [b t j d, {entry}]\noutputs: [{{like: input 1}}, {{like: input 1}}]", "net.yaml")
    resolved = resolve(spec, [(2, 8, 17, 3), read], [answered, read])
    said = parse_spec(H + f"inputs: [b t j d]\noutputs: [{entry}]", "net.yaml")
    expected = resolve(said, [(2, 8, 17, 3)], [answered]).output_tensors[0]
    assert resolved.outputs[0] == expected.representation
    assert resolved.outputs[1] == resolved.inputs[1]
    assert (resolved.output_tensors[0].center is None) == (expected.center is None)


def test_names_of_tensors_stand_in_messages():
    with pytest.raises(errors.SpecError, match=r"input 0 'pose_2d'"):
        resolve(load_spec("h36m"), [(1, 34)], [], input_names=["pose_2d"])


def test_options_are_named_where_they_are_wrong():
    with pytest.raises(errors.WrongValueError, match="--input-layout 2"):
        load_spec("h36m", input_layouts=["b j d", "b (j"])


@pytest.mark.parametrize(
    ("shape", "remedy"),
    [
        ((1, 3, 1, 1), 'say along which axis they are: layout: "b classes a2 a3"'),
        ((3, 7), 'say along which axis they are: layout: "classes a1"'),
        ((1, 3, 3, 1), "list every class once"),
        ((1, 4), "list every class once"),
    ],
)
def test_classes_along_another_axis(shape: tuple[int, ...], remedy: str) -> None:
    spec = parse_spec("{skeleton: coco, outputs: [{classes: {swap: [[l, r]], names: [l, r, both]}}]}")
    with pytest.raises(errors.LayoutSizeError, match="3 class names, but axis") as caught:
        resolve(spec, [(1, 17, 2)], [shape])
    assert caught.value.remedy == remedy


POSES = "inputs: [{layout: b t j d, name: past, reflect: {x: 320}}]\noutputs:\n"
FEEDS = {
    "a window": ("{layout: b t j d, feeds: past, reflect: {x: 320}}", (4, 3, 17, 2), ""),
    "a frame": ("{layout: b j d, feeds: past, reflect: {x: 320}}", (4, 17, 2), ""),
    "like it": ("{like: past, feeds: past}", (4, 9, 17, 2), ""),
    "another coordinate": ("{layout: b t j d, feeds: past, negate: [y]}", (4, 9, 17, 2), "acts on output 0 otherwise"),
    "another centre": ("{layout: b j d, feeds: past, reflect: {x: 160}}", (4, 17, 2), "acts on output 0 otherwise"),
    "nothing": ("{invariant: true, feeds: past}", (4, 9, 17, 2), "acts on output 0 otherwise than on input 0 'past'"),
}


@pytest.mark.parametrize("case", FEEDS)
def test_what_feeds_an_input_is_turned_as_that_is(case: str) -> None:
    output, shape, words = FEEDS[case]
    spec = parse_spec(f"{H}{POSES}  - {output}")
    if not words:
        assert len(resolve(spec, [(4, 9, 17, 2)], [shape]).handed) == 1
        return
    with pytest.raises(errors.WrongValueError, match=words) as caught:
        resolve(spec, [(4, 9, 17, 2)], [shape])
    assert caught.value.where == "<text>:4" and "one layout" in caught.value.remedy


def test_one_output_feeds_an_input() -> None:
    spec = parse_spec("skeleton: h36m\ninputs: [b j d]\noutputs: [b j d, {layout: b j d, feeds: input 0}]\n")
    assert [step.output for step in resolve(spec, [(4, 17, 2)], [(4, 17, 2)] * 2).handed] == [1]
    spec = parse_spec(f"{H}inputs: [b j d]\noutputs:\n" + "  - {layout: b j d, feeds: input 0}\n" * 2)
    with pytest.raises(errors.WrongValueError, match="input 0 is fed by output 0 and by output 1") as caught:
        resolve(spec, [(4, 17, 2)], [(4, 17, 2)] * 2)
    assert caught.value.where == "<text>:5"


def test_a_state_that_an_output_feeds_is_turned_as_that_is() -> None:
    """And not as the state that stands in its place in the order."""
    states = "{state: true, name: first}, {state: true, name: second}"
    fed = "{layout: b j d, feeds: first}, {state: true, feeds: second}, {state: true}"
    spec = parse_spec(f"{H}inputs: [b j d, {states}]\noutputs: [{fed}]\n")
    resolved = resolve(spec, [(4, 17, 2)] * 3, [(4, 17, 2)] * 3)
    assert resolved.joined == ((("input", 1), ("output", 0)), (("input", 2), ("output", 1)))
    crossed = parse_spec(
        f"{H}inputs: [b j d, {states}]\noutputs: [b j d, {{state: true, feeds: second}}, {{state: true}}]\n"
    )
    resolved = resolve(crossed, [(4, 17, 2)] * 3, [(4, 17, 2)] * 3)
    assert resolved.joined == ((("input", 2), ("output", 1)), (("input", 1), ("output", 2)))
    assert {(step.input, step.output) for step in resolved.handed} == {(2, 1), (1, 2)}
