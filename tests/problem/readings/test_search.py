"""Readings of inputs: layouts in their order, people, confidence, tensors without a body; and what stays open."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from chiralize.body.tensors import load_spec, parse_spec
from chiralize.errors import AmbiguousLayoutError, ChiralizeError, UsageError
from chiralize.graph.time_limit import TimeLimit
from chiralize.problem.readings.derive import Derived, derive
from chiralize.problem.readings.refusal import refusal_of_class
from tests.support.command import library_warnings

H36M = load_spec("h36m")


def derived(net: nn.Module, spec: Any = H36M, option: str = "--input-shape") -> Derived:
    return derive(net.eval(), spec, torch.float32, "forward", "net", option)


def refusal(net: nn.Module, spec: Any = H36M, option: str = "--input-shape") -> str:
    with pytest.raises(ChiralizeError) as caught:
        derived(net, spec, option)
    return str(caught.value)


class Convolution(nn.Module):
    """On `b d t j`, or with people behind."""

    def __init__(self, dims: int = 3, people: bool = False, answer: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.conv, self.people, self.answer = nn.Conv2d(dims, 3, 3, padding=1), people, answer
        self.bn = nn.BatchNorm1d(17 * dims * (2 if people else 1))

    def forward(self, x: Tensor) -> Tensor:
        assert x.ndim == (5 if self.people else 4)
        if self.people:
            b, d, t, j, m = x.shape
            x = self.bn(x.permute(0, 1, 3, 4, 2).reshape(b, d * j * m, t)).reshape(b, d, j, m, t)[:, :, :, 0]
            x = x.transpose(2, 3)
        return self.conv(x) if not self.answer else self.conv(x).mean((1, 2, 3))[:, None].expand(-1, *self.answer)


class Wide(nn.Module):
    """A layer on all numbers of a sample."""

    def __init__(self, ins: int, outs: tuple[int, ...] = (17, 3), ndim: int | None = None) -> None:
        super().__init__()
        self.fc, self.outs, self.ndim = nn.Linear(ins, torch.Size(outs).numel()), outs, ndim

    def forward(self, x: Tensor) -> Tensor:
        assert self.ndim in (None, x.ndim)
        return self.fc(x.flatten(1)).unflatten(1, self.outs)


def test_dims_first() -> None:
    call = derived(Convolution())
    assert tuple(call.call[0][0].shape) == (1, 3, 9, 17) and "b d t j = 1,3,9,17" in call.remark


def test_people() -> None:
    """Two people would be two coordinates of three frames, by sizes alone: the layout that was tried decides."""
    spec = load_spec("h36m", invariant=True)
    call = derived(Convolution(people=True, answer=(5,)), spec)
    assert tuple(call.call[0][0].shape) == (1, 3, 64, 17, 2) and "b d t j m = 1,3,64,17,2" in call.remark
    assert call.spec.inputs is not None and call.spec.inputs[0].layout == "b d t j m"


def test_confidence_is_a_coordinate_that_is_kept() -> None:
    call = derived(Wide(68))
    assert tuple(call.call[0][0].shape) == (1, 17, 4) and "b j d (x, y, z, c) = 1,17,4" in call.remark
    assert call.spec.inputs is not None and call.spec.inputs[0].override.dims == ("x", "y", "z", "c")


def test_joints_of_one_coordinate() -> None:
    spec = parse_spec("{joints: [l, r, c], pairs: [[l, r]], dims: [q], negate: []}")
    assert "b j = 1,3;" in derived(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)), spec).remark


def test_the_users_layout_fixes_all_but_the_frames() -> None:
    spec = load_spec("h36m", input_layouts=["b (d j) t"], output_layouts=["b (d j) t"])
    call = derived(nn.Conv1d(34, 51, 3), spec)
    assert tuple(call.call[0][0].shape) == (1, 34, 9)


def test_no_skeleton_of_another_kind_of_body_is_named_as_if_it_could_be() -> None:
    assert "quadruped-12" not in refusal(Wide(36, (12, 3), ndim=2), load_spec("hand-21"))
    text = refusal(Wide(42, (14, 3), ndim=2))
    assert "42 = 21 x 2: hand-21 (as many joints, but a hand); 42 = 14 x 3: aic-14, crowdpose-14" in text


@pytest.mark.thorough
def test_an_order_that_sizes_do_not_tell_is_asked_for() -> None:
    """Joint by joint or coordinate by coordinate: the two mirrors differ, and nothing in the sizes says which."""
    with pytest.raises(AmbiguousLayoutError) as caught:
        derived(nn.Sequential(nn.Linear(34, 8), nn.BatchNorm1d(8), nn.Linear(8, 51)))
    text = str(caught.value)
    assert '--input-layout "b (j d)" --output-layout "b (j d)"' in text
    assert '--input-layout "b (d j)" --output-layout "b (d j)"' in text and "with 1,34 it runs" in text
    spec = load_spec("h36m", input_layouts=["b (j d)"], output_layouts=["b (j d)"])
    assert derived(nn.Linear(34, 51), spec).remark.startswith("taken as b (j d) = 1,34;")


# ---- several tensors ------------------------------------------------------------------------------------------------
class Policy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.GRUCell(34 + 3, 6), nn.Linear(6, 51)

    def forward(self, pose: Tensor, speed: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = self.cell(torch.cat([pose.flatten(1), speed], 1), h)
        return self.head(h).unflatten(1, (17, 3)), h


class Scaled(nn.Module):
    """A number for each sample, or for each coordinate: both run."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(34, 51)

    def forward(self, pose: Tensor, scale: Tensor) -> Tensor:
        return self.fc((pose * scale[:, None]).flatten(1)).unflatten(1, (17, 3))


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(68, 51)

    def forward(self, now: Tensor, before: Tensor, step: int = 1) -> Tensor:
        return self.fc(torch.cat([now, before], 1).flatten(1)).unflatten(1, (17, 3))


