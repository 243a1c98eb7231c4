"""The numeric verdict: passes what is equivariant, fails planted faults, leaves the network as it was."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from chiralize.errors import ModelRunError, UsageError
from chiralize.problem.mirror import NetworkMirror
from chiralize.symmetry.action import act
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation, TensorRepresentation
from chiralize.verification import numeric
from chiralize.verification.numeric import Setting, plainly_differs
from chiralize.verification.verdicts import NumericVerdict, Trial

NAMES = ("hip", "left_knee", "right_knee", "left_elbow", "right_elbow")
JOINTS = Representation.of(SignedPermutation.of([(1, 2), (3, 4)], size=5))
COORDS = Representation.of(SignedPermutation.of(negated=[0], size=3))
FREE = Representation.trivial
EPS = torch.finfo(torch.float64).eps


def label(io: str, index: int, entry: tuple[int, ...]) -> str:
    return f"{NAMES[entry[1]]}.{'xyz'[entry[2]]}" if len(entry) == 3 else f"{io} {index}{list(entry)}"


POSE = TensorRepresentation((FREE(4), JOINTS, COORDS))
MIRROR = NetworkMirror((POSE,), (POSE,), label=label)
STATEFUL = NetworkMirror((POSE,), (POSE,), states={"h": POSE}, label=label)
X = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(3))


def run(
    module: nn.Module,
    mirror: NetworkMirror = MIRROR,
    args: tuple[Any, ...] = (X,),
    setting: Setting | None = None,
    kwargs: dict[str, Any] | None = None,
    **trial: Any,
) -> NumericVerdict:
    return numeric.run(module, mirror, (args, kwargs or {}), Trial(**trial), setting)


class Plain(nn.Module):
    """A network without any symmetry."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.first, self.last = nn.Linear(15, 32), nn.Linear(32, 15)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.first(x.flatten(1)))).view(x.shape)


class Averaged(nn.Module):
    """Equivariant by construction, plus `off` times something that is not."""

    def __init__(self, off: float = 0.0, joint: int = 4) -> None:
        super().__init__()
        self.inner, self.off, self.joint = Plain(), off, joint

    def forward(self, x: Tensor) -> Tensor:
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

    def forward(self, x: Tensor) -> Tensor:
        self.h = self.h / 2 + x
        self.h[:, 1] *= 1 + self.fault
        return self.h + x


# ---- verdicts --------------------------------------------------------------------------------------------------------
def test_equivariant_passes_in_float64() -> None:
    verdict = run(Averaged())
    assert verdict.passed and verdict.dtype == "float64" and verdict.findings == ()
    assert verdict.samples == 8 and verdict.batches == (1, 2, 5)
    assert verdict.outputs[0].bound == pytest.approx(16 * 2**-52 * verdict.outputs[0].scale)
    assert run(Plain(), seed=5) == run(Plain(), seed=5)


def test_plain_network_fails_on_one_look_or_many() -> None:
    verdict = run(Plain())
    assert not verdict.passed and verdict.worst.residual > 0.1
    assert plainly_differs(Plain(), MIRROR, ((X,), {})) and not plainly_differs(Averaged(), MIRROR, ((X,), {}))


@pytest.mark.parametrize("off", [1e-3, 1e-9])
def test_a_small_fault_is_caught_and_named(off: float) -> None:
    verdict = run(Averaged(off))
    assert not verdict.passed
    assert verdict.worst.residual == pytest.approx(off, rel=1e-3)
    assert verdict.worst.worst in ("left_elbow.x", "right_elbow.x")


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10_000), st.integers(0, 4), st.floats(1e-6, 10))
def test_no_planted_fault_escapes(seed: int, joint: int, off: float) -> None:
    assert not run(Averaged(off, joint), seed=seed, samples=2, batches=()).passed


