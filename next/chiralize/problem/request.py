"""What may be asked for: every option once, as a field of a record.

A field carries its text for `--help`, its panel and what values it takes. The command line makes its options from these
fields, and `chiralize()` its signature, so that an option is written in one place:

    max_drift: float | None = option(None, JUDGE, "Bound on the distance from the flip average.", least=0.0)

    chiralize convert net.pt2 --max-drift 2        chiralize.chiralize(net, "h36m", max_drift=2)

Values are checked when a record is made, whoever makes it; `checked_for` holds a request against its method. Nothing
here imports torch: `chiralize --help` has to come at once.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from chiralize.errors import UsageError
from chiralize.errors.words import when

if TYPE_CHECKING:
    from chiralize.problem.problem import Method

Panel = Literal["The network and its file", "What its tensors are", "How to convert", "How to judge the result"]
PANELS = NETWORK, TENSORS, CONVERT, JUDGE = get_args(Panel)
Progress = Callable[..., None]
"""Called as progress(step, done): what is being done, and the share of it that is done, or None."""


def silent(step: str, done: float | None = None, /) -> None:
    """A `Progress` that shows nothing."""


@dataclass(frozen=True)
class Option:
    """What is known of an option: `text` is what it does, in a sentence.

    name, hint, default: of its field in Python, `input_layouts`, `tuple[str, ...]`, ().  metavar: what stands for its
    value in `--help`.  choices: the words that it may be.  least, most: bounds of a number, included.  above: a bound
    that is not included.  words: that stand for a value, `off` for 0.  in_python: whether `chiralize()` takes it.
    needs: what its method has to be, an attribute of `Method`, for the option to do anything.
    """

    default: Any
    panel: Panel
    text: str
    metavar: str = ""
    choices: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None
    above: float | None = None
    words: Mapping[str, Any] = field(default_factory=dict)
    in_python: bool = True
    needs: str = ""
    name: str = ""
    hint: Any = None

    @property
    def flag(self) -> str:
        """As the command line has it: `--input-layout`, which is repeated, for `input_layouts`."""
        name = self.name.removesuffix("s") if self.default == () else self.name
        return f"--{name.replace('_', '-')}"

    @property
    def kind(self) -> Any:
        """The type of a value that is given: float of `float | None`, tuple of `tuple[str, ...]`."""
        kinds = get_args(self.hint) if get_origin(self.hint) in (typing.Union, types.UnionType) else (self.hint,)
        kind = next(each for each in kinds if each is not type(None))
        return get_origin(kind) or kind

    def checked(self, value: Any) -> Any:
        """A value in the type of the option: numpy's numbers become Python's, texts become paths. Raises UsageError."""
        if value is None and self.default is None:
            return None
        given = self.words.get(value, value) if isinstance(value, str) else value
        result = _brought(self.kind, given)
        if self.choices and result is not None and result not in self.choices:
            raise UsageError(self.flag, f"{value!r} is not known", f"use one of {', '.join(self.choices)}")
        if result is None or not self._is_within(result):
            raise UsageError(self.flag, f"{value!r} is not {self._taken}", "correct it, or leave it out")
        return result

    def _is_within(self, value: Any) -> bool:
        """Whether a number keeps to the bounds; anything else does."""
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return True
        if not isfinite(value):
            return False
        if self.above is not None and value <= self.above:
            return False
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)

    @property
    def _taken(self) -> str:
        """What the option takes, in words: `a whole number of at least 0 or off`."""
        bounds = {"of at least": self.least, "above": self.above, "at most": self.most}
        limits = " and ".join(f"{words} {bound:g}" for words, bound in bounds.items() if bound is not None)
        return " or ".join([_KINDS[self.kind][1] + when(limits, f" {limits}"), *self.words])


def option(default: Any, panel: Panel, text: str, **others: Any) -> Any:
    """A field of a record of options.  others: as for `Option`."""
    return field(default=default, metadata={"option": Option(default, panel, text, **others)})


def options_of(record: type[Any]) -> Iterator[Option]:
    """The options of a record, in their order; its other fields are filled in by the program."""
    hints = get_type_hints(record)
    for each in fields(record):
        if "option" in each.metadata:
            known = vars(each.metadata["option"])
            yield Option(**{**known, "name": each.name, "hint": hints[each.name]})


class Checked:
    """A frozen dataclass whose options are checked, and brought to their types, when it is made. Raises UsageError."""

    def __post_init__(self) -> None:
        for each in options_of(type(self)):
            # The record is frozen; it sets its fields this once.
            object.__setattr__(self, each.name, each.checked(getattr(self, each.name)))


_KINDS: Mapping[Any, tuple[Any, str]] = {
    bool: (bool, "True or False"),
    int: (int, "a whole number"),
    float: ((int, float), "a number"),
    str: (str, "a text"),
    Path: ((str, Path), "a path"),
    tuple: ((list, tuple), "a list of texts"),
}
"""By the type of an option, the types of values that it takes, and what they are in words."""


def _brought(kind: Any, value: Any) -> Any:
    """A value in the type of an option, numbers of numpy as Python's; None where it is of another type."""
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        value = value.item()
    if kind is tuple:
        value = [value] if isinstance(value, str) else value
        is_list = isinstance(value, _KINDS[tuple][0]) and all(isinstance(each, str) for each in value)
        return tuple(value) if is_list else None
    # True is a whole number to Python, and no number to the user.
    if isinstance(value, bool) != (kind is bool) or not isinstance(value, _KINDS[kind][0]):
        return None
    return kind(value)


