"""What may be asked of a conversion: every option once, as a field of a record.

A field carries its flag, its text for `--help`, its panel and what values it takes. The command line makes its options
from these fields, and `chiralize()` its signature, so that an option is written in one place:

    width: float | None = option(None, "Share of the hidden units ...", flag="--width", least=0.0, most=1.0)

    chiralize convert net.pt2 --width 0.5        chiralize.chiralize(net, "h36m", width=0.5)

Values are checked when a record is made, whoever makes it; `checked_for` holds a request against its method.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from math import isfinite
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

import torch

from chiralize.errors import UsageError

if TYPE_CHECKING:
    from chiralize.problem.problem import Method

Panel = Literal["The network and its file", "What its tensors are", "How to convert", "How to judge the result"]
Progress = Callable[..., None]
"""Called as progress(step, done): what is being done, and the share of it that is done, or None."""


def silent(step: str, done: float | None = None, /) -> None:
    """A `Progress` that shows nothing."""


@dataclass(frozen=True)
class Option:
    """What is known of one option beside its name, type and default.

    flag: of the command line, "" where that does not offer it.  in_python: whether `chiralize()` takes it.
    choices: the words that it may be.  least, most: bounds of a number, both included.  above: a bound not included.
    words: that stand for a value, `off` for 0.  needs: what a method has to be for the option to do anything.
    """

    text: str
    flag: str
    panel: Panel
    metavar: str = ""
    choices: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None
    above: float | None = None
    words: Mapping[str, Any] = field(default_factory=dict)
    in_python: bool = True
    needs: Callable[[Method], bool] | None = None


def option(default: Any, text: str, *, flag: str = "", panel: Panel, **others: Any) -> Any:
    """A field of a record of options.  others: as for `Option`."""
    return field(default=default, metadata={"option": Option(text, flag, panel, **others)})


def options_of(record: type[Any]) -> Iterator[tuple[Field[Any], Option]]:
    """The fields of a record that are options, in their order; others are filled in by the program."""
    for each in fields(record):
        if "option" in each.metadata:
            yield each, each.metadata["option"]


class Checked:
    """A frozen dataclass whose options are checked, and brought to their types, when it is made."""

    def __post_init__(self) -> None:
        """Raises UsageError for a value that an option does not take."""
        hints = get_type_hints(type(self), localns={"Method": Any})
        for each, meant in options_of(type(self)):
            value = checked(each.name, meant, hints[each.name], getattr(self, each.name))
            object.__setattr__(self, each.name, value)  # the record is frozen; it sets its own fields this once


def checked(name: str, meant: Option, hint: Any, value: Any) -> Any:
    """A value in the type of its option: numbers of numpy become Python's, texts become paths.

    hint: the type of the field, such as `float | None`.  Raises UsageError, which names the flag or the parameter.
    """
    where = meant.flag or name
    value = meant.words.get(value, value) if isinstance(value, str) else value
    kinds = get_args(hint) if get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    if value is None and type(None) in kinds:
        return None
    kind = next(each for each in kinds if each is not type(None))
    taken = _TAKEN.get(get_origin(kind) or kind)
    result = taken(value) if taken is not None else value
    if result is None:
        raise UsageError(where, f"{value!r} is not {_named(kind, meant)}", "correct it, or leave it out")
    if meant.choices and result not in meant.choices:
        raise UsageError(where, f"{value!r} is not known", f"use one of {', '.join(meant.choices)}")
    if isinstance(result, (int, float)) and not isinstance(result, bool) and not _is_within(result, meant):
        raise UsageError(where, f"{value!r} is not {_named(kind, meant)}", "correct it, or leave it out")
    return result


def _boolean(value: Any) -> bool | None:
    """Yes or no; numpy's has `item`."""
    plain = value.item() if hasattr(value, "item") and getattr(value, "ndim", 0) == 0 else value
    return plain if isinstance(plain, bool) else None


def _whole(value: Any) -> int | None:
    """A whole number; a boolean is none."""
    return int(value) if isinstance(value, Integral) and not isinstance(value, bool) else None


def _real(value: Any) -> float | None:
    """A finite number; a boolean is none, nor is a text."""
    return float(value) if isinstance(value, Real) and not isinstance(value, bool) and isfinite(value) else None


def _text(value: Any) -> str | None:
    """A text, as it is."""
    return value if isinstance(value, str) else None


