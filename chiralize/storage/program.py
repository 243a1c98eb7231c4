"""The graph of a `.pt2` before torch reads it: every text in it must be harmless where torch will put it.

`torch.export.load` evaluates size expressions, compiles guards, pastes node and argument names into generated Python,
looks operators up by dotted name and imports the modules of enum keys.  So each text is judged by the key it stands
under, and a text under a key that is not listed here is refused.

`read_pt2` calls `checked_program` for the graph and `checked_config` for the tables of weights.  Both give back what
was checked, written anew.  Of this node

    {"target": "torch.ops.aten.add.Tensor", "inputs": [{"name": "self", "arg": {"as_tensor": {"name": "x"}}}],
     "metadata": {"stack_trace": "..."}}

the target must be a tensor operator, both names must be identifiers, and of the metadata only texts for messages stay.
"""

from __future__ import annotations

import json
import keyword
import re
from collections.abc import Callable
from typing import Any

from chiralize.errors import ModelFileError, UnsafeFileError
from chiralize.storage.bounds import check_lists, check_work
from chiralize.storage.expressions import guard_fault, is_plain_text, size_expression_fault

_REMEDY = "do not use this file; or export the model again, or give its weights with `--model pkg.mod:factory`."
_PATH = re.compile(r"[A-Za-z0-9_@\-]*(\.[A-Za-z0-9_@\-]+)*")
_FILE = re.compile(r"(weight|tensor)_\d+")
_DUNDER = re.compile(r"(^|\.)__")
"""A part of a path that begins so leads to Python's own attributes: `forward.__globals__`."""
_NUMBER = re.compile(r"-?(nan|inf|infinity|\d+(\.\d+)?(e[+-]?\d+)?)", re.IGNORECASE)
_ATEN = re.compile(
    r"torch\.ops\.(aten|prims|quantized|quantized_decomposed|torchvision|mkldnn)\.[A-Za-z]\w*(\.[A-Za-z]\w*)?"
    r"|torch\.ops\.aten\._[A-Za-z]\w*(\.[A-Za-z]\w*)?|torch\.ops\.aten\.__(and|or|xor|lshift|rshift)__\.\w+"
)
_HIGHER_ORDER = frozenset(
    "associative_scan autograd_function_apply cond flex_attention invoke_subgraph map_impl out_dtype scan strict_mode "
    "tag_activation_checkpoint while_loop wrap wrap_activation_checkpoint wrap_with_autocast "
    "wrap_with_set_grad_enabled".split()
)
_OPERATORS = "add and_ eq floordiv ge getitem gt le lshift lt mod mul ne neg not_ or_ pos pow rshift sub truediv"
_VMAP = "_add_batch_dim _remove_batch_dim _vmap_increment_nesting _vmap_decrement_nesting lazy_load_decompositions"
_PYTHON_NAMES = frozenset(
    [f"_operator.{name}" for name in _OPERATORS.split()]
    + [f"math.{name}" for name in "ceil floor sqrt trunc".split()]
    + [f"torch._functorch.predispatch.{name}" for name in _VMAP.split()]
    + [f"torch.{name}" for name in "_sym_sqrt sym_float sym_int sym_ite sym_max sym_min sym_not sym_sum".split()]
)
"""Ops of Python on sizes: torch looks a target up by its dotted name, whatever module that is in."""
_FILE_OPS = re.compile(r"\.(from_file|save|load|_print|open\w*)(\.|$)")
"""Tensor operators that read or write files, or print."""
_KEPT_METADATA = ("stack_trace", "nn_module_stack", "torch_fn")
_TREE_TYPES = frozenset("builtins.tuple builtins.list builtins.dict collections.OrderedDict collections.deque".split())


class _RefusedError(Exception):
    """The place of a harmful text, and what it is; raised from this module as UnsafeFileError."""


def _identifier(text: str) -> bool:
    """A name of Python in ASCII, or nothing.  Names are pasted into code, where `__` begins the interpreter's own."""
    return text == "" or (text.isascii() and text.isidentifier() and not text.startswith("__"))


def _argument(text: str) -> bool:
    """A name that a function can have as an argument."""
    return _identifier(text) and not keyword.iskeyword(text)


def _dotted(text: str) -> bool:
    """A path of attributes: `layers.0.weight`."""
    return _PATH.fullmatch(text) is not None and _DUNDER.search(text) is None


def operator_is_known(target: str) -> bool:
    """Whether a graph may call this dotted name: tensor operators and size arithmetic, nothing that touches files."""
    if target in _PYTHON_NAMES:
        return True
    if target.startswith("torch.ops.higher_order."):
        return target.removeprefix("torch.ops.higher_order.") in _HIGHER_ORDER
    return _ATEN.fullmatch(target) is not None and _FILE_OPS.search(target) is None


