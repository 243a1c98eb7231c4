"""Both views of a TorchScript network as one TorchScript module, which needs nothing but torch to run.

    def forward(self, x: Tensor) -> Tensor:
        value_0 = self.mirror_inputs[0](x)
        value_1 = self.views[0](x)
        value_2 = self.views[0](value_0)
        return 0.5 * (value_1 + self.mirror_outputs[0](value_2))

is what it writes for a network of one tensor, and lets torch compile. It holds the network twice (`views[1]`) where
that keeps a state or has methods that write: each view has its own.  Further methods (`reset_memory`) call both
views; plain attributes are those of the network.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from chiralize.errors import ExportError
from chiralize.errors.words import first_line
from chiralize.graph.copies import replaced
from chiralize.graph.running import Call
from chiralize.graph.silence import quiet
from chiralize.nn.deploy.script_source import INSTEAD, Inputs, Lines, Outputs, is_plain, signature, tensors_by_path
from chiralize.nn.two_view import MirrorTensor, TwoView
from chiralize.storage.script_writing import on_parameters_of

_WRITES = re.compile(r"prim::SetAttr|aten::[a-z]\w*_\(")
_PARTS = ("views", "mirror_inputs", "mirror_outputs", "training")


@dataclass(frozen=True)
class ScriptMethods:
    """The methods of a TorchScript module beside forward.

    public: those that others may call, by name, with their schemas.  helpers: those that only the module's own methods
    call, and what Python needs to copy it.
    """

    public: Mapping[str, Any]
    helpers: tuple[str, ...]

    @staticmethod
    def of(script: Any) -> ScriptMethods:
        """Read them off a TorchScript module.

        What a method of the module calls counts as its helper, unless it takes no arguments: `reset()`, which
        forward may call itself, is for others too.
        """
        names = sorted(name for name in script._c._method_names() if name != "forward")
        called = set(_called(script, [*names, "forward"]))
        public: dict[str, Any] = {}
        helpers: list[str] = []
        for name in names:
            schema = script._c._get_method(name).schema
            is_helper = name in called and len(schema.arguments) > 1
            if is_helper or name.startswith("__"):
                helpers.append(name)
            else:
                public[name] = schema
        return ScriptMethods(public, tuple(helpers))

    @property
    def without_arguments(self) -> tuple[str, ...]:
        """Names of the methods that can be called without arguments."""
        names: list[str] = []
        for name, schema in self.public.items():
            if all(argument.has_default_value() for argument in schema.arguments[1:]):
                names.append(name)
        return tuple(names)


def both_views(script: Any, two_view: TwoView, example: Call) -> tuple[Any, tuple[str, ...]]:
    """(f(x) + T f(T x)) / 2 for a TorchScript module f, which is not touched; and attributes that it lacks.

    two_view: the same as a plain module, which says what T is.  example: a call of f itself.
    Raises ExportError for types and methods that cannot be expressed.
    """
    methods = ScriptMethods.of(script)
    is_written = any(_WRITES.search(str(graph)) for graph in _graphs(script, methods))
    holder = _holder("Average")
    views = [replaced(script, {})]
    # The second copy is on the parameters of the first, with buffers of its own.
    if len(two_view.views) > 1 or (methods.public and is_written):
        views.append(on_parameters_of(script, views[0]))
    holder.views = nn.ModuleList(views)
    holder.mirror_inputs = nn.ModuleList(map(_scripted, two_view.mirror_inputs))
    holder.mirror_outputs = nn.ModuleList(map(_scripted, two_view.mirror_outputs))
    left_out = _copy_attributes(script, holder, is_written)
    source = "\n".join([_forward(script, two_view, example, len(views)), *_others(methods, len(views))])
    return _compiled(holder, source), left_out


def _holder(name: str) -> nn.Module:
    """An empty module of a class of its own: TorchScript gives modules of one class the methods of the first."""
    return type(name, (nn.Module,), {"__init__": nn.Module.__init__})()


def _compiled(holder: nn.Module, source: str) -> Any:
    """The module with the methods of a text. Raises ExportError where TorchScript does not take it."""
    try:
        with quiet():
            module = torch.jit.script(holder.eval())
            module.define(f"{source}\n")
    except Exception as error:  # the compiler has errors of many kinds
        facts = f"TorchScript does not take the two views of the network ({first_line(error)})"
        raise ExportError("TorchScript", facts, INSTEAD) from error
    return module


def _scripted(mirror: nn.Module) -> Any:
    """T on one tensor, scripted; on a state nothing, since each view has its own."""
    holder = _holder("Mirror")
    lines = Lines()
    name = "x"
    if isinstance(mirror, MirrorTensor):
        for buffer, tensor in mirror.named_buffers():
            holder.register_buffer(buffer, tensor.clone())
        for axis in mirror.axes:
            name = lines.hold(f"{name}.index_select({axis}, self.partner{axis})")
            if f"sign{axis}" in holder._buffers:
                name = lines.hold(f"{name} * self.sign{axis}.to({name}.dtype)")
        if mirror.sign < 0:
            name = lines.hold(f"-{name}")
        if "shift" in holder._buffers:
            name = lines.hold(f"{name} + self.shift.to({name}.dtype)")
    if name == "x":
        name = lines.hold("x.clone()")  # a view may write into its arguments, which the other one must not see
    lines.do(f"return {name}")
    return _compiled(holder, f"def forward(self, x: Tensor) -> Tensor:\n{lines.text()}")


# ---- forward --------------------------------------------------------------------------------------------------------
def _forward(script: Any, two_view: TwoView, example: Call, count: int) -> str:
    """The text of forward: arguments for both views, their answers, and the average of these."""
    schema = script.forward.schema
    args, kwargs = example
    names = [str(argument.name) for argument in schema.arguments[1:]]
    paths: dict[str, str] = {name: f"[0][{at}]" for at, name in enumerate(names[: len(args)])}
    paths |= {name: f"[1][{name!r}]" for name in kwargs}
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    lines = Lines()
    inputs = Inputs(lines, tensors_by_path((tuple(args), dict(kwargs))), two_view.input_states)
    ours: list[str] = []
    theirs: list[str] = []
    for argument in schema.arguments[1:]:
        value = given.get(argument.name, argument.default_value)
        one, other = inputs.split(argument.type, value, argument.name, paths.get(argument.name, ""))
        ours.append(one)
        # T x is made before the first view runs, which may write into x.
        theirs.append(other if other == "None" else lines.hold(other))
    first = lines.hold(f"self.views[0]({', '.join(ours)})")
    second = lines.hold(f"self.views[{count - 1}]({', '.join(theirs)})")
    with torch.no_grad(), quiet():
        # One call of a copy says what is in lists and dictionaries; types say all else.
        answer = replaced(script, {})(*copy.deepcopy(args), **copy.deepcopy(kwargs))
    numbers = tensors_by_path(answer)
    outputs = Outputs(lines, numbers, two_view.output_states, two_view.finer, two_view.output_same)
    (returned,) = schema.returns
    lines.do(f"return {outputs.join(returned.type, answer, first, second, '')}")
    return f"{signature('forward', schema)}\n{lines.text()}"


# ---- other methods --------------------------------------------------------------------------------------------------
def _others(methods: ScriptMethods, count: int) -> Iterator[str]:
    """The texts of all other methods: both views are called. Raises ExportError for those that take or give tensors."""
    for name, schema in methods.public.items():
        kinds = [argument.type for argument in (*schema.arguments[1:], *schema.returns)]
        if not all(map(is_plain, kinds)):
            facts = f"the method {name!r} takes or returns tensors, of which nobody has said how they are mirrored"
            raise ExportError("TorchScript", facts, INSTEAD)
        lines = Lines()
        arguments = ", ".join(argument.name for argument in schema.arguments[1:])
        (returned,) = schema.returns
        answers: list[str] = []
        for view in range(count):
            call = f"self.views[{view}].{name}({arguments})"
            if returned.type.kind() == "NoneType":
                lines.do(call)
            else:
                answers.append(lines.hold(call))
        if len(answers) == 2:
            lines.require(" == ".join(answers), f"{name}: the two views of the body answer differently")
        if answers:
            lines.do(f"return {answers[0]}")
        yield f"{signature(name, schema)}\n{lines.text()}"


def _called(script: Any, names: list[str]) -> Iterator[str]:
    """Methods of the module itself that some of its methods call."""
    for name in names:
        if not script._c._has_method(name):
            continue
        graph = script._c._get_method(name).graph
        itself = next(iter(graph.inputs())).debugName()
        for node in graph.findAllNodes("prim::CallMethod"):
            if next(iter(node.inputs())).debugName() == itself:
                yield node.s("name")


def _graphs(script: Any, methods: ScriptMethods) -> Iterator[Any]:
    """The graphs of forward and of all public methods, calls inlined, so that writes within show."""
    for name in ("forward", *methods.public):
        yield script._c._get_method(name).inlined_graph


# ---- what it holds --------------------------------------------------------------------------------------------------
def _copy_attributes(script: Any, holder: nn.Module, is_written: bool) -> tuple[str, ...]:
    """Give the holder the network's plain attributes, and its tensors where no method writes any.

    Returns the names of those that it does not get: a state is there once per view.
    """
    kind: Any = torch._C.ConcreteModuleType.from_jit_type(script._c._type())
    written = _set_by_methods(script)
    left_out: list[str] = []
    for name in sorted(kind.get_attributes()):
        if name in _PARTS or name.startswith("_"):
            continue
        value = script._c.getattr(name)
        # One of three: a tensor that nobody writes, a plain value that no method sets, or something that each view
        # has for itself.
        if isinstance(value, torch.Tensor) and not is_written:
            holder.register_buffer(name, value.detach().clone())
        elif name not in written and _is_plain_value(value):
            setattr(holder, name, value)
        elif not isinstance(value, nn.Module):
            left_out.append(name)
    return tuple(left_out)


def _set_by_methods(script: Any) -> set[str]:
    """Attributes that some method sets."""
    names: set[str] = set()
    for method in script._c._method_names():
        for node in script._c._get_method(method).inlined_graph.findAllNodes("prim::SetAttr"):
            names.add(node.s("name"))
    return names


def _is_plain_value(value: Any) -> bool:
    """Whether TorchScript takes a value as an attribute without being told its type."""
    if isinstance(value, (list, tuple)):
        return bool(value) and all(map(_is_plain_value, value))
    return isinstance(value, (bool, int, float, str))
