"""The specification of one conversion: skeletons, the layout of every tensor, and the policy for hidden spaces.

`load_spec` is the only way from a name or file to a `ConversionSpec`; after it nobody looks at YAML again.

    load_spec("h36m")                                          a shipped skeleton; layouts are inferred from sizes
    load_spec("dog.yaml", input_layouts=["b t j d"])           a file, with layouts of the command line
    load_spec({"skeleton": "h36m", "inputs": ["b j d"]})       the keys of a file

All commands begin here. No network is known yet: `resolution.resolve` fits the specification to a network's shapes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

from chiralize.body.skeleton.catalog import FILE_KEYS, base_of, locate, shipped_file, skeleton_of
from chiralize.body.skeleton.mirrors import MIRRORS, check_skeletons, mirrors_in
from chiralize.body.skeleton.nodes import Node, from_python, read_optional
from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.skeleton.yaml_source import parse_yaml, read_yaml
from chiralize.body.tensors.entries import TensorEntry
from chiralize.body.tensors.hidden import HiddenPolicy
from chiralize.body.tensors.one_limb import doubts_of_one_limb
from chiralize.body.tensors.reading import entry_from_layout, read_entries, read_hidden
from chiralize.body.tensors.unlike import sides_apart, unlike_swaps
from chiralize.errors import SpecError, WrongValueError

ACTIVATIONS = ("keep", "tanh")


@dataclass(frozen=True, repr=False)
class ConversionSpec:
    """Everything that describes the mirror of one model.

    inputs, outputs: one entry per tensor, None where the layouts are inferred from the sizes.
    invariant: every output is invariant (scores).  activation: `keep` or `tanh`.
    notices: what was assumed while reading, for the user to see.  named: where the file names several mirrors, the
    specification of each, by name; the first of them is what this record holds otherwise.
    """

    name: str
    skeleton: Skeleton
    inputs: tuple[TensorEntry, ...] | None = None
    outputs: tuple[TensorEntry, ...] | None = None
    hidden: HiddenPolicy = field(default_factory=HiddenPolicy)
    activation: str = "keep"
    invariant: bool = False
    notices: tuple[str, ...] = ()
    named: tuple[tuple[str, ConversionSpec], ...] = ()

    def mirrors(self) -> dict[str, ConversionSpec]:
        """Every mirror by name, each as a specification of that one alone; one without a name is `mirror`."""
        return dict(self.named) or {"mirror": self}

    @property
    def is_affine(self) -> bool:
        """Whether some coordinates are mirrored at a point other than 0, so that biases hold an offset."""
        return any(entry.is_affine for entry in self.entries)

    @property
    def entries(self) -> tuple[TensorEntry, ...]:
        """Those of the inputs, then those of the outputs; none for layouts that are inferred."""
        return (*(self.inputs or ()), *(self.outputs or ()))

    def __repr__(self) -> str:
        return f"<ConversionSpec {self.name}: {_layouts(self.inputs)} -> {_layouts(self.outputs)}, {self.skeleton!r}>"

    def to_dict(self) -> dict[str, object]:
        """The specification as JSON values: the keys of a file, with the skeleton inlined, and the notices."""
        fields: dict[str, object] = {"chiralize": 1, "name": self.name, "skeleton": self.skeleton.to_dict()}
        for key, entries in (("inputs", self.inputs), ("outputs", self.outputs)):
            if entries is not None:
                fields[key] = [entry.to_dict() for entry in entries]
        fields |= {"hidden": self.hidden.to_dict(), "activation": self.activation}
        fields |= {"invariant": self.invariant, "notices": list(self.notices)}
        if self.named:
            fields[MIRRORS] = {name: spec.to_dict() for name, spec in self.named}
        return fields

    @staticmethod
    def from_dict(fields: Mapping[str, object]) -> ConversionSpec:
        """The inverse of `to_dict`. Raises SpecError."""
        # What no file may say is taken out before the rest is read as a file.
        rest = dict(fields)
        several = rest.pop(MIRRORS, {})
        if not isinstance(several, Mapping):
            raise SpecError("specification", "`mirrors` is no table", "convert the network again")
        named = tuple((str(name), ConversionSpec.from_dict(spec)) for name, spec in several.items())
        invariant, notices = bool(rest.pop("invariant", False)), rest.pop("notices", [])
        root = from_python(rest, "specification")
        spec = _read(root)
        skeleton = read_optional(root.mapping("a specification"), "skeleton", base_of, None, []) or spec.skeleton
        texts = tuple(map(str, notices)) if isinstance(notices, Sequence) else ()
        return replace(spec, skeleton=skeleton, invariant=invariant, notices=texts, named=named)


def _layouts(entries: tuple[TensorEntry, ...] | None) -> str:
    """`'b t j d', free`, or that they are inferred."""
    if entries is None:
        return "inferred"
    return ", ".join(map(_layout, entries)) or "nothing"


def _layout(entry: TensorEntry) -> str:
    """`'b t j d'`, else the kind of the entry."""
    if entry.layout:
        return repr(entry.layout)
    return entry.kind


def load_spec(
    name_or_path: str | Path | Mapping[str, object] | Skeleton | ConversionSpec,
    *,
    input_layouts: Sequence[str] = (),
    output_layouts: Sequence[str] = (),
    invariant: bool = False,
) -> ConversionSpec:
    """The specification of a shipped skeleton, a file, a dict with the keys of a file, a Skeleton, or another one.

    input_layouts, output_layouts: layout strings (or free, invariant, state, unclaimed, auto) in the order of the
    tensors; they replace the layouts of the file.  invariant: all outputs are scores that the mirror leaves alone.
    Raises UnknownNameError, SpecError of every kind, with file and line.
    """
    # Options hold for every mirror of a file alike.
    spec = _load(name_or_path)
    named = tuple((name, _with_options(one, input_layouts, output_layouts, invariant)) for name, one in spec.named)
    return replace(_with_options(spec, input_layouts, output_layouts, invariant), named=named)


def _with_options(
    spec: ConversionSpec, input_layouts: Sequence[str], output_layouts: Sequence[str], invariant: bool
) -> ConversionSpec:
    """The specification of one mirror with layouts in place of those of the file, and with invariant outputs."""
    if invariant:
        if output_layouts or any(entry.kind not in ("invariant", "state", "like") for entry in spec.outputs or ()):
            facts = "the outputs are described already, by the file or by layouts"
            raise WrongValueError("--invariant", facts, "drop one of them")
        spec = replace(spec, invariant=True)
    inputs = _with_layouts(spec.inputs, input_layouts, "input")
    outputs = _with_layouts(spec.outputs, output_layouts, "output")
    return replace(spec, inputs=inputs, outputs=outputs)


def parse_spec(text: str, source: str = "<text>") -> ConversionSpec:
    """The specification that YAML text describes. Raises SpecError."""
    return _read(parse_yaml(text, source))


def _load(name_or_path: str | Path | Mapping[str, object] | Skeleton | ConversionSpec) -> ConversionSpec:
    """The specification without options; a relative path counts from the working directory."""
    if isinstance(name_or_path, ConversionSpec):
        return name_or_path
    if isinstance(name_or_path, Skeleton):
        return ConversionSpec(name_or_path.name, name_or_path)
    if isinstance(name_or_path, Mapping):
        return _read(from_python(name_or_path, "specification"))
    notices: list[str] = []
    location = locate(name_or_path, Path(), "skeleton", notices)
    if isinstance(location, Skeleton):
        # Shipped files of robots describe tensors, too, which the skeleton alone does not have.
        file = shipped_file(location.name)
        return replace(_read(read_yaml(file), file), notices=tuple(notices))
    return _read(read_yaml(location), location, notices)


def _read(root: Node, path: Path | None = None, noticed: Sequence[str] = ()) -> ConversionSpec:
    """The specification of a parsed file.  path: the file.  noticed: what was assumed on the way to it."""
    # Of several mirrors each is read as a file of its own, which names none.
    by_mirror = mirrors_in(root)
    if by_mirror:
        return _of_several({name: _read(one, path, noticed) for name, one in by_mirror.items()}, root.where)
    notices = list(noticed)
    fields = root.mapping("a specification", FILE_KEYS)
    skeleton = skeleton_of(root, path, notices)
    default = path.stem if path is not None else skeleton.name

    def read_base(node: Node) -> Skeleton:
        """The skeleton of one tensor, which may be a file beside this one."""
        return base_of(node, path, notices)

    inputs = read_optional(fields, "inputs", read_entries, "input", skeleton, read_base)
    outputs = read_optional(fields, "outputs", read_entries, "output", skeleton, read_base)
    activation = read_optional(fields, "activation", Node.choice, "activation", ACTIVATIONS) or "keep"
    hidden = read_optional(fields, "hidden", read_hidden) or HiddenPolicy()
    if activation == "keep" and hidden.any_negated:
        notices.append(
            f"{fields['hidden'].where}: hidden.negated with activation: keep: spaces that meet an activation that is "
            "not odd become sign-free (activation: tanh keeps the negated channels)"
        )
    name = read_optional(fields, "name", Node.name, "name") or default
    return ConversionSpec(name, skeleton, inputs, outputs, hidden, activation, notices=tuple(notices))


def doubts_of(spec: ConversionSpec) -> Iterator[str]:
    """Blocks of a specification that are formally right and probably not meant, in words."""
    by_entry = (entry.doubts(spec.skeleton) for entry in spec.entries)
    of_swaps = unlike_swaps(spec.inputs or (), spec.outputs or (), spec.skeleton)
    of_limbs = doubts_of_one_limb(spec.entries, spec.skeleton)
    of_sides = sides_apart(spec.inputs or (), spec.outputs or ())
    for where, doubt in chain(chain.from_iterable(by_entry), of_sides, of_swaps, of_limbs):
        yield f"{where}: {doubt}" if where else doubt


def _of_several(specs: Mapping[str, ConversionSpec], where: str) -> ConversionSpec:
    """One specification of several mirrors. Raises NotAnInvolutionError where two of them do not commute."""
    check_skeletons({name: spec.skeleton for name, spec in specs.items()}, where)
    first = next(iter(specs.values()))
    return replace(first, named=tuple(specs.items()) if len(specs) > 1 else ())


def _with_layouts(
    entries: tuple[TensorEntry, ...] | None, layouts: Sequence[str], what: str
) -> tuple[TensorEntry, ...] | None:
    """The entries with layouts of the command line in place of the file's, from the first on.

    what: `input` or `output`. Raises WrongValueError where there are more layouts than entries, SpecError.
    """
    if not layouts:
        return entries
    option = f"--{what}-layout"
    given = [entry_from_layout(text, f"{option} {number}") for number, text in enumerate(layouts, 1)]
    if entries is None:
        return tuple(given)
    if len(given) > len(entries):
        facts = f"{len(given)} layouts, but the file describes {len(entries)} {what}s"
        raise WrongValueError(option, facts, "give one layout per tensor")
    merged = list(entries)
    for number, (entry, new) in enumerate(zip(entries, given, strict=False)):
        # A layout changes where joints and fields lie, and keeps what the file says of them; a word replaces all of it.
        if new.kind == "pose" and entry.kind in ("pose", "fields"):
            new = replace(entry, layout=new.layout, mirror=new.mirror or entry.mirror)
        if new.kind == "fields" and new.layout is not None and "f" not in new.layout.split():
            raise SpecError(option, f"layout {new.layout!r} for a tensor of fields", "mark their axis with f")
        merged[number] = new
    return tuple(merged)