# ---- the options -------------------------------------------------------------------------------------------------
@dataclass(frozen=True, kw_only=True)
class Source(Checked):
    """How a file becomes a network: of which class it is, where its weights lie, and what its tensors are."""

    model: str | None = option(
        None,
        NETWORK,
        "Class or function that builds the network of weights; auto: the class that the file names.",
        metavar="PKG.MOD:NAME",
        in_python=False,
    )
    arg: tuple[str, ...] = option(
        (), NETWORK, "Argument of the class or function; repeat for more.", metavar="NAME=VALUE", in_python=False
    )
    key: str | None = option(
        None, NETWORK, "Entry of a checkpoint that holds the weights.", metavar="NAME", in_python=False
    )
    unsafe_pickle: bool = option(
        False, NETWORK, "Load a pickled module. This runs code that the file carries.", in_python=False
    )
    entry: str = option("forward", NETWORK, "Method to call instead of forward.", metavar="NAME")
    skeleton: str | None = option(
        None, TENSORS, "A shipped one (h36m, coco, ...) or a YAML file.", metavar="NAME|FILE", in_python=False
    )
    input_layouts: tuple[str, ...] = option(
        (), TENSORS, "'b t j d', 'b (j d)', free or state, for each input; repeat in order.", metavar="LAYOUT"
    )
    output_layouts: tuple[str, ...] = option(
        (), TENSORS, "The same for each output; repeat in order.", metavar="LAYOUT"
    )
    invariant: bool = option(False, TENSORS, "The outputs are scores that the mirror leaves alone.")
    input_shapes: tuple[str, ...] = option(
        (),
        TENSORS,
        "Size of an input: 1,243,17,2; repeat for more inputs. Left out, sizes are derived.",
        metavar="[NAME=]SIZES",
        in_python=False,
    )
    example: Path | None = option(
        None,
        TENSORS,
        "Example inputs (.npz, .npy, .pt, .safetensors); one sample is taken.",
        metavar="FILE",
        in_python=False,
    )


@dataclass(frozen=True, kw_only=True)
class Judging(Checked):
    """How a network is judged, and on what.

    data: the inputs of the user, as `table.table_of` takes them: what is in the file of `calibration`, or what Python
    brought.
    """

    samples: int | None = option(
        None, JUDGE, "Random inputs of the numeric verdict: 8, fewer of a costly network.", least=1, most=10_000
    )
    tolerance: float | None = option(
        None,
        JUDGE,
        "Largest residual that passes, in shares of the answers; left out, what rounding explains.",
        above=0.0,
    )
    calibration: Path | None = option(
        None,
        JUDGE,
        "Unlabelled inputs, samples first (.npz, .npy, .csv, .pt, .safetensors); a fifth is held out for figures.",
        metavar="FILE",
        in_python=False,
    )
    data: Any = None


@dataclass(frozen=True, kw_only=True)
class Request(Judging):
    """What a conversion is asked for. Only the user fills it; `auto` asks for one of its candidates at a time.

    progress: called with what is being done.
    """

    method: str = option(
        "auto",
        CONVERT,
        "reduce: one pass, units with their mirror images, fitted to inputs; match: one pass, partners among the units "
        "that there are; project: one pass, partners that the specification names; average: both views, exact, two "
        "passes; auto: the cheapest that stays near the original.",
        choices=("auto", "reduce", "match", "project", "average"),
    )
    width: float | None = option(
        None,
        CONVERT,
        "Share of the units of both views that reduce keeps: 0.5 is as many as the original has.",
        above=0.0,
        most=1.0,
        needs="takes_width",
    )
    target: str | None = option(
        None,
        CONVERT,
        "What fits aim at: the mean of both views, or the answers to the inputs as they are. Left out, inputs decide.",
        choices=("views", "answers"),
        needs="is_fitted",
    )
    symmetrize_constants: bool = option(False, CONVERT, "Change stored constants that the mirror does not leave alone.")
    max_drift: float | None = option(
        None, JUDGE, "Bound on the distance from the flip average, in its gaps: auto keeps to 1.25.", least=0.0
    )
    max_shift: float | None = option(
        None, JUDGE, "Bound on how far a joint moves (root mean square), in the unit of its output.", least=0.0
    )
    force: bool = option(False, JUDGE, "Hand over results beyond the bounds, too.")
    progress: Progress = silent

    def checked_for(self, method: Method) -> None:
        """Raises UsageError for an option that the method would ignore: whoever gives it expects something of it."""
        for each in options_of(Request):
            is_asked = getattr(self, each.name) != each.default
            if each.needs and is_asked and not getattr(method, each.needs):
                raise UsageError(each.flag, f"{method.name} makes nothing of it", f"leave {each.flag} out")
