"""Networks of the lifting example: VideoPose3D's names and shapes, all forms the same function, chiral ones exact."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

from chiralize import verify
from chiralize.__main__ import main
from chiralize.errors import RepresentationSizeError
from chiralize.storage.load import load_model
from examples.lifting.networks import WIDTHS, ChiralLifter, StridedLifter, TemporalLifter
from examples.study.task import Reflection
from tests.support.lifting_files import published_shapes, write_checkpoint

T = Reflection([4, 5, 6, 11, 12, 13], [1, 2, 3, 14, 15, 16])
"""Left and right joints of Human3.6M's 17, as VideoPose3D lists them."""


def scrambled(network: nn.Module, seed: int = 0) -> Any:
    """In eval mode, with weights and statistics that no symmetry is left in."""
    torch.manual_seed(seed)
    for name, buffer in network.named_buffers():
        if "running" in name:
            buffer.uniform_(0.5, 2.0)
    for parameter in network.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return network.double().eval()


@pytest.mark.parametrize("widths", WIDTHS.values())
@pytest.mark.parametrize("dense", [False, True])
def test_published_names_and_shapes(widths: tuple[int, ...], dense: bool) -> None:
    networks = [TemporalLifter(filter_widths=widths, channels=8, dense=dense)]
    networks += [] if dense else [StridedLifter(filter_widths=widths, channels=8)]
    for network in networks:
        found = {name: tuple(value.shape) for name, value in network.state_dict().items()}
        assert found == published_shapes(widths, 8, dense)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("frames", WIDTHS)
def test_strided_form_is_the_dilated_one(frames: int, causal: bool) -> None:
    """The same weights, the same answer for every window of a sequence."""
    dilated = scrambled(TemporalLifter(filter_widths=WIDTHS[frames], channels=8, causal=causal))
    strided = StridedLifter(filter_widths=WIDTHS[frames], channels=8, causal=causal).double().eval()
    strided.load_state_dict(dilated.state_dict())
    x = torch.randn(2, frames + 3, 17, 2, dtype=torch.float64)
    assert dilated.receptive_field == frames and dilated(x).shape == (2, 4, 17, 3)
    for first in range(4):
        window = strided(x[:, first : first + frames])
        torch.testing.assert_close(window, dilated(x)[:, first : first + 1], rtol=0, atol=1e-10)
    torch.testing.assert_close(strided(torch.cat([x[:, :frames], x[:, 3:]], 1)), dilated(x)[:, [0, 3]])


