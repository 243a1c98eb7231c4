"""How many frames a network takes: as it says itself, as its tables hold, else the fewest of the usual numbers.

A network that takes any number of frames (convolutions, recurrent layers, attention) has the same weights for all of
them, and what is found out about those holds for all.  So the fewest will do, but for one: a single frame leaves
recurrent weights at a state of zeros and attention without a choice, so that nothing would be said of them.

Four sources are asked in this order, and the first that names a number with which the network runs decides:

1. names: `receptive_field`, then `num_frames`, `window_size`, ... of the network, or of the arguments given for it;
2. lengths of its weights: a learned table of 81 positions runs with 81 frames, with neither 82 nor 162;
3. names that mean frames in some networks only: `T`, `length`;
4. usual numbers: 9, 27, 81, ...

Called by `Search` for every candidate with an open axis of frames.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from chiralize.problem.readings.weights import LONGEST, lengths, tables

FRAMES = "frames"
USUAL = (9, 27, 81, 243, 64, 100, 300, 16, 32, 50, 128, 1)
"""Numbers of frames in the order in which they are tried: first the powers of 3 of dilated convolutions, 1 last."""
OF_RECOGNISERS = (64, 100, 300)
"""Those that come first where people's actions are recognised."""
_SAYS_ALL = "receptive_field"
_NAMES = (
    *("num_frames", "num_frame", "n_frames", "nframes", "frames", "in_frames", "input_frames", "frame_num"),
    *("seq_len", "seq_length", "sequence_length", "input_length", "in_len", "input_n", "obs_len", "n_seq"),
    *("window", "window_size", "window_len", "window_length", "clip_len", "clip_length"),
    *("num_time_steps", "history_length"),
)
_WEAK_NAMES = ("T", "length", "timesteps", "n_steps", "num_steps", "context")
"""Names that mean frames in many networks and something else in others: read where neither the other names nor weights
tell, and where they give one number."""
_HOLDERS = ("config", "cfg", "args", "opt", "opts", "hparams", "configs")
_FURTHER = (1, 4)
"""Frames beyond the fewest; with one more an answer may be short enough to be taken for coordinates."""
Fits = Callable[[int], bool]
"""Whether a network runs with so many frames, and all of its tensors have a reading. It runs the network."""


@dataclass(frozen=True)
class Frames:
    """A number of frames and the reason for it, in words."""

    count: int
    reason: str


@dataclass(frozen=True)
class Contradiction:
    """Two numbers of frames that the network takes and names. reasons: where it names them."""

    counts: tuple[int, int]
    reasons: tuple[str, str]


def frames_of(
    module: nn.Module,
    fits: Fits,
    skipped: Collection[int],
    recogniser: bool,
    counted: str = FRAMES,
    arguments: Mapping[str, object] | None = None,
) -> Frames | Contradiction | None:
    """The number of frames that a network takes; None where it takes none of those that are tried.

    fits: whether it takes so many.  skipped: sizes of weights that count something else.
    recogniser: it names what people do, for which the usual clips are longer.
    counted: what is counted, for the reason.  arguments: with which the user made the network, by name.
    """
    # By number, since two names of the same number are no contradiction.
    strong = {**_given(arguments or {}, (_SAYS_ALL, *_NAMES)), **_said(module, _NAMES)}
    for said in (_said_by_method(module), strong):
        counts = [(count, name) for count, name in said.items() if fits(count)]
        if len(counts) > 1:
            (one, where), (other, elsewhere) = counts[:2]
            return Contradiction((one, other), (f"{where} says {one}", f"{elsewhere} says {other}"))
        if counts:
            return Frames(counts[0][0], f"{so_many(counts[0][0], counted)} by {counts[0][1]}")
    # Whether it takes any number of frames decides which weights may count them.
    usual = next((count for count in _usual(recogniser) if fits(count)), None)
    is_open = usual is not None and usual > 1 and any(fits(usual + more) for more in _FURTHER)
    for tensors in _counted_by(module, is_open, usual is None):
        counts = lengths(tensors)
        longest = [count for count in counts if count not in skipped and _is_longest(count, fits)]  # ascending
        if len(longest) > 1:
            one, other = longest[-1], longest[-2]
            return Contradiction((one, other), (f"weights have {one} rows", f"others {other}"))
        if longest:
            return Frames(longest[0], f"{so_many(longest[0], counted)} by the sizes of its weights")
    # Several weak names speak for no number in particular; then the usual one is taken, without an error.
    by_weak_names = {**_given(arguments or {}, _WEAK_NAMES), **_said(module, _WEAK_NAMES)}
    weak = [(count, name) for count, name in by_weak_names.items() if fits(count)]
    if len(weak) == 1:
        return Frames(weak[0][0], f"{so_many(weak[0][0], counted)} by {weak[0][1]}")
    if usual is None:
        return None
    says = f"other numbers of {counted} run as well: {usual} is what is proved"
    return Frames(usual, says if is_open else "")