class Table(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(34 + 2, 51)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return self.fc(torch.cat([batch["pose"].flatten(1), batch["goal"]], 1)).unflatten(1, (17, 3))


def test_free_inputs_and_states() -> None:
    """What a layer reads beyond the pose is the free one's; the state is as long as the cell's."""
    spec = load_spec("h36m", input_layouts=["b j d", "free", "state"], output_layouts=["b j d", "state"])
    call = derived(Policy(), spec)
    assert [tuple(tensor.shape) for tensor in call.call[0]] == [(1, 17, 2), (1, 3), (1, 6)]
    assert not call.call[0][2].any() and call.call[0][0].any()
    assert "pose: b j d = 1,17,2; speed: free = 1,3; h: state = 1,6" in call.remark


def test_like() -> None:
    spec = parse_spec("skeleton: h36m\ninputs: [{layout: b j d}, {like: input 0}]\n")
    assert [tuple(tensor.shape) for tensor in derived(Two(), spec).call[0]] == [(1, 17, 2), (1, 17, 2)]


def test_a_table_by_the_names_of_its_entries() -> None:
    spec = parse_spec("skeleton: h36m\ninputs: [{layout: b j d, name: pose}, {free: true, name: goal}]\n")
    (table,), _ = derived(Table(), spec).call
    assert {name: tuple(tensor.shape) for name, tensor in table.items()} == {"pose": (1, 17, 2), "goal": (1, 2)}


def test_a_size_that_several_numbers_fit_is_asked_for() -> None:
    spec = load_spec("h36m", input_layouts=["b j d", "free"])
    text = refusal(Scaled(), spec)
    assert "scale fits as 1,1 and 1,2" in text
    assert "--input-shape 1,17,2 --input-shape 1,1" in text
    assert "example_inputs=(torch.zeros(1,17,2), " in refusal(Scaled(), spec, "example_inputs")


@pytest.mark.parametrize("size", [1, 2])
def test_samples_tell_the_size_that_several_numbers_fit(size: int) -> None:
    spec = load_spec("h36m", input_layouts=["b j d", "free"])
    samples = {"pose": torch.zeros(9, 17, 2), "scale": torch.zeros(9, size)}
    found = derive(Scaled().eval(), spec, torch.float32, "forward", "net", "--input-shape", samples=samples)
    assert [tuple(tensor.shape) for tensor in found.call[0]] == [(1, 17, 2), (1, size)]
    with pytest.raises(ChiralizeError, match="scale fits as 1,1 and 1,2"):
        derive(
            Scaled().eval(), spec, torch.float32, "forward", "net", "--input-shape", samples={"pose": samples["pose"]}
        )


def test_arguments_that_nobody_described() -> None:
    text = refusal(Two())
    assert "takes 2 arguments (now, before)" in text and "--input-layout 'b j d' --input-layout 'b j d'" in text
    assert "input_layouts" in refusal(Two(), option="example_inputs")


# ---- what is refused ----------------------------------------------------------------------------------------------
def test_the_first_layer_names_the_skeletons_that_it_could_be() -> None:
    text = refusal(Wide(45, (15, 3), ndim=2))
    assert "Linear 'fc' reads 45 numbers" in text and "45 = 15 x 3: humaneva-15, jhmdb-15" in text


@pytest.mark.thorough
def test_a_filter_over_time_is_offered_its_frames_first() -> None:
    """It reads frames where others read joints; what answers other numbers than it reads is none."""
    text = refusal(nn.Sequential(nn.Linear(30, 8), nn.Linear(8, 30)))
    both = ", or ".join(
        f'--input-shape 1,51,30 --input-layout "b {order} t" --output-layout "b {order} t"'
        for order in ("(j d)", "(d j)")
    )
    assert f"Fix: if those 30 numbers are frames, say how the others lie: {both}; else check the skeleton (30" in text
    assert "Fix: check the skeleton (30 = 15 x 2" in refusal(nn.Sequential(nn.Linear(30, 8), nn.Linear(8, 45)))


@pytest.mark.thorough
def test_answers_without_a_reading() -> None:
    """A network of 34 numbers that are no pose answers nothing that a skeleton could read."""
    text = refusal(Wide(34, (10,)))
    assert "with 1,17,2 it runs and answers (1, 10)" in text and "class scores: --invariant" in text


@pytest.mark.thorough
def test_devices() -> None:
    class Far(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("Found no NVIDIA driver on your system")

    assert "Found no NVIDIA driver" in refusal(Far(34, 51)) and "conversions run on the CPU" in refusal(Far(34, 51))


def test_a_table_is_named() -> None:
    assert "`batch` is a table: give --input-shape pose=SIZES for every input" in refusal(Table())


@pytest.mark.parametrize(("way", "annotated"), [("[]", False), ("in", True)])
def test_a_table_that_is_asked_for_one_entry(way: str, annotated: bool) -> None:
    """Whatever forward writes of it, the network says the entry's name where it asks for it, and runs."""

    class Asking(Plain):
        def forward(self, obs: Any) -> Tensor:  # type: ignore[override]
            obs.get("mask")
            if way == "in" and "keypoints" not in obs:
                raise ValueError("it has no keypoints")
            return super().forward(obs["keypoints"])

    if annotated:
        Asking.forward.__annotations__["obs"] = dict[str, Tensor]
    (table,), _ = derived(Asking(34)).call
    assert {name: tuple(tensor.shape) for name, tensor in table.items()} == {"keypoints": (1, 17, 2)}


@pytest.mark.one_in(3)
@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), AssertionError()])
def test_a_network_that_refuses_everything(error: BaseException) -> None:
    class Stubborn(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            raise error

    text = refusal(Stubborn(34, 51))
    assert "runs in none of" in text and ("it fails every time: no" in text) == (str(error) == "no")


class Outdated(Wide):
    """Of the right sizes it is refused for something else."""

    def forward(self, x: Tensor) -> Tensor:
        super().forward(x)
        raise RuntimeError("only bool masks are supported")


def test_a_failure_that_has_nothing_to_do_with_sizes_is_named() -> None:
    """All other sizes fail at the first layer, and hid it."""
    text = refusal(Outdated(34))
    assert "runs in none of" in text and "; where sizes fit, it fails: only bool masks are supported" in text


# ---- what is left as it was -----------------------------------------------------------------------------------------
class Remembering(nn.Module):
    """Writes a buffer, an attribute and a list in every call."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(34, 51)
        self.register_buffer("last", torch.zeros(1, 34))
        self.calls, self.seen = 0, [0]

    def forward(self, x: Tensor) -> Tensor:
        assert x.ndim == 3
        self.calls += 1
        self.seen.append(self.calls)
        self.last = x.flatten(1)
        return self.fc(self.last).unflatten(1, (17, 3))


def test_the_network_is_left_as_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    net = Remembering().eval()
    before = copy.deepcopy(net.state_dict())
    assert "b j d = 1,17,2" in derived(net).remark
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert net.calls == 0 and net.seen == [0] and type(net.last) is Tensor
    assert capfd.readouterr() == ("", "")


class Numbers(Wide):
    """Looks at numbers, which fake tensors have not."""

    def forward(self, x: Tensor) -> Tensor:
        scale = float(x.numpy().std()) if self.outs else 1.0
        return super().forward(x * (2.0 if x.sum().item() > 0 else scale))


def test_real_tensors_where_fake_ones_do_not_suffice() -> None:
    assert "b j d = 1,17,3" in derived(Numbers(51)).remark


@pytest.mark.thorough
def test_torchscript() -> None:
    with library_warnings():
        scripted, other = torch.jit.script(Plain(34)), torch.jit.script(Plain(45))
    assert "b j d = 1,17,2" in derived(scripted).remark
    assert "reads 45 numbers" in refusal(other)


class Plain(nn.Module):
    def __init__(self, ins: int) -> None:
        super().__init__()
        self.fc = nn.Linear(ins, 51)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.flatten(1)).unflatten(1, (17, 3))


def test_the_same_numbers_every_time() -> None:
    one, other = derived(Wide(34)), derived(Wide(34))
    assert torch.equal(one.call[0][0], other.call[0][0]) and one.remark == other.remark


def test_usage_error_is_what_it_is() -> None:
    with pytest.raises(UsageError, match="the network runs in none of"):
        derived(Wide(7, (7,), ndim=2))


class WithLabels(nn.Module):
    """Reads clips of two people and labels of any number."""

    def __init__(self) -> None:
        super().__init__()
        self.l1 = nn.Linear(150, 10)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        clip = x.permute(0, 2, 4, 3, 1)  # 3 coordinates come second, 25 joints last but one
        assert x.ndim == 5 and tuple(x.shape[1::2]) == (3, 25)
        return self.l1(clip.mean(1).flatten(1)) + y.mean()


@pytest.mark.thorough
def test_proposed_layouts_have_the_axes_of_the_proposed_sizes() -> None:
    """Of two inputs one is of open size; the other is proposed in the layout in which it was read."""
    text = refusal(WithLabels(), load_spec("ntu", invariant=True))
    assert "--input-layout 'b d t j m' --input-layout free --input-shape 1,3," in text


# ---- readings that would say nothing --------------------------------------------------------------------------------
@pytest.mark.thorough
@pytest.mark.parametrize("net", [nn.Identity(), nn.Linear(2, 3), nn.Conv2d(3, 3, (3, 1), padding=(1, 0))], ids=str)
def test_all_joints_alike(net: nn.Module) -> None:
    """What treats joints alike commutes with every swap of them: a verdict would approve of any mirror."""
    text = refusal(net)
    assert "treats all joints alike, so that any mirror would pass" in text and "--input-shape 1," in text


def test_answers_that_are_nan_treat_no_joints_alike() -> None:
    """They are equal to nothing; what reads them next says that they are nan."""
    net = nn.Linear(34, 51)
    nn.init.constant_(net.weight, float("nan"))
    spec = load_spec("h36m", input_layouts=["b (j d)"], output_layouts=["b (j d)"])
    assert derived(net, spec).remark.startswith("taken as b (j d) = 1,34")


@pytest.mark.parametrize("width", [48, 64, 100, 12 * 9])
def test_the_width_of_an_observation_is_no_number_of_frames(width: int) -> None:
    """12 joints, each with as many frames as the policy reads numbers, would be one policy for each joint."""
    spec = load_spec("quadruped")
    text = refusal(nn.Linear(width, 12), spec)
    assert f"describe the {width} numbers of the observation" in text and "fields" in text
    assert "history" not in text  # a skeleton alone describes no observation


def test_frames_of_an_observation_that_is_shipped() -> None:
    text = refusal(nn.Linear(5 * 47, 12), load_spec("g1-47"))
    assert "235 = 5 x 47: if it reads 5 frames of the observation in" in text and "g1-47.yaml" in text
    assert "write `fields: [{history: 5, of: [...]}]` with the blocks of that file" in text
    other = refusal(nn.Linear(48, 12), load_spec("g1-47"))
    assert "history" not in other and "g1-47.yaml describes 47 numbers, not 48" in other


def test_names_without_a_partner_are_refused_as_that() -> None:
    """What the specification lacks in any size is no matter of sizes."""
    spec = parse_spec(
        "skeleton: {joints: [left_a, right_a], pairs: [], center: [left_a, right_a], dims: [q], negate: []}\n"
        "inputs: [{layout: b f, fields: [{joints: q}, {hands: [left, right], kind: scalar, name: held}]}]\n"
        "outputs: [{layout: b f, fields: [{joints: q}]}]\n"
    )
    text = refusal(nn.Linear(4, 2), spec)
    assert (
        text.startswith("UnpairedJointError CH101")
        and "'left' names a side" in text
        and "no example inputs" not in text
    )


class TakesNames(nn.Module):
    """Tried in a table, too, since it says what it cannot do with one."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(48, 12)

    def forward(self, x: Any) -> Tensor:
        if isinstance(x, dict):
            raise TypeError(f"a tensor is wanted, not a table with {x['obs']}")
        return self.layer(x)


def test_the_first_reason_is_the_one_that_counts() -> None:
    """A network that is given sizes in a table as a last resort fails otherwise there."""
    text = refusal(TakesNames(), load_spec("g1-47"))
    assert "a table" not in text and "reads 48 numbers; " in text and "describes 47 numbers, not 48" in text


def test_a_network_that_tells_joints_apart_by_a_little() -> None:
    class Nearly(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.joint = nn.Linear(2, 3), nn.Parameter(0.01 * torch.randn(17, 3))

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(x) + self.joint

    assert "b j d = 1,17,2" in derived(Nearly()).remark


def test_no_arguments() -> None:
    class Empty(nn.Linear):
        def forward(self) -> Tensor:  # type: ignore[override]
            return self.weight

    assert "takes no arguments" in refusal(Empty(34, 51))


def test_a_table_of_joints_before_training() -> None:
    """Its zeros tell no joint from another yet; that it is there says what the axis is."""

    class Embedded(nn.Linear):
        def __init__(self) -> None:
            super().__init__(2, 3)
            self.joint = nn.Parameter(torch.zeros(1, 17, 3))

        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input) + self.joint

    assert "b j d = 1,17,2" in derived(Embedded()).remark


class Walker(nn.Module):
    """A policy of a pose and a number, with a state."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.GRUCell(52, 8), nn.Linear(8, 51)

    def forward(self, pose: Tensor, speed: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = self.cell(torch.cat([pose.flatten(1), speed], 1), h)
        return self.head(h).unflatten(1, (17, 3)), h


def test_arguments_that_nobody_describes_have_a_command_to_start_from() -> None:
    """By names and sizes; nothing of it is taken by itself. What it prints works."""
    words = ["b j d", "free", "state"], ["b j d", "state"]
    options = [f"--input-layout {word}".replace("b j d", "'b j d'") for word in words[0]]
    options += [f"--output-layout {word}".replace("b j d", "'b j d'") for word in words[1]]
    text = refusal(Walker())
    assert "takes 3 arguments (pose, speed, h)" in text and text.endswith(" ".join(options))
    assert f"input_layouts={words[0]}, output_layouts={words[1]}" in refusal(Walker(), option="example_inputs")
    spec = load_spec("h36m", input_layouts=words[0], output_layouts=words[1])
    assert [tuple(value.shape) for value in derived(Walker(), spec).call[0]] == [(1, 17, 3), (1, 1), (1, 8)]


def test_of_a_mask_the_size_is_said_too() -> None:
    """It fits as a number for all joints and as one for each."""

    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(51, 51)

        def forward(self, pose: Tensor, mask: Tensor) -> Tensor:
            return self.fc(pose.flatten(1) * mask).unflatten(1, (17, 3))

    assert refusal(Masked()).endswith("--input-layout free --input-shape 1,17,3 --input-shape 1,1")


# ---- arrays that the user has ---------------------------------------------------------------------------------------
class Crowded(nn.Module):
    """A clip of people and some numbers beside it; scores."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.more = nn.Linear(3 * 17 * 2, 6), nn.Linear(40, 6)

    def forward(self, clip: Tensor, numbers: Tensor) -> Tensor:
        return self.fc(clip.mean(2).flatten(1)) + self.more(numbers.view(-1, 8, 5).flatten(1))


CROWD = {"numbers": torch.zeros(9, 8, 5), "clip": torch.zeros(9, 3, 12, 17, 2)}


def test_arrays_of_the_user_are_tried_first_and_together() -> None:
    """Sizes that no trial would come upon (8 x 5 numbers), in another order than the arguments'."""
    spec = load_spec("h36m", input_layouts=["b d t j m", "free"], invariant=True)
    calls: list[tuple[int, ...]] = []

    class Counted(Crowded):
        def forward(self, clip: Tensor, numbers: Tensor) -> Tensor:
            calls.append(tuple(clip.shape))
            return super().forward(clip, numbers)

    found = derive(Counted().eval(), spec, torch.float32, "forward", "net", "--input-shape", samples=CROWD)
    assert [tuple(tensor.shape) for tensor in found.call[0]] == [(1, 3, 12, 17, 2), (1, 8, 5)]
    assert "12 frames, as in the calibration inputs" in found.remark
    assert set(calls) == {(1, 3, 12, 17, 2)}  # no other sizes were tried


def test_arrays_of_the_user_make_a_suggestion() -> None:
    with pytest.raises(ChiralizeError) as raised:
        words = (torch.float32, "forward", "net", "--input-shape")
        derive(Crowded().eval(), load_spec("h36m", invariant=True), *words, command="convert", samples=CROWD)
    assert "convert --input-layout 'b d t j m' --input-layout free" in str(raised.value)


def test_a_class_says_what_it_takes_before_it_is_built() -> None:
    """Of a function, of a forward that is replaced, and of described arguments nothing is said."""

    class Replaced(Crowded):
        def __init__(self) -> None:
            super().__init__()
            self.forward = self.fc

    words = ("forward", "net.pt", "--input-shape")
    error = refusal_of_class(Crowded, H36M, *words)
    assert error is not None and "takes 2 arguments (clip, numbers)" in str(error)
    described = load_spec("h36m", input_layouts=["b d t j m", "free"])
    for target, spec in ((Crowded, described), (Replaced, H36M), (lambda: Crowded(), H36M), (nn.Module, H36M)):
        assert refusal_of_class(target, spec, *words) is None


def test_several_arguments_are_refused_before_long_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow network of several arguments: the suggestion has two seconds, and nothing else is tried."""
    limits: list[float] = []
    monkeypatch.setattr(
        "chiralize.problem.readings.suggestion.TimeLimit", lambda seconds: limits.append(seconds) or TimeLimit(0.0)
    )
    assert "nothing says what they are" in refusal(Two())
    assert limits == [2.0]


def test_what_is_free_takes_sizes_and_no_description() -> None:
    """Sound, say: 80 bands that T leaves alone are not the numbers of an observation."""
    spec = parse_spec("skeleton: {joints: [l, r], pairs: [[l, r]], dims: [w], negate: []}\ninputs: [{free: true}]\n")
    text = refusal(nn.Sequential(nn.Conv1d(80, 8, 3), nn.Flatten(), nn.LazyLinear(2)), spec)
    assert text.endswith("give --input-shape for every input"), text


class OptionalTable(nn.Module):
    """Reads a table that has a default."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(7, 7)

    def forward(self, obs: dict[str, Tensor] | None = None) -> Tensor:
        assert obs is not None
        return self.fc(obs["pose"])


def test_a_table_with_a_default_is_named() -> None:
    assert "`obs` is a table: give --input-shape" in refusal(OptionalTable())
