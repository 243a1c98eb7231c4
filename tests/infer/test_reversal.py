"""The reversal of an axis: which windows commute with it, and what reaches axes that nothing is known of."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from benchmarks.pictures.reversal import KINDS, Tally, tried
from chiralize import chiralize, verify
from chiralize.errors import NeverEquivariantError
from chiralize.infer.rules import _turning, frames
from tests.support.command import scrambled

COUNT = 40
MAPS = {"skeleton": "coco", "inputs": [{"layout": "b c h ~w"}], "outputs": [{"layout": "b j h ~w"}]}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def test_rules_accept_what_is_exact_and_nothing_else() -> None:
    tallies = {kind: tried(kind, COUNT, seed=1) for kind in KINDS}
    for kind, tally in tallies.items():
        assert not tally.unsound, f"{kind}: {tally.unsound[0]}"
        assert tally.exact >= COUNT // 4, kind
    missed = sum(len(tally.missed) for tally in tallies.values())
    assert missed <= 0.03 * sum(tally.exact for tally in tallies.values())


def _broken(name: str, monkeypatch: pytest.MonkeyPatch) -> Tally:
    """What is found where a part of the law is left out."""
    if name == "stride":
        monkeypatch.setattr(_turning.Windows, "center", property(lambda self: self.size - 1))
        return tried("convolution", COUNT)
    monkeypatch.setattr(frames, "_is_palindrome", lambda old, new, step: True)
    return tried("resampling", COUNT)


@pytest.mark.parametrize("name", ["stride", "half-way"])
def test_brute_force_finds_a_law_that_is_wrong(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _broken(name, monkeypatch).unsound


class Shuffled(nn.Module):
    """Channels laid out as pixels before a convolution, and a learned table of positions."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 8, 4, 4)
        self.table = nn.Parameter(torch.randn(1, 20, 8))
        self.mix, self.norm = nn.Linear(8, 16), nn.LayerNorm(16)
        self.shuffle = nn.PixelShuffle(2)
        self.head = nn.Conv2d(4, 17, 3, 1, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        """Pictures "b 3 16 20" to maps "b 17 8 10"."""
        tokens = self.embed(pictures).flatten(2).transpose(1, 2) + self.table
        tokens = self.norm(self.mix(tokens)).relu()
        return self.head(self.shuffle(tokens.transpose(1, 2).unflatten(2, (4, 5))))


class Decoder(nn.Module):
    """A map out of a vector: nothing but the output says that its width is reversed."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.Flatten(), nn.Linear(4 * 5 * 7, 24), nn.ReLU())
        self.up = nn.Sequential(nn.ConvTranspose2d(4, 6, 3, 2, 1), nn.ReLU(), nn.Conv2d(6, 17, 3, 1, 1))

    def forward(self, pictures: Tensor) -> Tensor:
        """Pictures "b 3 9 13" to maps "b 17 3 5"."""
        return self.up(self.down(pictures).unflatten(1, (4, 2, 3)))


@pytest.mark.one_in(2)
@pytest.mark.parametrize(("net", "size"), [(Shuffled, (16, 20)), (Decoder, (9, 13))])
def test_axes_that_nothing_is_known_of_are_reversed_with_those_that_they_meet(
    net: type[nn.Module], size: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    original, pictures = scrambled(net()).eval(), torch.randn(2, 3, *size)
    chiral = chiralize(original, MAPS, example_inputs=(pictures,), method="project")
    with torch.no_grad():
        answer, turned = chiral.double()(pictures.double()), chiral(pictures.double().flip(-1))
    swapped = [0, *(joint for pair in range(1, 17, 2) for joint in (pair + 1, pair))]
    assert (answer - turned.flip(-1)[:, swapped]).abs().max() <= 1e-9
    assert (answer - answer.flip(-1)).abs().max() > 1e-3
    assert verify(chiral.float()).passed


def test_a_column_without_a_partner_is_read_by_no_window() -> None:
    """Mirrored at column 9 of 20, the last one has no partner: with padding, windows read it."""
    spec = {**MAPS, "inputs": [{"layout": "b c h w", "mirror": {"w": 9}}]}
    pictures = torch.randn(1, 3, 20, 20)
    with pytest.raises(NeverEquivariantError, match="whose order matters here"):
        chiralize(nn.Conv2d(3, 17, 3, 2, 1), spec, example_inputs=(pictures,), method="project")
    chiral = chiralize(nn.Conv2d(3, 17, 1, 2), spec, example_inputs=(pictures,), method="project")
    assert verify(chiral).passed


def test_a_refusal_names_sizes_that_would_do() -> None:
    pictures = torch.randn(1, 3, 20, 20)
    with pytest.raises(NeverEquivariantError, match="; 19 or 21 entries would do"):
        chiralize(nn.Conv2d(3, 17, 3, 2, 1), MAPS, example_inputs=(pictures,), method="project")