def _path(value: Any) -> Path | None:
    """A path, or the text of one."""
    return Path(value) if isinstance(value, (str, Path)) else None


def _texts(value: Any) -> tuple[str, ...] | None:
    """Several texts; one alone is the only one."""
    if isinstance(value, str):
        return (value,)
    if isinstance(value, Sequence) and all(isinstance(each, str) for each in value):
        return tuple(value)
    return None


def _device(value: Any) -> torch.device | None:
    """A device, or its name."""
    try:
        return torch.device(value)
    except (RuntimeError, TypeError):
        return None


_TAKEN: Mapping[Any, Callable[[Any], Any]] = {
    bool: _boolean,
    int: _whole,
    float: _real,
    str: _text,
    Path: _path,
    tuple: _texts,
    torch.device: _device,
}
"""By the type of a field, how a value is brought to it; None comes out where it cannot be."""
_NAMES = {bool: "True or False", int: "a whole number", float: "a number", str: "a text", Path: "a path"}


def _is_within(number: float, meant: Option) -> bool:
    """Whether a number keeps to the bounds of its option."""
    if meant.above is not None and number <= meant.above:
        return False
    return (meant.least is None or number >= meant.least) and (meant.most is None or number <= meant.most)


def _named(kind: Any, meant: Option) -> str:
    """What an option takes, in words: `a whole number of at least 1 and at most 10000 or off`."""
    if (get_origin(kind) or kind) is tuple:
        return "a list of texts"
    parts = [f"of at least {meant.least:g}"] if meant.least is not None else []
    parts += [f"above {meant.above:g}"] if meant.above is not None else []
    parts += [f"at most {meant.most:g}"] if meant.most is not None else []
    return " or ".join([" ".join([_NAMES.get(kind, "a device"), " and ".join(parts)]).strip(), *meant.words])


# ---- the options ---------------------------------------------------------------------------------------------------
NETWORK: Panel = "The network and its file"
TENSORS: Panel = "What its tensors are"
CONVERT: Panel = "How to convert"
JUDGE: Panel = "How to judge the result"


@dataclass(frozen=True, kw_only=True)
class Source(Checked):
    """How a file becomes a network: which class it is of, where its weights lie, and what its tensors are.

    Every command that opens a network takes these.
    """

    model: str | None = option(
        None,
        "Class or function that builds the network of weights; auto: the class that the file names.",
        flag="--model",
        panel=NETWORK,
        metavar="PKG.MOD:NAME",
        in_python=False,
    )
    arg: tuple[str, ...] = option(
        (),
        "Argument of the class or function; repeat for more.",
        flag="--arg",
        panel=NETWORK,
        metavar="NAME=VALUE",
        in_python=False,
    )
    key: str | None = option(
        None,
        "Entry of a checkpoint that holds the weights.",
        flag="--key",
        panel=NETWORK,
        metavar="NAME",
        in_python=False,
    )
    entry: str = option(
        "forward",
        "Method to call instead of forward.",
        flag="--entry",
        panel=NETWORK,
        metavar="NAME",
        in_python=False,
    )
    unsafe_pickle: bool = option(
        False,
        "Load a pickled module. This runs code that the file carries.",
        flag="--unsafe-pickle",
        panel=NETWORK,
        in_python=False,
    )
    skeleton: str | None = option(
        None,
        "A shipped one (h36m, coco, ...) or a YAML file.",
        flag="--skeleton",
        panel=TENSORS,
        metavar="NAME|FILE",
        in_python=False,
    )
    input_layouts: tuple[str, ...] = option(
        (),
        "'b t j d', 'b (j d)', free or state, for each input; repeat in order.",
        flag="--input-layout",
        panel=TENSORS,
        metavar="LAYOUT",
    )
    output_layouts: tuple[str, ...] = option(
        (), "The same for each output; repeat in order.", flag="--output-layout", panel=TENSORS, metavar="LAYOUT"
    )
    invariant: bool = option(
        False, "The outputs are scores that the mirror leaves alone.", flag="--invariant", panel=TENSORS
    )
    input_shape: tuple[str, ...] = option(
        (),
        "Size of an input: 1,243,17,2; repeat for more inputs. Without it, sizes are derived.",
        flag="--input-shape",
        panel=TENSORS,
        metavar="SIZES",
        in_python=False,
    )
    example: Path | None = option(
        None,
        "Example inputs (.npz, .npy, .pt, .safetensors); one sample is taken.",
        flag="--example",
        panel=TENSORS,
        metavar="FILE",
        in_python=False,
    )


