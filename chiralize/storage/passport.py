"""The record that travels with a converted network (`chirality.json`): mirror, hidden representations, figures.

With it `verify` needs no skeleton, and the certificate needs no search.

Conversion makes a `Passport`, writers put its text into the file or beside it (`sidecar`), and `verify`, `load` and
`attach` read it.  Nothing in it is believed: both verdicts are found anew.  Representations of axes are long and few,
so that the text has each of them once.  Of a network with two weights "out in" over the same hidden axis, abbreviated:

    "representations": ["<axis of joints>", "<axis of hidden units>"],
    "hidden": {"first.weight": [1, 1, 0], "second.weight": [1, 0, 1]}     sign, then positions of the axes
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from math import isfinite
from typing import Any

from chiralize.body.tensors import ConversionSpec
from chiralize.errors import ModelFileError
from chiralize.graph.mirror import AgainstNames, MirrorFit
from chiralize.graph.regions import is_region
from chiralize.storage import former_names
from chiralize.storage.calls import recorded_call
from chiralize.symmetry.representation import Representation, TensorRepresentation

FORMAT = 1
"""Of the text; other numbers are refused."""
_LARGEST = 1e300
LEAST_SIZES = "least_sizes"
"""The figure of a network that has no answer at some sizes of an open axis: from which on it has, {"frames": 2}."""
BY_MIRROR = "odd_random_by_mirror"
"""The figure in which files of several mirrors have what `odd_random` is for one, by their names."""


@dataclass(frozen=True)
class Passport:
    """The record of a conversion.

    spec: the mirror.  method, form: how the network was made.  hidden: representation of every weight and state by
    name.  exchanged: weights that the mirror takes to another one, and that one's name.  entry: the method that is
    called.  averaged: the stretches of the graph that both views run through.  figures: gap, drift, residuals and the
    like, for people and tools; `mirror` is how well T fitted the original.  inputs: of the call that was verified, as
    `calls.call_record` writes them; None in files of older versions.  mirrors: where there are several, the
    representations under each, by its name; `hidden` has those of the first.  converted_for: the mirror of the file,
    where the user named another one, which is then `spec`; it is not written.
    """

    spec: ConversionSpec
    method: str
    form: str
    hidden: Mapping[str, TensorRepresentation] = field(default_factory=dict)
    entry: str = "forward"
    figures: Mapping[str, Any] = field(default_factory=dict)
    exchanged: Mapping[str, str] = field(default_factory=dict)
    averaged: tuple[str, ...] = ()
    inputs: Any = None
    mirrors: Mapping[str, Mapping[str, TensorRepresentation]] = field(default_factory=dict)
    converted_for: ConversionSpec | None = None

    @property
    def is_average(self) -> bool:
        """Whether both views run through the whole of the original."""
        return self.form == "two-view"

    @property
    def others(self) -> tuple[Mapping[str, TensorRepresentation], ...]:
        """Representations of the weights under all mirrors but the first."""
        return tuple(self.mirrors.values())[1:]

    @property
    def mirror_fit(self) -> MirrorFit | None:
        """How well T fitted the original, None where nobody asked it (files of older versions do not say)."""
        if "mirror" not in self.figures:
            return None
        return _mirror_fit(self.figures["mirror"])

    @property
    def example(self) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """(args, kwargs) of a call of the network; None where the record names none. Raises ValueError for no call."""
        if self.inputs is None:
            return None
        return recorded_call(self.inputs)

    def under(self, name: str) -> Passport:
        """The passport of one of several mirrors alone; itself where there is but one."""
        if not self.mirrors:
            return self
        spec, figures = self.spec.mirrors()[name], dict(self.figures)
        # Shares on real inputs are of the first mirror; those on random ones are there for every mirror.
        figures.pop("odd_random", None)
        if name != next(iter(self.mirrors)):
            figures.pop("odd", None)
        by_mirror = figures.pop(BY_MIRROR, {})
        if name in by_mirror:
            figures["odd_random"] = by_mirror[name]
        return replace(self, spec=spec, hidden=self.mirrors[name], figures=figures, mirrors={})

    def with_spec(self, spec: ConversionSpec) -> Passport:
        """The passport with another mirror, of which nothing is known: without the figures on how well it fitted."""
        if spec == self.spec:
            return self
        if self.mirrors:
            return self._of_one(spec)
        figures = {key: value for key, value in self.figures.items() if key != "mirror"}
        return replace(self, spec=spec, figures=figures, converted_for=self.spec)

    def _of_one(self, spec: ConversionSpec) -> Passport:
        """The passport of that one of several mirrors; of another one nothing is known."""
        for name, one in self.spec.named:
            if one == spec:
                return self.under(name)
        figures = {key: value for key, value in self.figures.items() if key != "mirror"}
        return replace(self, spec=spec, hidden={}, mirrors={}, figures=figures, converted_for=self.spec)

    def to_json(self) -> str:
        """The passport as text. Equal axis representations are written once, and referred to by their positions."""
        table: dict[str, int] = {}
        hidden = _in_table(self.hidden, table)
        mirrors = {name: _in_table(representations, table) for name, representations in self.mirrors.items()}
        several: dict[str, Any] = {"mirrors": mirrors} if mirrors else {}
        return json.dumps(
            {
                **several,
                "chirality": FORMAT,
                "method": self.method,
                "form": self.form,
                "entry": self.entry,
                "spec": self.spec.to_dict(),
                "representations": list(table),
                "hidden": hidden,
                "exchanged": dict(self.exchanged),
                "averaged": list(self.averaged),
                "figures": self.figures,
                "inputs": self.inputs,
            }
        )

    @staticmethod
    def from_json(text: str, where: str) -> Passport:
        """The inverse of `to_json`. Raises ModelFileError for text that is not a passport."""
        try:
            return _from_table(json.loads(text))
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
            fault = f"it has no {error}" if isinstance(error, KeyError) else error
            remedy = "convert the network again, or give --skeleton"
            raise ModelFileError(where, f"chirality.json cannot be read ({fault})", remedy) from error


def _from_table(record: Any) -> Passport:
    """The passport of a JSON table. Raises ValueError, and KeyError and the like where entries are missing."""
    if not isinstance(record, dict):
        raise ValueError("it is no table")
    if record["chirality"] != FORMAT:
        raise ValueError(f"format {record['chirality']!r}, this version reads {FORMAT}")
    # The text may be anybody's: every entry is given the type that it should have, or refused.
    axes = list(map(Representation.parse, record["representations"]))
    hidden = _of_table(record["hidden"], axes)
    spec = ConversionSpec.from_dict(record["spec"])
    # Entries that came with later versions are looked up by `get`: files of older ones lack them.
    mirrors = {str(name): _of_table(rows, axes) for name, rows in record.get("mirrors", {}).items()}
    if mirrors and set(mirrors) != set(spec.mirrors()):
        raise ValueError("mirrors: other names than those of the specification")
    averaged = tuple(map(str, record.get("averaged", ())))
    for name in averaged:
        if not is_region(name):
            raise ValueError(f"averaged: {name!r} names no stretch of a graph")
    figures = dict(record["figures"].items())
    for key in figures.keys() & {"odd", "odd_random"}:
        figures[key] = _shares(key, figures[key])
    if BY_MIRROR in figures:
        figures[BY_MIRROR] = {str(name): _shares(BY_MIRROR, row) for name, row in figures[BY_MIRROR].items()}
    if LEAST_SIZES in figures:
        figures[LEAST_SIZES] = _sizes(figures[LEAST_SIZES])
    if "mirror" in figures:
        _mirror_fit(figures["mirror"])  # raises now if it is none
    exchanged = {str(name): str(other) for name, other in record.get("exchanged", {}).items()}
    method, entry = str(record["method"]), str(record["entry"])
    method = former_names.METHODS.get(method, method)  # as files of older versions say
    passport = Passport(spec, method, record["form"], hidden, entry, figures, exchanged, averaged)
    passport = replace(passport, inputs=record.get("inputs"), mirrors=mirrors)
    _ = passport.example  # raises now if it is no example
    return passport


def _shares(key: str, values: Any) -> tuple[float, ...]:
    """Shares of a variance, by output; JSON has lists in place of tuples. Raises ValueError for what is none."""
    if not isinstance(values, list) or not all(isinstance(value, (int, float)) for value in values):
        raise ValueError(f"figures: {key} is no list of numbers")
    if not all(-_LARGEST <= value <= _LARGEST for value in values):
        raise ValueError(f"figures: {key} has a number that is not finite")
    return tuple(map(float, values))


def _sizes(values: Any) -> dict[str, int]:
    """Sizes of axes by their names. Raises ValueError for what is none."""
    if not isinstance(values, Mapping) or not all(type(size) is int and size > 0 for size in values.values()):
        raise ValueError(f"figures: {LEAST_SIZES} is no table of sizes")
    return {str(axis): size for axis, size in values.items()}


def _in_table(representations: Mapping[str, TensorRepresentation], table: dict[str, int]) -> dict[str, list[int]]:
    """Representations as signs and positions in a table of axes, which grows."""
    rows: dict[str, list[int]] = {}
    for name, representation in representations.items():
        # The table keeps the order of its first entries: the position of an axis is how many were there before it.
        positions = [table.setdefault(str(axis), len(table)) for axis in representation.axes]
        rows[name] = [representation.sign, *positions]
    return rows


def _of_table(rows: Mapping[str, Any], axes: list[Representation]) -> dict[str, TensorRepresentation]:
    """The inverse of `_in_table`. Raises ValueError."""
    hidden: dict[str, TensorRepresentation] = {}
    for name, (sign, *positions) in rows.items():  # a row that is none raises TypeError or ValueError here
        if sign not in (1, -1):
            raise ValueError(f"hidden: {name!r} has a sign that is neither 1 nor -1")
        hidden[name] = TensorRepresentation(tuple(axes[position] for position in positions), sign)
    return hidden


def figures_of(fit: MirrorFit) -> dict[str, Any]:
    """How well T fitted the original, as JSON values; a number that is not finite is written as text."""
    values = asdict(fit)
    for record in ("corrected", "against"):
        values.pop(record)
    values |= {"changes": fit.changes, "changed_gap": fit.corrected.gap}
    values |= {"unlike": fit.unlike, "misplaced": fit.misplaced}
    return {key: _number_or_text(value) for key, value in values.items()}


def _number_or_text(value: Any) -> Any:
    """A value as JSON has it, which knows no infinities and no tuples."""
    if isinstance(value, float) and not isfinite(value):
        return str(value)
    if isinstance(value, tuple):
        return list(value)
    return value


def _mirror_fit(values: Any) -> MirrorFit:
    """The inverse of `figures_of`. Raises ValueError for what is none."""
    if not isinstance(values, Mapping):
        raise ValueError("figures: mirror is no table")
    # Every entry is checked for its type before it is used: the text may be anybody's.
    texts = {key: values.get(key, []) for key in ("skeletons", "better", "unlike", "misplaced")}
    for key, names in texts.items():
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError(f"figures: mirror: {key} is no list of names")
    real, trained, stay = values.get("real"), values.get("trained"), values.get("answers_stay", False)
    if not (isinstance(real, bool) and isinstance(trained, bool) and isinstance(stay, bool)):
        raise ValueError("figures: mirror: real, trained and answers_stay are true or false")
    gap, nearest = float(values["gap"]), str(values.get("nearest", ""))
    nearest_gap, skeletons, better = float(values.get("nearest_gap", 0.0)), texts["skeletons"], texts["better"]
    doubt = str(values.get("doubt", ""))
    fit = MirrorFit(gap, nearest, nearest_gap, real, trained, tuple(skeletons), tuple(better), stay, doubt=doubt)
    return replace(fit, against=AgainstNames(tuple(texts["unlike"]), tuple(texts["misplaced"])))