def by_hand(state: dict[str, Tensor], widths: tuple[int, ...], causal: bool, x: Tensor) -> Tensor:
    """The published architecture for one window, frame by frame, from its description. x: `frame joint 2`."""

    def normed(name: str, value: Tensor) -> Tensor:
        mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        scaled = (value - mean) / (var + 1e-5).sqrt() * state[f"{name}.weight"] + state[f"{name}.bias"]
        return scaled.clamp(min=0)

    frames = [own.flatten() for own in x]
    for place in range(len(widths)):
        name = "expand_conv" if place == 0 else f"layers_conv.{2 * place - 2}"
        norm = "expand_bn" if place == 0 else f"layers_bn.{2 * place - 2}"
        weight, width, following = state[f"{name}.weight"], widths[place], []
        for start in range(0, len(frames), width):
            taps = frames[start : start + width]
            hidden = normed(norm, sum((weight[:, :, k] @ tap for k, tap in enumerate(taps)), torch.zeros(())))
            if place:
                narrow = state[f"layers_conv.{2 * place - 1}.weight"][:, :, 0] @ hidden
                hidden = taps[-1 if causal else width // 2] + normed(f"layers_bn.{2 * place - 1}", narrow)
            following.append(hidden)
        frames = following
    (last,) = frames
    return (state["shrink.weight"][:, :, 0] @ last + state["shrink.bias"]).view(17, 3)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("widths", [(3, 3, 3), (1, 1, 1, 1), (5, 3)])
def test_network_is_the_architecture(widths: tuple[int, ...], causal: bool) -> None:
    network = scrambled(TemporalLifter(filter_widths=widths, channels=6, causal=causal))
    x = torch.randn(1, network.receptive_field, 17, 2, dtype=torch.float64)
    found = network(x)[0, 0]
    torch.testing.assert_close(found, by_hand(network.state_dict(), widths, causal, x[0]), rtol=0, atol=1e-10)


def test_dense_filters_see_as_far() -> None:
    """The ablation with filters without holes: with zeros in the holes' places it is the dilated network."""
    dilated = scrambled(TemporalLifter(filter_widths=(3, 3), channels=6))
    dense = TemporalLifter(filter_widths=(3, 3), channels=6, dense=True).double().eval()
    state = dilated.state_dict()
    filled = torch.zeros(6, 6, 7, dtype=torch.float64)
    filled[:, :, ::3] = state["layers_conv.0.weight"]
    dense.load_state_dict({**state, "layers_conv.0.weight": filled})
    x = torch.randn(1, 12, 17, 2, dtype=torch.float64)
    torch.testing.assert_close(dense(x), dilated(x), rtol=0, atol=1e-10)


def test_momentum_of_every_norm() -> None:
    for network in (TemporalLifter(channels=8), ChiralLifter(channels=8)):
        network.set_bn_momentum(0.02)
        momenta = [own.momentum for own in network.modules() if "BatchNorm" in type(own).__name__]
        assert momenta == [0.02] * 5  # type: ignore[comparison-overlap]


def test_even_widths_are_refused() -> None:
    with pytest.raises(ValueError, match="odd"):
        TemporalLifter(filter_widths=(3, 4))


@pytest.mark.one_in(2)
@pytest.mark.parametrize(("layout", "channels"), [("free", 24), ("paper", 51)])
def test_chiral_network_is_exact(layout: Literal["free", "paper"], channels: int) -> None:
    """F(T x) = T F(x) to the last bit; the strided form is the same function, and is proved op by op."""
    network = scrambled(ChiralLifter(layout, channels=channels))
    x = torch.randn(3, 30, 17, 2, dtype=torch.float64)
    assert torch.equal(network(T(x)), T(network(x)))
    strided = ChiralLifter(layout, channels=channels, strided=True).double().eval()
    strided.load_state_dict(network.state_dict())
    torch.testing.assert_close(strided(x[:, :27]), network(x)[:, :1], rtol=0, atol=1e-10)
    if layout == "paper":
        verify(strided.float(), "h36m", example_inputs=(x[:, :27].float(),)).raise_for_failure()


def test_chiral_network_of_two_bodies() -> None:
    """Detections in COCO's order, answers in HumanEva's."""
    network = scrambled(ChiralLifter("free", "coco", "humaneva", (3, 3), channels=20))
    x = torch.randn(2, 9, 17, 2, dtype=torch.float64)
    before = Reflection([1, 3, 5, 7, 9, 11, 13, 15], [2, 4, 6, 8, 10, 12, 14, 16])
    after = Reflection([2, 3, 4, 8, 9, 10], [5, 6, 7, 11, 12, 13])
    assert network(x).shape == (2, 1, 15, 3)
    assert torch.equal(network(before(x)), after(network(x)))


def test_paper_layout_needs_a_multiple_of_the_joints() -> None:
    assert ChiralLifter("paper", channels=1020).expand_bn.num_features == 1020
    with pytest.raises(RepresentationSizeError):
        ChiralLifter("paper", channels=1024)


def test_published_checkpoints_load(tmp_path: Path) -> None:
    """Also those from before torch 1.6, strictly, and without running what they name."""
    for zipped in (True, False):
        state = write_checkpoint(tmp_path / "pretrained.bin", zipped)
        arguments = {"filter_widths": "3,3", "channels": "16"}
        factory = "examples.lifting.networks:TemporalLifter"
        loaded = load_model(tmp_path / "pretrained.bin", factory=factory, factory_args=arguments, key="model_pos")
        found = loaded.module.state_dict()
        assert found.keys() == state.keys() and all(torch.equal(found[name], state[name]) for name in state)


def test_published_checkpoint_converts_with_one_command(tmp_path: Path) -> None:
    state = write_checkpoint(tmp_path / "pretrained.bin")
    command = (
        f"convert {tmp_path / 'pretrained.bin'} --skeleton h36m --key model_pos "
        "--model examples.lifting.networks:TemporalLifter --arg filter_widths=3,3 --arg channels=16 "
        f"--input-shape 1,9,17,2 --method average -o {tmp_path / 'chiral.pt2'}"
    )
    with pytest.raises(SystemExit) as ended:
        main(command.split())
    assert ended.value.code == 0
    original = TemporalLifter(filter_widths=(3, 3), channels=16).eval()
    original.load_state_dict(state)
    x = torch.randn(1, 9, 17, 2, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted = (original(x) + T(original(T(x)))) / 2
        torch.testing.assert_close(torch.export.load(tmp_path / "chiral.pt2").module()(x), wanted)