class Cancelling(nn.Module):
    """x W - x W + x, W equivariant and large, the products summed in another order; plus `off` times what is not."""

    def __init__(self, size: float, off: float = 0.0) -> None:
        super().__init__()
        mix = torch.randn(15, 15, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
        turn = act(torch.eye(15, dtype=torch.float64).view(15, 5, 3), TensorRepresentation((FREE(15), JOINTS, COORDS)))
        mix = size * (mix + turn.view(15, 15) @ mix @ turn.view(15, 15))
        self.there, self.back = nn.Parameter(mix.clone()), nn.Parameter(mix.clone())
        self.other, self.off = Plain(), off

    def forward(self, x: Tensor) -> Tensor:
        y = x.flatten(1)
        back = y[:, :7] @ self.back[:7] + y[:, 7:] @ self.back[7:]
        return (y + y @ self.there - back).view(x.shape) + self.off * self.other(x)


def test_rounding_that_the_network_enlarges_is_allowed_for() -> None:
    """As much as half a unit in the last place of its weights makes of it, where that is not far beyond the bound."""
    small, large, huge = (run(Cancelling(size)) for size in (0.1, 1e2, 1e6))
    bounds = [verdict.outputs[0].bound / verdict.outputs[0].scale / EPS for verdict in (small, large)]
    assert small.passed and bounds[0] == 16
    assert large.passed and 16 < bounds[1] <= 101 * 16 and large.outputs[0].residual > 16 * EPS * large.outputs[0].scale
    assert not huge.passed
    assert not any(run(Cancelling(size, 1e-10)).passed for size in (0.1, 1e2))


def test_tolerance_and_depth_make_the_bound() -> None:
    verdict = run(Averaged(1e-3), tolerance=0.1)
    assert verdict.passed and verdict.outputs[0].bound == pytest.approx(0.1 * verdict.outputs[0].scale)
    shallow, deep = (run(Averaged(), setting=Setting(depth)).outputs[0].bound for depth in (1, 7))
    assert deep == pytest.approx(7 * shallow)


def test_real_inputs_count_and_can_fail() -> None:
    class FarOnly(Averaged):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + torch.relu(x - 50)

    assert run(FarOnly()).passed
    verdict = run(FarOnly(), real=[((100 * X,), {})] * 20)
    assert verdict.samples == 16 and not verdict.passed


# ---- other kinds of inputs and outputs -------------------------------------------------------------------------------
def test_dict_outputs_and_keyword_inputs() -> None:
    class Two(Averaged):
        def forward(self, x: Tensor, *, scale: Tensor) -> dict[str, object]:  # type: ignore[override]
            y = super().forward(x) * scale
            return {"pose": y, "norm": y.norm(dim=2), "frames": len(x)}

    norms = TensorRepresentation((FREE(4), JOINTS))
    kwargs = {"scale": torch.tensor(2.0)}
    mirror = NetworkMirror((POSE, TensorRepresentation(())), (POSE, norms))
    verdict = run(Two(), mirror, kwargs=kwargs)
    assert verdict.passed and [output.title for output in verdict.outputs[:2]] == ["output 0", "output 1"]
    wrong = NetworkMirror(mirror.inputs, (POSE, TensorRepresentation.trivial((4, 5))))
    assert [output.passed for output in run(Two(), wrong, kwargs=kwargs).outputs[:2]] == [True, False]


def test_results_that_are_no_tensors_must_be_equal() -> None:
    class Says(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, bool]:
            return x, bool(x[0, 0, 0] > 0)

    verdict = run(Says())
    assert not verdict.passed and verdict.outputs[0].passed and verdict.worst.index < 0


def test_integers_keep_their_values_and_are_compared_exactly() -> None:
    kinds = torch.tensor([[0, 1, 1, 2, 2]])
    of_joints = TensorRepresentation((FREE(1), JOINTS))
    mirror = NetworkMirror((of_joints,), (TensorRepresentation((FREE(1), JOINTS, FREE(4))),))
    verdict = run(nn.Embedding(3, 4), mirror, (kinds,))
    assert verdict.passed and verdict.batches == (1, 2, 5)

    class Order(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[:, :, 1].argmax(1)

    verdict = run(Order(), NetworkMirror((POSE,), (TensorRepresentation((FREE(4),)),)))
    assert not verdict.passed and verdict.outputs[0].bound == 0.0


class Roots(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sqrt()


@pytest.mark.parametrize(("sign", "finite", "side"), [(1, True, "T x"), (-1, False, "x")])
def test_nan_for_x_is_told_from_nan_for_its_image(sign: int, finite: bool, side: str) -> None:
    """Of the former nothing is known, the latter does not commute: T negates the first coordinate."""
    worst = run(Roots(), samples=0, real=[((sign * X.abs(),), {})], batches=()).worst
    assert worst.finite == finite and worst.residual == float("inf") and worst.worst.endswith(f"is nan for {side}")


@pytest.mark.parametrize(("factor", "passes"), [(float("inf"), False), (float("nan"), False), (0.0, True)])
def test_answers_that_are_no_numbers_never_pass(factor: float, passes: bool) -> None:
    class Poles(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.abs() * factor

    assert run(Poles()).passed == passes


# ---- precision -------------------------------------------------------------------------------------------------------
def test_falls_back_where_float64_does_not_run() -> None:
    class Refusing(Averaged):
        def forward(self, x: Tensor) -> Tensor:
            if x.dtype == torch.float64:
                raise ValueError("half of the digits are enough")
            return super().forward(x)

    verdict = run(Refusing())
    assert verdict.passed and verdict.dtype == "float32"
    assert [(finding.topic, finding.level) for finding in verdict.findings] == [("precision", "note")]
    assert not run(Refusing(1e-3)).passed


def test_falls_back_where_the_network_casts() -> None:
    class Casts(Averaged):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward((x.float() * 1.1).to(self.inner.first.weight.dtype))

    class Half(Averaged):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).to(torch.bfloat16).float()

    verdict = run(Casts())
    assert verdict.passed and verdict.dtype == "float32" and verdict.findings[0].topic == "precision"
    half = run(Half()).outputs[0]
    assert half.bound == pytest.approx(16 * 2**-7 * half.scale)


def test_zeros_made_inside_follow_float64() -> None:
    class Zeros(Averaged):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([super().forward(x), torch.zeros(len(x), 0, 3)], 1) @ torch.eye(3)

    before = torch.get_default_dtype()
    assert run(Zeros()).dtype == "float64"
    assert torch.get_default_dtype() == before


def test_exported_program() -> None:
    verdict = run(torch.export.export(Averaged(), (X,)).module())
    assert verdict.passed and verdict.batches == ()
    assert not run(torch.export.export(Averaged(1e-3), (X,)).module()).passed


# ---- state and traces ------------------------------------------------------------------------------------------------
def test_states_start_mirrored_and_are_compared() -> None:
    network = Leaky()
    before = network.h.clone()
    verdict = run(network, STATEFUL)
    assert verdict.passed and [output.title for output in verdict.outputs] == ["output 0", "state h"]
    assert torch.equal(network.h, before)
    assert not run(Leaky(1e-3), STATEFUL).passed


def test_undescribed_and_unknown_states() -> None:
    verdict = run(Leaky())
    assert not verdict.passed and [finding.topic for finding in verdict.findings] == ["states"]
    with pytest.raises(UsageError):
        run(Leaky(), NetworkMirror((POSE,), (POSE,), states={"hidden.h": POSE}))


def test_nothing_is_left_behind() -> None:
    network = Averaged().train()
    network.register_forward_hook(lambda *_: torch.rand(1) and None)
    before = copy.deepcopy(network.state_dict())
    random = torch.get_rng_state()
    run(network)
    assert network.training and torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert all(weight.grad is None and weight.dtype == torch.float32 for weight in network.parameters())


def test_dropout_is_off() -> None:
    class Dropped(Averaged):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.dropout(super().forward(x), training=self.training)

    assert run(Dropped().train()).passed


# ---- misuse and other sizes ------------------------------------------------------------------------------------------
def test_wrong_counts_are_refused() -> None:
    with pytest.raises(UsageError):
        run(Plain(), MIRROR, (X, X))
    with pytest.raises(UsageError):
        run(Plain(), NetworkMirror((POSE,), (POSE, POSE)))


def test_a_network_that_fails_says_so() -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise ValueError("no such joint")

    with pytest.raises(ModelRunError) as caught:
        run(Broken())
    assert "no such joint" in caught.value.facts


def test_a_static_batch_is_respected() -> None:
    class Static(Averaged):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.view(4, 5, 3))

    assert run(Static(), batches=(1, 2, 4)).batches == (4,)
    flat = TensorRepresentation((JOINTS, COORDS))
    verdict = run(nn.Identity(), NetworkMirror((flat,), (flat,)), (X[0],))
    assert verdict.passed and verdict.batches == ()


class Value(nn.Module):
    """Invariant, judged in float32, as large hidden values cancel; `off`: more on a single row's left side.

    at: the value that it is counted from, so that the answer to the row that the verdict draws may be near zero.
    """

    def __init__(self, at: float = 0.0, off: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.at, self.off = nn.Linear(15, 301).requires_grad_(False), at, off

    def forward(self, x: Tensor) -> Tensor:
        x = x.float()
        views = [self.first.float()(view.flatten(1)).tanh() for view in (x, act(x, POSE))]
        value = (3 * torch.cat(views, 1)).exp().sum(1, keepdim=True)
        return value - self.at + self.off * (len(x) == 1) * x[:, 1, 1:2]


def test_one_small_answer_among_large_ones_is_rounded_as_they_are() -> None:
    """The one row of another batch size may be where a critic is zero: that is no size at which the mirror breaks."""
    mirror = NetworkMirror((POSE,), (TensorRepresentation((FREE(4), FREE(1))),))
    drawn = torch.randn(1, 5, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64).float()
    at = float(Value()(drawn))
    assert abs(float(Value(at)(drawn))) < 1e-3 < float(Value(at)(X).abs().max())
    verdict = run(Value(at), mirror, batches=(1,))
    assert verdict.dtype == "float32" and verdict.passed and not verdict.beyond
    broken = run(Value(at, off=0.1), mirror, batches=(1,))
    assert broken.beyond == (("batch", 1),) and not broken.passed


@pytest.mark.parametrize("mixes", [False, True])
def test_whether_the_answer_to_a_sample_depends_on_the_others(mixes: bool) -> None:
    """Two people of a sample, lined up in another order than samples are: equivariant as a whole."""

    class PeopleForSamples(Plain):
        def people(self, x: Tensor) -> Tensor:
            people = torch.stack([x, 2 * x], 1).flatten(0, 1)
            around = x.mean((1, 2), keepdim=True)
            around = around.repeat(2, 1, 1) if mixes else around.repeat_interleave(2, 0)
            return super().forward(people + around).unflatten(0, (-1, 2)).mean(1)

        def forward(self, x: Tensor) -> Tensor:
            return (self.people(x) + act(self.people(act(x, POSE)), POSE)) / 2

    verdict = run(PeopleForSamples())
    assert verdict.passed
    assert [(finding.topic, finding.level) for finding in verdict.findings] == [("inputs", "doubt")] * mixes


def test_one_answer_to_a_whole_batch() -> None:
    class Clip(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[:, :, 1:].square().mean((0, 1, 2), keepdim=True)[0]

    mirror = NetworkMirror((POSE,), (TensorRepresentation((FREE(1), FREE(1))),))
    assert [finding.level for finding in run(Clip(), mirror).findings] == ["doubt"]
