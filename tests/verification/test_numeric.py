"""The numeric verdict: passes what is equivariant, fails planted faults, leaves the network as it was."""

from __future__ import annotations

import copy
import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from chiralize.errors import ModelRunError, RepresentationSizeError, UsageError
from chiralize.graph.mirror import NetworkMirror
from chiralize.graph.running import Runner
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation, TensorRepresentation
from chiralize.verification.numeric import act, judge

NAMES = ("hip", "left_knee", "right_knee", "left_elbow", "right_elbow")
JOINTS = Representation.of(SignedPermutation.of([(1, 2), (3, 4)], size=5))
EPS = torch.finfo(torch.float64).eps
COORDS = Representation.of(SignedPermutation.of(negated=[0], size=3))
FREE = Representation.trivial


def label(io: str, index: int, entry: tuple[int, ...]) -> str:
    return f"{NAMES[entry[1]]}.{'xyz'[entry[2]]}" if len(entry) == 3 else f"{io} {index}{list(entry)}"


POSE = TensorRepresentation((FREE(4), JOINTS, COORDS))
MIRROR = NetworkMirror((POSE,), (POSE,), label=label)
X = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(3))


class Plain(nn.Module):
    """A network without any symmetry."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.first, self.last = nn.Linear(15, 32), nn.Linear(32, 15)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.relu(self.first(x.flatten(1)))).view(x.shape)


class Averaged(nn.Module):
    """Equivariant by construction, plus `off` times something that is not."""

    def __init__(self, off: float = 0.0, joint: int = 4) -> None:
        super().__init__()
        self.inner, self.off, self.joint = Plain(), off, joint

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = (self.inner(x) + act(self.inner(act(x, POSE)), POSE)) / 2
        spot = torch.zeros_like(y)
        spot[:, self.joint, 0] = self.off
        return y + spot


class Leaky(nn.Module):
    """A state that forward writes: h <- h / 2 + x, answer h + x."""

    def __init__(self, fault: float = 0.0) -> None:
        super().__init__()
        self.register_buffer("h", torch.randn(4, 5, 3))
        self.fault = fault

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.h = self.h / 2 + x
        self.h[:, 1] *= 1 + self.fault
        return self.h + x


# ---- T on torch tensors ---------------------------------------------------------------------------------------
@st.composite
def tensor_representations(draw: st.DrawFn) -> TensorRepresentation:
    axes = []
    for _ in range(draw(st.integers(0, 3))):
        size = draw(st.integers(1, 5))
        order = draw(st.permutations(range(size)))
        pairs = [(order[2 * i], order[2 * i + 1]) for i in range(draw(st.integers(0, size // 2)))]
        free = [i for i in range(size) if not any(i in pair for pair in pairs)]
        negated = [i for i in free if draw(st.booleans())]
        negated += [i for pair in pairs if draw(st.booleans()) for i in pair]
        axes.append(Representation.of(SignedPermutation.of(pairs, negated, size=size)))
    return TensorRepresentation(tuple(axes), draw(st.sampled_from([1, -1])))


@given(tensor_representations(), st.sampled_from([torch.float64, torch.float32, torch.int64]))
def test_act_agrees_with_numpy_and_is_an_involution(representation: TensorRepresentation, dtype: torch.dtype) -> None:
    array = np.arange(1, 1 + int(np.prod(representation.shape))).reshape(representation.shape)
    tensor = torch.tensor(array, dtype=dtype)
    turned = act(tensor, representation)
    assert turned.dtype == dtype
    assert np.array_equal(turned.numpy(), representation.act(array))
    assert torch.equal(act(turned, representation), tensor)


def test_act_takes_free_sizes_and_refuses_body_sizes() -> None:
    assert act(torch.randn(9, 5, 3), POSE).shape == (9, 5, 3)
    with pytest.raises(RepresentationSizeError, match="axis 1"):
        act(torch.randn(4, 6, 3), POSE)
    with pytest.raises(RepresentationSizeError, match="3 axes"):
        act(torch.randn(5, 3), POSE)


def test_act_swaps_booleans_without_sign() -> None:
    mask = torch.zeros(1, 5, 3, dtype=torch.bool)
    mask[0, 1, 0] = True
    assert act(mask, POSE).nonzero().tolist() == [[0, 2, 0]]


# ---- verdicts -------------------------------------------------------------------------------------------------
def test_equivariant_passes_in_float64() -> None:
    verdict = judge(Averaged(), MIRROR, (X,))
    assert verdict.passed and verdict.dtype == "float64" and verdict.notes == ()
    assert verdict.samples == 8 and verdict.batches == (1, 2, 5)
    assert verdict.outputs[0].bound == pytest.approx(16 * 2**-52 * verdict.outputs[0].scale)


def test_plain_network_fails() -> None:
    verdict = judge(Plain(), MIRROR, (X,))
    assert not verdict.passed and verdict.worst.residual > 0.1


@pytest.mark.parametrize("off", [1e-3, 1e-9])
def test_a_small_fault_is_caught_and_named(off: float) -> None:
    verdict = judge(Averaged(off), MIRROR, (X,))
    assert not verdict.passed
    assert verdict.worst.residual == pytest.approx(off, rel=1e-3)
    assert verdict.worst.worst in ("left_elbow.x", "right_elbow.x")


class Cancelling(nn.Module):
    """x W - x W + x, W equivariant and large, the products summed in another order; plus `off` times what is not."""

    def __init__(self, size: float, off: float = 0.0) -> None:
        super().__init__()
        mix = torch.randn(15, 15, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
        turn = act(torch.eye(15, dtype=torch.float64).view(15, 5, 3), TensorRepresentation((FREE(15), JOINTS, COORDS)))
        mix = size * (mix + turn.view(15, 15) @ mix @ turn.view(15, 15))
        self.there, self.back = nn.Parameter(mix.clone()), nn.Parameter(mix.clone())
        self.other, self.off = Plain(), off

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x.flatten(1)
        back = y[:, :7] @ self.back[:7] + y[:, 7:] @ self.back[7:]
        return (y + y @ self.there - back).view(x.shape) + self.off * self.other(x)


def test_rounding_that_the_network_enlarges_is_allowed_for() -> None:
    """As much as half a unit in the last place of its weights makes of it, where that is not far beyond the bound."""
    small, large, huge = (judge(Cancelling(size), MIRROR, (X,)) for size in (0.1, 1e2, 1e6))
    bounds = [own.outputs[0].bound / own.outputs[0].scale / EPS for own in (small, large)]
    assert small.passed and bounds[0] == 16
    assert large.passed and 16 < bounds[1] <= 101 * 16 and large.outputs[0].residual > 16 * EPS * large.outputs[0].scale
    assert not huge.passed


@pytest.mark.parametrize("size", [0.1, 1e2])
def test_a_small_fault_is_caught_there_too(size: float) -> None:
    assert not judge(Cancelling(size, 1e-10), MIRROR, (X,)).passed


def test_tolerance_is_relative_to_the_scale() -> None:
    verdict = judge(Averaged(1e-3), MIRROR, (X,), tolerance=0.1)
    assert verdict.passed
    assert verdict.outputs[0].bound == pytest.approx(0.1 * verdict.outputs[0].scale)


def test_depth_widens_the_bound() -> None:
    shallow, deep = (judge(Averaged(), MIRROR, (X,), depth=depth).outputs[0].bound for depth in (1, 7))
    assert deep == pytest.approx(7 * shallow)


def test_real_inputs_count_and_can_fail() -> None:
    class FarOnly(Averaged):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) + torch.relu(x - 50)

    assert judge(FarOnly(), MIRROR, (X,)).passed
    verdict = judge(FarOnly(), MIRROR, (X,), real=[((100 * X,), {})] * 20)
    assert verdict.samples == 16 and not verdict.passed


def test_same_seed_same_verdict() -> None:
    assert judge(Plain(), MIRROR, (X,), seed=5) == judge(Plain(), MIRROR, (X,), seed=5)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10_000), st.integers(0, 4), st.floats(1e-6, 10))
def test_no_planted_fault_escapes(seed: int, joint: int, off: float) -> None:
    network = Averaged(off, joint)
    assert not judge(network, MIRROR, (X,), seed=seed, samples=2, batches=()).passed


# ---- other kinds of inputs and outputs ------------------------------------------------------------------------
def test_dict_outputs_and_keyword_inputs() -> None:
    class Two(Averaged):
        def forward(self, x: torch.Tensor, *, scale: torch.Tensor) -> dict[str, object]:  # type: ignore[override]
            y = super().forward(x) * scale
            return {"pose": y, "norm": y.norm(dim=2), "frames": len(x)}

    norms = TensorRepresentation((FREE(4), JOINTS))
    mirror = NetworkMirror((POSE, TensorRepresentation(())), (POSE, norms))
    verdict = judge(Two(), mirror, (X,), {"scale": torch.tensor(2.0)})
    assert verdict.passed and [own.title for own in verdict.outputs[:2]] == ["output 0", "output 1"]
    wrong = NetworkMirror(mirror.inputs, (POSE, TensorRepresentation.trivial((4, 5))))
    verdict = judge(Two(), wrong, (X,), {"scale": torch.tensor(2.0)})
    assert [own.passed for own in verdict.outputs[:2]] == [True, False]


def test_results_that_are_no_tensors_must_be_equal() -> None:
    class Says(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, bool]:
            return x, bool(x[0, 0, 0] > 0)

    verdict = judge(Says(), MIRROR, (X,))
    assert not verdict.passed and verdict.outputs[0].passed
    assert "for T x" in verdict.worst.worst


def test_integer_inputs_keep_their_values() -> None:
    class Embedded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(3, 4)

        def forward(self, kinds: torch.Tensor) -> torch.Tensor:
            return self.table(kinds)

    kinds = torch.tensor([[0, 1, 1, 2, 2]])
    of_joints = TensorRepresentation((FREE(1), JOINTS))
    mirror = NetworkMirror((of_joints,), (TensorRepresentation((FREE(1), JOINTS, FREE(4))),))
    verdict = judge(Embedded(), mirror, (kinds,))
    assert verdict.passed and verdict.batches == (1, 2, 5)


def test_integer_outputs_are_compared_exactly() -> None:
    class Order(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, :, 1].argmax(1)

    verdict = judge(Order(), NetworkMirror((POSE,), (TensorRepresentation((FREE(4),)),)), (X,))
    assert not verdict.passed and verdict.outputs[0].bound == 0.0


def test_nan_fails_with_a_label() -> None:
    class Roots(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.where(x[:, :, 1:2] > 1, x * float("nan"), x)

    verdict = judge(Roots(), MIRROR, (X,))
    assert not verdict.passed and verdict.worst.residual == float("inf")
    assert " is nan for " in verdict.worst.worst


class Roots(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.sqrt()


@pytest.mark.parametrize(("sign", "finite", "side"), [(1, True, "T x"), (-1, False, "x")])
def test_nan_for_x_is_told_from_nan_for_its_image(sign: int, finite: bool, side: str) -> None:
    """Of the former nothing is known, the latter does not commute: T negates the first coordinate."""
    own = judge(Roots(), MIRROR, (X,), samples=0, real=[((sign * X.abs(),), {})], batches=()).worst
    assert own.finite == finite and own.residual == float("inf") and own.worst.endswith(f"is nan for {side}")


def test_an_infinite_output_never_passes() -> None:
    class Poles(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.abs() * float("inf")

    assert not judge(Poles(), NetworkMirror((POSE,), (POSE,)), (X,)).passed


def test_zero_outputs_pass() -> None:
    class Nothing(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 0 * x

    assert judge(Nothing(), MIRROR, (X,)).passed


# ---- precision ------------------------------------------------------------------------------------------------
def test_falls_back_where_float64_does_not_run() -> None:
    class Attribute(Averaged):
        def __init__(self, off: float = 0.0) -> None:
            super().__init__(off)
            self.mix = torch.eye(3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x @ self.mix)

    verdict = judge(Attribute(), MIRROR, (X,))
    assert verdict.passed and verdict.dtype == "float32"
    assert verdict.notes[0].startswith("run in float32 alone, whose rounding allows residuals of ")
    assert "Not in float64: it fails in float64: RuntimeError" in verdict.notes[0]
    assert not judge(Attribute(1e-3), MIRROR, (X,)).passed


def test_falls_back_where_the_network_casts() -> None:
    class Casts(Averaged):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward((x.float() * 1.1).to(self.inner.first.weight.dtype))

    verdict = judge(Casts(), MIRROR, (X,))
    assert verdict.passed and verdict.dtype == "float32" and "casts to float32" in verdict.notes[0]


def test_half_inside_float32_widens_the_bound() -> None:
    class Half(Averaged):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x).to(torch.bfloat16).float()

    verdict = judge(Half(), MIRROR, (X,))
    assert verdict.outputs[0].bound == pytest.approx(16 * 2**-7 * verdict.outputs[0].scale)


def test_zeros_made_inside_follow_float64() -> None:
    class Zeros(Averaged):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cat([super().forward(x), torch.zeros(len(x), 0, 3)], 1) @ torch.eye(3)

    before = torch.get_default_dtype()
    assert judge(Zeros(), MIRROR, (X,)).dtype == "float64"
    assert torch.get_default_dtype() == before


def test_exported_program() -> None:
    program = torch.export.export(Averaged(), (X,)).module()
    verdict = judge(program, MIRROR, (X,))
    assert verdict.passed and verdict.batches == ()
    assert not judge(torch.export.export(Averaged(1e-3), (X,)).module(), MIRROR, (X,)).passed


# ---- state and traces -----------------------------------------------------------------------------------------
STATEFUL = NetworkMirror((POSE,), (POSE,), states={"h": POSE}, label=label)


def test_states_start_mirrored_and_are_compared() -> None:
    network = Leaky()
    before = network.h.clone()
    verdict = judge(network, STATEFUL, (X,))
    assert verdict.passed and [own.title for own in verdict.outputs] == ["output 0", "state h"]
    assert torch.equal(network.h, before)
    assert not judge(Leaky(1e-3), STATEFUL, (X,)).passed


def test_undescribed_state_is_noted() -> None:
    verdict = judge(Leaky(), MIRROR, (X,))
    assert not verdict.passed
    assert any("does not describe" in note for note in verdict.notes)


def test_unknown_state_is_refused() -> None:
    with pytest.raises(UsageError, match="no tensor of that name"):
        judge(Leaky(), NetworkMirror((POSE,), (POSE,), states={"hidden.h": POSE}), (X,))


def test_network_that_cannot_be_copied_is_put_back() -> None:
    network = Leaky().train()
    network.lock = threading.Lock()  # type: ignore[assignment]
    before, kept = network.h, network.h.clone()
    with pytest.raises(TypeError):
        copy.deepcopy(network)
    verdict = judge(network, STATEFUL, (X,))
    assert verdict.passed and verdict.dtype == "float32" and "cannot be copied" in verdict.notes[0]
    assert network.h is before and torch.equal(network.h, kept) and network.training


def test_nothing_is_left_behind() -> None:
    network = Averaged().train()
    network.register_forward_hook(lambda *_: torch.rand(1) and None)
    kept = copy.deepcopy(network.state_dict())
    random = torch.get_rng_state()
    judge(network, MIRROR, (X,))
    assert network.training and torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(kept[name], own) for name, own in network.state_dict().items())
    assert all(own.grad is None and own.dtype == torch.float32 for own in network.parameters())


def test_dropout_and_batch_statistics_are_off() -> None:
    class Dropped(Averaged):
        def __init__(self) -> None:
            super().__init__()
            self.drop = nn.Dropout(0.5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.drop(super().forward(x))

    assert judge(Dropped().train(), MIRROR, (X,)).passed


# ---- misuse ---------------------------------------------------------------------------------------------------
def test_wrong_counts_are_refused() -> None:
    with pytest.raises(UsageError, match="2 tensors, but the mirror describes 1 inputs"):
        judge(Plain(), MIRROR, (X, X))
    with pytest.raises(UsageError, match="1 tensors, but the mirror describes 2 outputs"):
        judge(Plain(), NetworkMirror((POSE,), (POSE, POSE)), (X,))


def test_a_network_that_fails_says_so() -> None:
    class Broken(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise ValueError("no such joint")

    with pytest.raises(ModelRunError, match="ValueError: no such joint"):
        judge(Broken(), MIRROR, (X,))


def test_a_static_batch_is_respected() -> None:
    class Static(Averaged):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x.view(4, 5, 3))

    assert judge(Static(), MIRROR, (X,), batches=(1, 2, 4)).batches == (4,)


class Value(nn.Module):
    """Invariant, judged in float32, as large hidden values cancel; `off`: more on a single row's left side.

    at: the value that it is counted from, so that the answer to the row that the verdict draws may be near zero.
    """

    def __init__(self, at: float = 0.0, off: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.at, self.off = nn.Linear(15, 301).requires_grad_(False), at, off

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.float()
        views = [self.first(view.flatten(1)).tanh() for view in (x, act(x, POSE))]
        value = (3 * torch.cat(views, 1)).exp().sum(1, keepdim=True)
        return value - self.at + self.off * (len(x) == 1) * x[:, 1, 1:2]


def test_one_small_answer_among_large_ones_is_rounded_as_they_are() -> None:
    """The one row of another batch size may be where a critic is zero: that is no size at which the mirror breaks."""
    mirror = NetworkMirror((POSE,), (TensorRepresentation((FREE(4), FREE(1))),))
    drawn = torch.randn(1, 5, 3, generator=torch.Generator().manual_seed(1))
    at = float(Value()(drawn))
    assert abs(float(Value(at)(drawn))) < 1e-3 < float(Value(at)(X).abs().max())
    verdict = judge(Value(at), mirror, (X,), batches=(1,))
    assert verdict.dtype == "float32" and verdict.passed and not verdict.beyond
    broken = judge(Value(at, off=0.1), mirror, (X,), batches=(1,))
    assert broken.beyond == (("batch", 1),) and not broken.passed


def test_body_on_axis_zero_tries_no_batches() -> None:
    flat = TensorRepresentation((JOINTS, COORDS))
    verdict = judge(nn.Identity(), NetworkMirror((flat,), (flat,)), (X[0],))
    assert verdict.passed and verdict.batches == ()


def test_runner_runs_in_eval_mode_and_counts_no_gradients() -> None:
    with Runner(Plain().train()) as runner:
        assert not runner.start().training
        assert not runner.run([((X,), {})]).steps[0].requires_grad


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript_with_state() -> None:
    script = torch.jit.script(Leaky())
    kept = script.h.clone()
    assert judge(script, STATEFUL, (X,)).passed
    assert not judge(torch.jit.script(Leaky(1e-3)), STATEFUL, (X,)).passed
    assert torch.equal(script.h, kept)