def so_many(count: int, counted: str = FRAMES) -> str:
    """`27 frames`, `1 frame`; of an axis with another name ``4 `people` ``."""
    if count == 1 and counted == FRAMES:
        return "1 frame"
    return f"{count} {counted}"


def _counted_by(module: nn.Module, is_open: bool, is_unusual: bool) -> list[Iterable[Tensor]]:
    """The weights of which an axis may be the frames: tables alone where a network takes other numbers of frames, too.

    is_unusual: none of the usual numbers runs, so that even constants are asked.
    """
    if is_open:
        return [tables(module)]
    if is_unusual:
        return [module.parameters(), module.buffers()]
    return [module.parameters()]


def _usual(recogniser: bool) -> tuple[int, ...]:
    """The usual numbers in the order in which they are tried."""
    if recogniser:
        return tuple(dict.fromkeys((*OF_RECOGNISERS, *USUAL)))
    return USUAL


def _is_longest(count: int, fits: Fits) -> bool:
    """Whether it takes so many frames and no more; twice as many fit where frames come in blocks, which is no limit.

    A network that cuts its frames into blocks of 8 takes 8 frames, not 9, and 16.
    """
    return fits(count) and not fits(count + 1) and not fits(2 * count)


def _said_by_method(module: nn.Module) -> Mapping[int, str]:
    """The receptive field, which is a method as often as a number."""
    value = getattr(module, _SAYS_ALL, None)
    if callable(value) and not isinstance(value, nn.Module):
        try:
            value = value()
        except Exception:  # it wants something, or counts on the device that it was trained on
            return {}
    if isinstance(value, int) and _is_count(value):
        return {value: f"its `{_SAYS_ALL}`"}
    return {}


def _said(module: nn.Module, names: Collection[str]) -> Mapping[int, str]:
    """Numbers under names that mean frames: those of the network itself, else of its parts. Each comes with the first
    such name: "its `num_frames`".
    """
    for parts in ([module], list(module.modules())[1:]):
        said: dict[int, str] = {}
        for part in parts:
            for name, value in _named(part, names):
                said.setdefault(value, f"its `{name}`")
        if said:
            return said
    return {}


def _named(part: nn.Module, names: Collection[str]) -> Iterator[tuple[str, int]]:
    """Names of frames with their numbers: attributes of a module, and of the configuration that it keeps."""
    for holder in (part, *(getattr(part, name, None) for name in _HOLDERS)):
        for name in names:
            value: Any = holder.get(name) if isinstance(holder, Mapping) else getattr(holder, name, None)
            if _is_count(value):
                yield name, value


def _given(arguments: Mapping[str, object], names: Collection[str]) -> Mapping[int, str]:
    """Numbers under names that mean frames among the arguments of the user: `model.window_size` is `window_size`.

    As text, too, which is what a command line has.
    """
    given: dict[int, str] = {}
    for name, value in arguments.items():
        count = int(value) if isinstance(value, str) and value.isdecimal() else value
        if name.rpartition(".")[2] in names and isinstance(count, int) and _is_count(count):
            given.setdefault(count, f"`{name}`, as was given")
    return given


def _is_count(value: object) -> bool:
    """Whether a value may be a number of frames: a whole one from 2 to 4096. True and False are int, and are none."""
    return isinstance(value, int) and not isinstance(value, bool) and 1 < value <= 4 * LONGEST