# What a text may be, by the key it stands under.  Those of `name` and the like are pasted into generated functions,
# `fqn` and its like are split at dots and looked up in the module, `expr_str` and `guards_code` are evaluated.
_TEXTS: dict[str, Callable[[str], bool]] = {
    "name": _identifier,
    "as_name": _identifier,
    "target": operator_is_known,
    "as_operator": operator_is_known,
    "forward_arg_names": _argument,
    "field_names": _identifier,
    "verifiers": _identifier,
    "type": _identifier,
    "fqn": _dotted,
    "parameter_name": _dotted,
    "buffer_name": _dotted,
    "tensor_constant_name": _dotted,
    "user_input_name": _dotted,
    "torch_version": lambda text: is_plain_text(text.lstrip("<=")),
    "as_float": lambda text: _NUMBER.fullmatch(text) is not None,
    "as_floats": lambda text: _NUMBER.fullmatch(text) is not None,
    "as_string": is_plain_text,
    "as_strings": is_plain_text,
    "expr_str": lambda text: size_expression_fault(text) is None,
    "guards_code": lambda text: guard_fault(text) is None,
}
# What the names of a table may be, where they are chosen by the file.
_TABLES: dict[str, Callable[[str], bool]] = {
    "treespec_namedtuple_fields": _dotted,
    "config": _dotted,
    "range_constraints": lambda text: size_expression_fault(text) is None,
}


def checked_program(data: bytes, member: str, where: str) -> bytes:
    """The graph `models/NAME.json`, checked and written anew for the CPU.  Raises UnsafeFileError, ModelFileError."""
    # In this order: lists of bearable length, then plain texts, then the work of expressions, which takes plain ones.
    tree = _json(data, member, where)
    check_lists(tree, member, where)
    tree = _harmless(tree, member, where)
    check_work(tree, member, where)
    return json.dumps(tree).encode()


def checked_config(data: bytes, member: str, where: str) -> dict[str, dict[str, Any]]:
    """The table of weights or constants: name -> entry.  Raises UnsafeFileError, ModelFileError."""
    tree = _json(data, member, where)
    if not isinstance(tree, dict) or not isinstance(tree.get("config"), dict):
        raise ModelFileError(where, f"{member} has no table `config`", "export the model again.")
    check_lists(tree, member, where)
    # torch unpickles members of other names without limits: those of custom objects.
    for name, entry in tree["config"].items():
        file = entry.get("path_name") if isinstance(entry, dict) else None
        if not isinstance(file, str) or not _FILE.fullmatch(file):
            facts = f"{member} keeps {name!r} in {file!r}: only plain tensors are read, never pickled objects"
            raise UnsafeFileError(where, facts, _REMEDY)
    return _harmless({"config": tree["config"]}, member, where)["config"]


