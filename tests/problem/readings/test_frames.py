"""The number of frames: what the network says, what its tables hold, else the fewest that tell something."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from chiralize.body.tensors import load_spec
from chiralize.errors import UsageError
from chiralize.problem.readings.derive import derive
from chiralize.problem.readings.frames import OF_RECOGNISERS, USUAL, Contradiction, Frames, frames_of

H36M = load_spec("h36m")


class Sequence(nn.Module):
    """Frame by frame, any number of them."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__()
        self.fc = nn.Linear(34, 51)
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, x: Tensor) -> Tensor:
        assert x.ndim == 4
        return self.fc(x.flatten(2)).unflatten(2, (17, 3))


class Positions(Sequence):
    """With a learned position for each frame."""

    def __init__(self, frames: int, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.table = nn.Parameter(torch.randn(1, frames, 51))

    def forward(self, x: Tensor) -> Tensor:
        assert x.ndim == 4
        return (self.fc(x.flatten(2)) + self.table[:, : x.shape[1]]).unflatten(2, (17, 3))


class Mixer(nn.Module):
    """A layer across frames, which takes so many and no others."""

    def __init__(self, frames: int) -> None:
        super().__init__()
        self.across, self.fc = nn.Linear(frames, frames), nn.Linear(34, 51)

    def forward(self, x: Tensor) -> Tensor:
        assert x.ndim == 4
        across = self.across(x.flatten(2).transpose(1, 2)).transpose(1, 2)
        return self.fc(across).unflatten(2, (17, 3))


class Fields(Sequence):
    def receptive_field(self) -> int:
        """As VideoPose3D has it."""
        return 27


def sizes(net: nn.Module, spec: Any = H36M) -> tuple[tuple[int, ...], str]:
    derived = derive(net.eval(), spec, torch.float32, "forward", "net", "--input-shape")
    return tuple(derived.call[0][0].shape), derived.remark


@pytest.mark.parametrize(
    ("net", "frames", "says"),
    [
        (Fields(), 27, "27 frames by its `receptive_field`"),
        (Fields(num_frames=9), 27, "receptive_field"),
        (Sequence(num_frames=16), 16, "16 frames by its `num_frames`"),
        (Sequence(config=SimpleNamespace(seq_len=12)), 12, "seq_len"),
        (Sequence(args={"n_frames": 31}), 31, "n_frames"),
        (nn.Sequential(Sequence(window=15)), 15, "window"),
        (Sequence(num_frames=True, seq_len="9", window=-3), 9, "other numbers of frames run as well"),
        (Positions(81), 81, "81 frames by the sizes of its weights"),
        (Positions(60, window=20), 20, "window"),
        (Sequence(window_size=12), 12, "12 frames by its `window_size`"),
        (Sequence(T=12), 12, "12 frames by its `T`"),
        (Sequence(args={"length": 31}), 31, "31 frames by its `length`"),
        (Sequence(T=12, num_frames=16), 16, "16 frames by its `num_frames`"),
        (Sequence(T=12, length=31), 9, "other numbers of frames run as well"),
        (Positions(60, T=20), 60, "60 frames by the sizes of its weights"),
        (Mixer(50), 50, "50 frames by the sizes of its weights"),
        (Mixer(27), 27, "27 frames by the sizes of its weights"),
        (Mixer(1), 1, "otherwise"),
        (Sequence(), 9, "9 is what is proved"),
    ],
    ids=str,
)
def test_where_the_number_comes_from(net: nn.Module, frames: int, says: str) -> None:
    shape, remark = sizes(net)
    assert shape == (1, frames, 17, 2) and says in remark
    assert f"taken as b t j d = 1,{frames},17,2; --input-shape says otherwise" in remark


class Group(nn.Module):
    """Pose by pose: any number of people in any number of frames, if need be up to so many people."""

    def __init__(self, most: int = 0) -> None:
        super().__init__()
        self.fc, self.most = nn.Linear(34, 51), most

    def forward(self, x: Tensor) -> Tensor:
        assert not self.most or x.shape[-3] <= self.most
        return self.fc(x.flatten(-2)).unflatten(-1, (17, 3))


@pytest.mark.parametrize(
    ("layout", "most", "says"),
    [
        ("b m j d", 0, "(chosen: m = 1, since nobody said; others run as well)"),
        ("b m j d", 1, "b m j d = 1,1,17,2; --input-shape says otherwise"),
        ("b people j d", 0, "(other numbers of `people` run as well: 9 is what is proved"),
        ("b t m j d", 0, "proved; chosen: m = 1, since nobody said; others run as well)"),
    ],
)
def test_sizes_that_were_chosen_are_said(layout: str, most: int, says: str) -> None:
    """A layout says what an axis counts; a size that the network does not determine is a choice."""
    spec = load_spec("h36m", input_layouts=[layout], output_layouts=[layout])
    remark = derive(Group(most), spec, torch.float32, "forward", "net", "--input-shape").remark
    assert says in remark
    assert ("chosen" in remark) == ("chosen" in says)


ARGUMENTS: dict[str, tuple[dict[str, object], int, str]] = {
    "as text": ({"window_size": "12"}, 12, "12 frames by `window_size`, as was given"),
    "of a part": ({"model.receptive_field": 27}, 27, "27 frames by `model.receptive_field`, as was given"),
    "weakly": ({"T": "12"}, 12, "12 frames by `T`, as was given"),
    "of something else": ({"window_size": "small", "hidden": 27}, 9, "other numbers of frames"),
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_an_argument_of_the_user_says_the_number(name: str) -> None:
    arguments, frames, says = ARGUMENTS[name]
    derived = derive(Sequence(), H36M, torch.float32, "forward", "net", "--input-shape", arguments=arguments)
    assert derived.call[0][0].shape[1] == frames and says in derived.remark


def test_an_argument_against_the_network_is_an_error() -> None:
    net = Sequence(num_frames=27)
    with pytest.raises(UsageError, match="`window`, as was given says 9, its `num_frames` says 27"):
        derive(net, H36M, torch.float32, "forward", "net", "--input-shape", arguments={"window": "9"})


def test_a_number_that_does_not_run_is_no_number() -> None:
    shape, _ = sizes(Positions(27, num_frames=243))
    assert shape == (1, 27, 17, 2)


def test_two_numbers_that_the_network_names_stay_an_error() -> None:
    """Both run, and nothing says which the weights were trained on: both commands are printed."""
    with pytest.raises(UsageError) as caught:
        sizes(Sequence(num_frames=27, window=9))
    text = str(caught.value)
    assert "`num_frames` says 27" in text and "`window` says 9" in text
    assert "--input-shape 1,27,17,2, or --input-shape 1,9,17,2" in text


def test_a_single_frame_comes_last() -> None:
    """At one frame, from a state of zeros, the recurrent weights multiply nothing."""
    assert USUAL[-1] == 1
    assert frames_of(nn.Linear(2, 2), lambda count: count in (1, 9), (), False) == Frames(9, "")


def test_recognisers_take_longer_clips() -> None:
    fits = frames_of(nn.Linear(2, 2), lambda count: True, (), True)
    assert isinstance(fits, Frames) and fits.count == OF_RECOGNISERS[0] == 64


@given(st.integers(4, 1024), st.integers(4, 1024))
def test_whatever_is_taken_fits(limit: int, width: int) -> None:
    """A table of `limit` frames beside other sizes: its length is found, unless another axis says as much."""
    net = nn.Module()
    net.register_parameter("table", nn.Parameter(torch.zeros(limit, 2)))
    net.register_parameter("weight", nn.Parameter(torch.zeros(width, 2)))
    frames = frames_of(net, lambda count: count <= limit, (), False)
    assert isinstance(frames, Frames) and frames.count <= limit
    if limit > 13:
        assert frames.count == limit


def test_two_tables_contradict_each_other() -> None:
    """Two lengths behind which nothing runs cannot be both the frames."""
    net = nn.Module()
    net.register_parameter("one", nn.Parameter(torch.zeros(30, 2)))
    net.register_parameter("two", nn.Parameter(torch.zeros(20, 2)))
    frames = frames_of(net, lambda count: count in (20, 30), (), False)
    assert isinstance(frames, Contradiction) and frames.counts == (30, 20)


@pytest.mark.parametrize(
    ("offered", "count"), [((50, 17, 2), 50), ((50, 34), 9), ((17, 50, 2), 9), ((50, 17, 3), 9), ((600, 50, 17, 2), 9)]
)
def test_frames_of_the_calibration_inputs_come_first(offered: tuple[int, ...], count: int) -> None:
    """Where the rest of their sizes fits the layout; else it is as if there were none."""
    derived = derive(
        Sequence(), H36M, torch.float32, "forward", "net", "--input-shape", samples={"": torch.zeros(1, *offered)}
    )
    assert tuple(derived.call[0][0].shape) == (1, count, 17, 2)
    assert ("50 frames, as in the calibration inputs" in derived.remark) == (count == 50)


def test_frames_that_the_network_refuses_are_not_taken_from_calibration_inputs() -> None:
    derived = derive(
        Mixer(27), H36M, torch.float32, "forward", "net", "--input-shape", samples={"": torch.zeros(1, 50, 17, 2)}
    )
    assert tuple(derived.call[0][0].shape) == (1, 27, 17, 2)


class Crowd(nn.Module):
    """A score for the people of a clip together, of any number of people and frames."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3 * 17, 4)

    def forward(self, x: Tensor) -> Tensor:
        assert x.ndim == 5
        return self.fc(x.mean(-1).mean(2).flatten(1))


@pytest.mark.parametrize("people", [1, 2])
def test_people_of_the_calibration_inputs_come_first(people: int) -> None:
    spec = load_spec("h36m", input_layouts=["n d t j m"], invariant=True)
    derived = derive(
        Crowd(), spec, torch.float32, "forward", "net", "--input-shape", samples={"": torch.zeros(1, 3, 20, 17, people)}
    )
    assert tuple(derived.call[0][0].shape) == (1, 3, 20, 17, people)
