"""Large networks: no copy more than must be, nobody's parameters changed, the same answers as for small ones."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from benchmarks.large.networks import PoseTransformer, TemporalLifter, scrambled, settled
from chiralize.body.tensors import load_spec
from chiralize.commands.convert import Conversion, Request, convert
from chiralize.graph import copies
from chiralize.graph.copies import InFloat64, copied, replaced
from chiralize.graph.running import Runner
from chiralize.infer.hidden import pairing
from chiralize.infer.hidden.pairing import Score, best_involution
from chiralize.problem.preparation import prepare

POSES = torch.randn(1, 9, 17, 2, generator=torch.Generator().manual_seed(0))


def network(dtype: torch.dtype = torch.float32) -> nn.Module:
    return scrambled(PoseTransformer(32, 2, 4, 2)).to(dtype)


def converted(module: nn.Module, method: str = "match") -> Conversion:
    example = POSES.to(next(module.parameters()).dtype)
    return convert(prepare(module, load_spec("h36m"), (example,)), "network", Request(method, samples=1))


@pytest.fixture
def all_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "LARGE", 0)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("method", "dtype"), [("match", torch.float32), ("project", torch.bfloat16), ("average", torch.bfloat16)]
)
@pytest.mark.usefixtures("all_large")
def test_the_original_is_untouched_and_apart(method: str, dtype: torch.dtype) -> None:
    """Judged in float64 although it shares its parameters; the result shares none with the original."""
    module = network(dtype)
    before = {name: own.clone() for name, own in module.state_dict().items()}
    found = converted(module, method)
    assert found.report.judgement.numeric is not None and found.report.judgement.numeric.dtype == "float64"
    assert found.report.judgement.certificate is not None and found.report.judgement.certificate.passed
    with torch.no_grad():
        for own in found.module.parameters():
            assert own.dtype == dtype
            own.zero_()
    assert all(torch.equal(own, before[name]) for name, own in module.state_dict().items())


@pytest.mark.thorough
@pytest.mark.usefixtures("all_large")
def test_an_asymmetry_is_found() -> None:
    """One weight of a converted network in bfloat16 is moved by a few last digits: both verdicts say no."""
    found = converted(network(torch.bfloat16))
    weight = dict(found.module.named_parameters())["blocks.0.up.weight"]
    with torch.no_grad():
        weight[1, 2] += 0.1 * weight.abs().max()
    example = POSES.bfloat16()
    from chiralize.verification.judge import judge

    verdict = judge(prepare(found.module, load_spec("h36m"), (example,)), found.passport)
    assert not verdict.numeric.passed
    assert verdict.certificate is not None and "blocks.0.up.weight" in verdict.certificate.broken


@pytest.mark.parametrize("room", [1, 50, 1 << 22])
def test_float64_op_by_op_is_float64(room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where large weights are taken some rows at a time; room: entries."""
    monkeypatch.setattr(copies, "_ROOM", room)
    module = network(torch.bfloat16)
    expected = copied(module).double()(POSES.double())
    with InFloat64(), torch.no_grad():
        torch.testing.assert_close(module(POSES.double()), expected, rtol=0, atol=1e-12)
    assert all(own.dtype == torch.bfloat16 for own in module.parameters())


def test_sizes_are_counted_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within, nothing is widened for that."""
    monkeypatch.setattr(copies, "_in_float64", None)
    module = network(torch.bfloat16)
    wanted = 2 * sum(own.numel() for own in module.parameters())
    with InFloat64():
        assert copies.size_of(module) == wanted


@pytest.mark.usefixtures("all_large")
def test_copies_share_parameters_and_keep_ties() -> None:
    """A runner in float64 leaves the given parameters in their own dtype, and buffers are its own."""
    module = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.BatchNorm1d(3))
    module[1].weight = module[0].weight
    there = copied(module)
    assert there[0].weight is there[1].weight and there[0].weight is not module[0].weight
    assert there[0].weight.data_ptr() == module[0].weight.data_ptr()
    assert there[2].running_mean.data_ptr() != module[2].running_mean.data_ptr()
    with Runner(module, double=True) as runner:
        assert runner.run([((torch.randn(2, 3),), {})]).steps[0].dtype == torch.float64
    assert module[0].weight.dtype == module[2].running_mean.dtype == torch.float32


def test_replaced_tensors_are_taken_as_they_are() -> None:
    module = nn.Linear(3, 3)
    value = torch.ones(3, 3)
    there = replaced(module, {module.weight: value})
    assert there.weight.data_ptr() == value.data_ptr() and isinstance(there.weight, nn.Parameter)
    assert there.bias.data_ptr() != module.bias.data_ptr()


def test_many_units_are_paired_by_the_best_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted pairing is found exactly; on noise little of the optimum is lost; nobody stays alone unless he may."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randperm(301, generator=generator)
    rows = torch.randn(301, 64, generator=generator)
    rows[hidden[150:300]] = 0.5 * rows[hidden[:150]].flip(1) + 0.75**0.5 * rows[hidden[150:300]]
    for signal in (True, False):
        rows = rows if signal else torch.randn(301, 64, generator=generator)
        score = Score((rows @ rows.flip(1).T).double().numpy(), Score.zero(301).plain)
        for fixed in (True, False):
            best = best_involution(score, True, fixed)
            monkeypatch.setattr(pairing, "_EXACT", 100)
            found = best_involution(score, True, fixed)
            monkeypatch.undo()
            reached, most = (score.signed[range(301), own.partner].sum() for own in (found, best))
            assert reached >= (0.98 if signal else 0.9) * most
            assert fixed or len(found.pairs) == 150
            if signal:
                assert (found.partner[hidden[:150]] == hidden[150:300].numpy()).mean() > 0.9


MEASURED = """
import torch
from benchmarks.large.networks import PoseTransformer, TemporalLifter, scrambled, settled
from benchmarks.large.run import memory
from chiralize.graph import copies
from tests.graph.test_large import converted
copies.LARGE = {large}
torch.set_num_threads(1)
converted(scrambled(PoseTransformer(32, 1, 4, 1)))  # what any conversion needs
before = memory("VmHWM")
network = scrambled(PoseTransformer(768, 2, 8, 1))
size = copies.size_of(network) / 1e6
converted(network)
print(size, memory("VmHWM") - before)
"""


@pytest.mark.thorough
def test_memory() -> None:
    """A network of 29 MB; what does not grow with it goes to the pairing of 768 units and to the heap.

    One copy more would be noticed.
    """
    code = MEASURED.format(large=10_000_000)
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    size, peak = map(float, result.stdout.split())
    assert size > 25
    assert peak <= 2.2 * size + 60


def test_both_forms_of_the_temporal_lifter_are_one_network() -> None:
    """Strided, it answers for one window; dense, with the same weights, for every window."""
    x = torch.randn(2, 30, 17, 2, generator=torch.Generator().manual_seed(0))
    strided = settled(TemporalLifter(8, 2), x[:, :27]).double()
    dense = TemporalLifter(8, 2, strided=False).double().eval()
    dense.load_state_dict(strided.state_dict())
    assert dense(x.double()).shape == (2, 4, 17, 3)
    torch.testing.assert_close(dense(x.double())[:, 3:], strided(x[:, 3:].double()))