def _json(data: bytes, member: str, where: str) -> Any:
    """The values of a JSON text.  Raises ModelFileError."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        facts = f"member {member!r} is not valid JSON ({error})"
        raise ModelFileError(where, facts, "export the model again with torch.export.save.") from error


def _harmless(tree: Any, member: str, where: str) -> Any:
    """The tree with CPU devices and without unused metadata.  Raises UnsafeFileError for a text that could do harm."""
    try:
        return _walk(tree, "", member, in_node=False)
    except (_RefusedError, RecursionError) as error:
        raise UnsafeFileError(where, str(error) or f"{member} is nested too deeply", _REMEDY) from error


def _walk(value: Any, key: str, location: str, in_node: bool) -> Any:
    """`value` with CPU devices and without unused metadata.  Raises _RefusedError.

    key: under which it stands, for lists that of the list.  location: for messages.  in_node: below a list of nodes.
    """
    # A text under its key; a list, whose entries stand under the key of the list; a number; or a table.
    if isinstance(value, str):
        _check_text(value, key, location, in_node)
        return value
    if isinstance(value, list):
        return [_walk(entry, key, location, in_node) for entry in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"type", "index"}:  # a device: everything is read on the CPU
        _check_text(str(value["type"]), "type", location, in_node)
        return {"type": "meta" if value["type"] == "meta" else "cpu", "index": None}
    _check_custom_objects(value, location)
    result: dict[str, Any] = {}
    for name, item in value.items():
        # Keys are texts, too.  Mostly they are torch's own words; in a few tables they are the file's.
        if not _TABLES.get(key, _identifier)(name):
            raise _RefusedError(f"{location}: the name {name[:80]!r} is not one that torch writes")
        if name == "metadata":
            result[name] = _kept_metadata(item, location)
        elif name in ("in_spec", "out_spec"):
            result[name] = _checked_tree(item, f"{location}.{name}")
        elif name == "path_name":
            result[name] = item  # judged by `checked_config`
        else:
            inner = f"{location}.{name}" if len(location) < 120 else location
            result[name] = _walk(item, name, inner, in_node or name == "nodes")
    return result


def _check_text(text: str, key: str, location: str, in_node: bool) -> None:
    """Raise _RefusedError for a text that may not stand under this key."""
    if in_node and key in ("as_string", "as_strings"):
        return  # an argument of an operator: written into generated code as a quoted literal by `repr`
    allowed = _TEXTS.get(key)
    if allowed is not None and allowed(text):
        return
    shown = repr(text[:80])
    facts = f"text {shown} where torch writes none like it; it could end up in generated code"
    if key in ("target", "as_operator"):
        facts = f"the graph calls {shown}, which is not a tensor operator that files may name"
    elif key == "expr_str":
        facts = f"size expression {shown} holds {size_expression_fault(text)}; torch evaluates it"
    elif key == "guards_code":
        facts = f"input guard {shown} holds {guard_fault(text)}; torch compiles and runs it"
    raise _RefusedError(f"{location}: {facts}")


def _check_custom_objects(value: dict, location: str) -> None:
    """Raise _RefusedError for a table that holds or names a pickled object."""
    if value.get("custom_obj_values") or "custom_obj" in value or "as_custom_obj" in value:
        raise _RefusedError(f"{location}: holds a custom object, which only running its own code could restore")


def _kept_metadata(item: Any, location: str) -> dict[str, str]:
    """The texts that tell where a node comes from.  All others are left out: torch would look them up, or decode."""
    if not isinstance(item, dict) or not all(isinstance(text, str) for text in item.values()):
        raise _RefusedError(f"{location}: metadata is not a table of texts")
    return {name: _printable(item[name]) for name in _KEPT_METADATA if name in item}


def _printable(text: str) -> str:
    """The text with `?` for all but printable characters and line feeds: torch writes origins as comments into code."""
    for character in set(text):  # a carriage return would end the comment
        if character != "\n" and not character.isprintable():
            text = text.replace(character, "?")
    return text


def _checked_tree(text: Any, location: str) -> Any:
    """The description of nested inputs or outputs, checked: torch looks up its types and enum classes by name."""
    if text == "" or text is None:
        return text
    # A JSON text within JSON: (protocol, tree).
    try:
        version, spec = json.loads(text)
    except (ValueError, TypeError) as error:
        raise _RefusedError(f"{location}: not a tree description") from error
    _check_spec(spec, location)
    # Of inputs the tree is (args, kwargs): names of keyword arguments become arguments of a generated function.
    children = spec.get("children_spec") or []
    if len(children) == 2 and children[1].get("type") == "builtins.dict":
        names = json.loads(children[1]["context"])
        if not isinstance(names, list) or not all(isinstance(name, str) and _argument(name) for name in names):
            raise _RefusedError(f"{location}: keyword arguments {names!r} are not names")
    return json.dumps([version, spec])


def _check_spec(spec: Any, location: str) -> None:
    """Check a level of a tree and those below.  Raises _RefusedError.

    {"pose": x} is {"type": "builtins.dict", "context": '["pose"]', "children_spec": [{"type": null, ...}]}: a leaf has
    no type.
    """
    if not isinstance(spec, dict) or not isinstance(spec.get("children_spec", []), list):
        raise _RefusedError(f"{location}: not a tree description")
    # The context of a named tuple is the name of its class, of other containers their keys.
    kind, context = spec.get("type"), spec.get("context")
    if kind == "collections.namedtuple":
        if not isinstance(context, str) or not _dotted(context):
            raise _RefusedError(f"{location}: named tuple {context!r}")
    elif kind is not None:
        if not isinstance(kind, str) or kind not in _TREE_TYPES:
            raise _RefusedError(
                f"{location}: nested inputs of type {str(kind)[:80]!r}; only tuple, list and dict are read"
            )
        _check_context(context, location)
    for child in spec.get("children_spec", []):
        _check_spec(child, location)


def _check_context(context: Any, location: str) -> None:
    """Check the keys of a dict, which stand in a JSON text of their own.  Raises _RefusedError."""
    try:
        keys = json.loads(context)
    except (ValueError, TypeError) as error:
        raise _RefusedError(f"{location}: keys {str(context)[:80]!r}") from error
    for key in keys if isinstance(keys, list) else [keys]:
        if not (key is None or isinstance(key, int) or (isinstance(key, str) and is_plain_text(key))):
            raise _RefusedError(f"{location}: key {str(key)[:80]!r} is neither plain text nor a number")