@dataclass(frozen=True, kw_only=True)
class Request(Checked):
    """What a conversion is asked for. Only the user fills it; `auto` asks for one of its candidates at a time.

    calibration: unlabelled inputs of the network, a fifth of which is held out.  sequences: the same as sequences, for
    networks that carry something from call to call.  product: what `auto` forms are chosen for: a module to train on, a
    graph to run, weights alone, or TorchScript.  progress: called with what is being done.
    """

    method: str = option(
        "auto",
        "reduce: one pass, every unit with a mirror image; match: partners among the units; project: those of the "
        "specification; average: both views, exact, two passes; auto: the narrowest that stays near the original.",
        flag="--method",
        panel=CONVERT,
        choices=("auto", "reduce", "match", "project", "average"),
    )
    width: float | None = option(
        None,
        "Share of the hidden units that reduce keeps.",
        flag="--width",
        panel=CONVERT,
        above=0.0,
        most=1.0,
        needs=lambda method: method.takes_width,
    )
    form: str = option(
        "auto",
        "folded: the original's class and keys; blocks: layers that stay equivariant in training; fused: one graph "
        "for inference; dense: plain layers at the new width.",
        flag="--form",
        panel=CONVERT,
        choices=("auto", "folded", "blocks", "fused", "dense"),
    )
    training: int | None = option(
        None,
        "Steps of training after the fit; off: none. Left out: as many as are worth a minute.",
        flag="--training",
        panel=CONVERT,
        metavar="N|off",
        least=0,
        words={"off": 0},
        needs=lambda method: method.is_fitted,
    )
    target: str = option(
        "auto",
        "views: fit the mean of the original's two views; answers: its answers as they are.",
        flag="--target",
        panel=CONVERT,
        choices=("auto", "views", "answers"),
        in_python=False,
        needs=lambda method: method.is_fitted,
    )
    symmetrize_constants: bool = option(
        False,
        "Change stored constants that the mirror does not leave alone.",
        flag="--symmetrize-constants",
        panel=CONVERT,
    )
    keep_statistics: bool = option(
        False,
        "Refuse results with other means and variances than the original's.",
        flag="--keep-statistics",
        panel=CONVERT,
        in_python=False,
    )
    device: torch.device = option(
        torch.device("cpu"), "Where training runs.", flag="--device", panel=CONVERT, in_python=False
    )
    max_drift: float | None = option(
        None,
        "Bound on the distance from the original, in shares of the flip average's: auto and reduce keep to 1.25.",
        flag="--max-drift",
        panel=JUDGE,
        least=0.0,
    )
    max_shift: float | None = option(
        None,
        "Bound on how far a joint moves (root mean square), in the unit of its output.",
        flag="--max-shift",
        panel=JUDGE,
        least=0.0,
    )
    samples: int | None = option(
        None,
        "Random inputs of the numeric verdict: 8, fewer of a costly network.",
        flag="--samples",
        panel=JUDGE,
        least=1,
        most=10_000,
        in_python=False,
    )
    tolerance: float | None = option(
        None,
        "Largest residual that passes, in shares of the answers; without it, the bound on rounding.",
        flag="--tolerance",
        panel=JUDGE,
        above=0.0,
        in_python=False,
    )
    force: bool = option(False, "Accept results beyond the bounds.", flag="--force", panel=JUDGE)
    calibration: Any = ()
    sequences: Any = ()
    product: Literal["module", "graph", "weights", "script"] = "module"
    progress: Progress = silent

    @property
    def keeps_sizes(self) -> bool:
        """Whether weights have to keep the sizes that they have in the original."""
        return self.product in ("weights", "script")

    def checked_for(self, method: Method) -> None:
        """Raises UsageError for an option that the method would ignore: whoever gives it expects something of it."""
        for each, meant in options_of(Request):
            asked = getattr(self, each.name)
            if meant.needs is not None and asked != each.default and not meant.needs(method):
                raise UsageError(meant.flag, f"{method.name} makes nothing of it", f"leave {meant.flag} out")
        if self.form == "dense" and not method.takes_width:
            raise UsageError("--form", f"dense goes with reduce, not {method.name}", "leave --form out")
