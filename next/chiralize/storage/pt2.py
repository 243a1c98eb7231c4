"""What is an exported program (`.pt2`)? Checked member by member, packed anew, then given to torch; and written.

`torch.export.load` evaluates size expressions, looks operators up by name, pastes names into generated code and
unpickles weights of odd kinds without limits. So each text of the graph has to look as torch writes it under its key;
guards and metadata, which nobody needs here, are left out; and only plain numbers are handed on. Of this node

    {"target": "torch.ops.aten.add.Tensor", "inputs": [{"name": "self", "arg": {"as_tensor": {"name": "x"}}}]}

the target must be a tensor operator, and both names must be identifiers.
"""

from __future__ import annotations

import ast
import io
import json
import keyword
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from chiralize.errors import ModelFileError, UnsafeFileError
from chiralize.errors.words import first_line
from chiralize.graph.quiet import quiet
from chiralize.storage.files import Content, packed, write_bytes
from chiralize.storage.torch_file import plain_tree

_NAME = "chirality.json"
_AGAIN = "export the model again with torch.export.save"
_PLAIN_MEMBERS = re.compile(
    r"archive_format|archive_version|byteorder|version|\.data/\w+|extra/[\w.\-]+"
    r"|data/(weights/weight|constants/tensor)_\d+"
)
_GRAPH = re.compile(r"models/\w+\.json")
_CONFIG = re.compile(r"data/(weights|constants)/\w+_config\.json")
_SAMPLES = re.compile(r"data/sample_inputs/\w+\.pt")
_OPERATOR = re.compile(
    r"torch\.ops\.(aten|prims|quantized|quantized_decomposed|torchvision|mkldnn)\.(?!__)\w+(\.\w+)?"
    r"|torch\.ops\.aten\.__(and|or|xor|lshift|rshift)__\.\w+"
    r"|torch\.ops\.higher_order\.(cond|scan|while_loop|associative_scan|wrap_with_set_grad_enabled|wrap_with_autocast)"
    r"|_operator\.(add|and_|eq|floordiv|ge|getitem|gt|le|lt|mod|mul|ne|neg|not_|or_|pos|pow|sub|truediv)"
    r"|math\.(ceil|floor|sqrt|trunc)|torch\.(_sym_sqrt|sym_\w+)"
)
_FILE_OPS = re.compile(r"\.(from_file|save|load|_print|open\w*)(\.|$)")
"""Tensor operators that read or write files, or print."""
_PATH = re.compile(r"(?!__)[\w@\-]*(\.(?!__)[\w@\-]+)*", re.ASCII)
_NUMBER = re.compile(r"-?(nan|inf|infinity|\d+(\.\d+)?(e[+-]?\d+)?)", re.IGNORECASE)
_TEXT = re.compile(r"[\w .\-:/@,+<=]*", re.ASCII)
_KEYS = re.compile(r"[\w .\-\[\]\",]*", re.ASCII)
_LONGEST = 4000
"""Characters of a size expression: torch writes some hundred for windows of windows."""
_SIZE_CALLS = frozenset(
    "Symbol Integer Float Rational Add Mul Pow Mod Max Min Abs floor ceiling And Or Not Eq Ne Lt Le Gt Ge Equality "
    "Unequality StrictLessThan LessThan StrictGreaterThan GreaterThan Piecewise ExprCondPair Tuple FloorDiv PythonMod "
    "ModularIndexing Where CleanDiv CeilToInt FloorToInt CeilDiv PowByNatural FloatTrueDiv IntTrueDiv TruncToInt "
    "ToFloat RoundToInt Identity true false oo int_oo".split()
)
_SIZE_NODES: tuple[type[ast.AST], ...] = (
    *(ast.Expression, ast.BinOp, ast.UnaryOp, ast.Compare, ast.BoolOp, ast.operator, ast.unaryop, ast.cmpop),
    *(ast.boolop, ast.Load, ast.keyword),
)
_CONTAINERS = (None, "builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict")
_BYTES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 2,
    7: 4,
    8: 8,
    9: 4,
    10: 8,
    11: 16,
    12: 1,
    13: 2,
    28: 2,
    34: 4,
    35: 8,
    **dict.fromkeys(range(29, 34), 1),
}
"""Bytes of a number by the code of its dtype in torch's JSON: 7 is float32, 8 float64, 5 int64, 13 bfloat16."""


class _RefusedError(Exception):
    """A text, a member or a table that torch writes nowhere."""


# ---- texts of the graph ------------------------------------------------------------------------------------------
def is_size(text: Any) -> bool:
    """Whether a text is plain size arithmetic, such as `Max(1, s5 - 8)`: torch has sympy evaluate it."""
    if not isinstance(text, str) or len(text) > _LONGEST:
        return False
    try:
        nodes = list(ast.walk(ast.parse(text, mode="eval")))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    # A text is harmless where sympy takes it for a name, as the first argument of Symbol; elsewhere it is parsed.
    symbols = (node for node in nodes if isinstance(node, ast.Call) and ast.unparse(node.func) == "Symbol")
    quoted = {id(node.args[0]) for node in symbols if node.args}
    return all(_is_size_node(node, id(node) in quoted) for node in nodes)


def _is_size_node(node: ast.AST, quoted: bool) -> bool:
    """Whether a part of an expression is arithmetic on sizes that ends."""
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            return node.value.isidentifier() if quoted else bool(_NUMBER.fullmatch(node.value))
        return isinstance(node.value, (bool, int, float)) and abs(node.value) < 2**63
    if isinstance(node, ast.Name):
        return node.id in _SIZE_CALLS or bool(re.fullmatch(r"[a-z]{1,3}\d+", node.id))
    if isinstance(node, ast.Call):
        exponent = node.args[1] if len(node.args) > 1 and "Pow" in ast.unparse(node.func) else None
        return isinstance(node.func, ast.Name) and (exponent is None or _is_small(exponent))
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Pow, ast.LShift)):
        return _is_small(node.right)
    return isinstance(node, _SIZE_NODES)


def _is_small(node: ast.expr) -> bool:
    """Whether an exponent is written out and small: 9**9**9 would never end."""
    return bool(re.fullmatch(r"(Integer\()?-?\d\)?|Rational\(1, 2\)", ast.unparse(node)))


def _is_name(text: str) -> bool:
    """A name of Python in ASCII, or nothing. Names are pasted into code, where `__` begins the interpreter's own."""
    plain = text.isascii() and text.isidentifier() and not text.startswith("__") and not keyword.iskeyword(text)
    return plain or not text


def _is_operator(text: str) -> bool:
    """Whether a graph may call this dotted name: tensor operators and size arithmetic, nothing that touches files."""
    return bool(_OPERATOR.fullmatch(text)) and not _FILE_OPS.search(text)


_RULES: Mapping[str, Callable[[str], Any]] = {
    **dict.fromkeys(("target", "as_operator"), _is_operator),
    **dict.fromkeys(
        ("fqn", "parameter_name", "buffer_name", "tensor_constant_name", "user_input_name"), _PATH.fullmatch
    ),
    **dict.fromkeys(("as_float", "as_floats"), _NUMBER.fullmatch),
    **dict.fromkeys(("as_string", "as_strings", "torch_version"), _TEXT.fullmatch),
    "expr_str": is_size,
}
"""What a text may be, by the key that it stands under; a name of Python under any other."""


def _checked(value: Any, key: str = "", in_node: bool = False) -> Any:
    """A value of the graph's JSON, on the CPU, without guards and metadata. Raises _RefusedError."""
    if isinstance(value, str):
        # The text arguments of an operator are written into code as quoted literals.
        if not (in_node and key in ("as_string", "as_strings")) and not _RULES.get(key, _is_name)(value):
            raise _RefusedError(f"{key}: {value[:80]!r} is nothing that torch writes there")
        return value
    if isinstance(value, list):
        return [] if key == "guards_code" else [_checked(entry, key, in_node) for entry in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"type", "index"}:  # a device
        return {"type": "meta" if value["type"] == "meta" else "cpu", "index": None}
    if value.get("custom_obj_values") or "custom_obj" in value or "as_custom_obj" in value:
        raise _RefusedError("it holds a custom object, which only running its own code could restore")
    return {name: _checked_entry(name, entry, key, in_node) for name, entry in value.items()}


def _checked_entry(name: str, entry: Any, key: str, in_node: bool) -> Any:
    """An entry of a table that stands under a key. Raises _RefusedError."""
    names: Callable[[str], Any] = _is_name
    if key == "range_constraints":
        names = is_size
    elif key.startswith("treespec"):
        names = _PATH.fullmatch
    if not names(name):
        raise _RefusedError(f"the name {name[:80]!r}")
    if name == "metadata":
        known = ("stack_trace", "nn_module_stack", "torch_fn")
        return {kind: _printable(entry[kind]) for kind in known if kind in entry}
    if name in ("in_spec", "out_spec"):
        return _checked_structure(entry)
    return _checked(entry, name, in_node or name == "nodes")


def _printable(text: Any) -> str:
    """The text with `?` for all but printable characters and line feeds: torch writes origins as comments into code."""
    return "".join(each if each.isprintable() or each == "\n" else "?" for each in str(text))


def _checked_structure(text: Any) -> Any:
    """The description of nested inputs, a JSON text within JSON, which names containers. Raises _RefusedError."""
    if not text:
        return text
    _, tree = json.loads(text)
    levels = [tree]
    while levels:
        level = levels.pop()
        kind, context = level["type"], str(level.get("context") or "")
        if kind == "collections.namedtuple":
            is_plain = bool(_PATH.fullmatch(context))
        else:
            is_plain = kind in _CONTAINERS and bool(_KEYS.fullmatch(context))
        if not is_plain:
            raise _RefusedError(f"nested inputs of type {str(kind)[:80]!r} with the keys {context[:80]!r}")
        levels += level["children_spec"]
    # Of inputs the tree is (args, kwargs): names of keyword arguments become arguments of a generated function.
    children = tree["children_spec"]
    if len(children) == 2 and children[1]["type"] == "builtins.dict":
        for name in json.loads(children[1]["context"]):
            if not _is_name(name):
                raise _RefusedError(f"the keyword argument {name[:80]!r}")
    return text


# ---- members -----------------------------------------------------------------------------------------------------
def is_program(content: Content) -> bool:
    """Whether the file is an archive of torch.export."""
    return any(name.endswith("/archive_format") or "/models/" in name for name in content.members)


def load_program(content: Content) -> tuple[ExportedProgram, str]:
    """The program, and its passport's text ("" for none). Raises UnsafeFileError, ModelFileError."""
    where = content.where
    members = {name.partition("/")[2]: name for name in content.members}
    try:
        checked = dict(_checked_members(content, members))
    except _RefusedError as error:
        raise UnsafeFileError(where, f"{error}; torch would run code", "do not use this file") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:  # JSON of another shape
        raise ModelFileError(where, f"is a damaged program ({type(error).__name__}: {error})", _AGAIN) from error
    passport = bytes(checked.get(f"extra/{_NAME}", b"")).decode("utf-8", "replace")
    archive = io.BytesIO(packed({f"archive/{name}": data for name, data in checked.items()}))
    try:
        with quiet():
            return torch.export.load(archive), passport
    except Exception as error:  # torch raises many kinds on damaged programs
        facts = f"torch {torch.__version__} cannot read the program ({type(error).__name__}: {first_line(error)})"
        raise ModelFileError(where, facts, "export the model again with this version of torch") from error


def _checked_members(content: Content, members: Mapping[str, str]) -> Iterator[tuple[str, bytes | memoryview]]:
    """The members of a program in a form that can run nothing. Raises _RefusedError, and errors of damaged JSON."""
    for name, full in members.items():
        data: bytes | memoryview = content.member(full)
        if _GRAPH.fullmatch(name):
            data = json.dumps(_checked(json.loads(bytes(data)))).encode()
        elif _CONFIG.fullmatch(name):
            _check_payloads(json.loads(bytes(data))["config"], name, content, members)
        elif _SAMPLES.fullmatch(name):
            data = _checked_samples(data, content.where)
        elif not _PLAIN_MEMBERS.fullmatch(name):
            raise _RefusedError(f"its member {name[:80]!r} is no part of an exported program")
        yield name, data


def _check_payloads(config: Mapping[str, Any], name: str, content: Content, members: Mapping[str, str]) -> None:
    """Every weight is plain numbers, as many as its sizes say. Raises _RefusedError, ValueError."""
    folder = name.rpartition("/")[0]
    for weight, entry in config.items():
        if entry["use_pickle"] is not False or not re.fullmatch(r"(weight|tensor)_\d+", entry["path_name"]):
            raise _RefusedError(f"its weight {weight[:80]!r} is a pickle")
        meta = entry["tensor_meta"]
        sizes = [size["as_int"] for size in meta["sizes"]]
        strides = [stride["as_int"] for stride in meta["strides"]]
        offset = meta["storage_offset"]["as_int"]
        held = len(content.member(members[f"{folder}/{entry['path_name']}"]))
        reach = 1 + offset + sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True))
        if min([*sizes, *strides, offset]) < 0 or (0 not in sizes and reach * _BYTES[meta["dtype"]] > held):
            raise ValueError(f"{weight[:80]!r} of sizes {sizes} has {held} bytes")


def _checked_samples(data: bytes | memoryview, where: str) -> bytes:
    """Example inputs, read and written anew; torch writes their keys into the text of guards. Raises _RefusedError."""
    if not data:  # a program without examples has an empty member
        return b""
    value = plain_tree(data, where)
    args, kwargs = value
    if not isinstance(args, tuple) or not isinstance(kwargs, dict):
        raise ValueError("its example inputs are no (args, kwargs)")
    for key in _keys(value):
        if not isinstance(key, (int, float)) and not (isinstance(key, str) and _TEXT.fullmatch(key)):
            raise _RefusedError(f"its example inputs have the key {str(key)[:80]!r}")
    # A member of the archive that is written here would be refused by torch if it were a view of other memory.
    stream = io.BytesIO()
    torch.save(pytree.tree_map_only(torch.Tensor, torch.clone, value), stream)
    return stream.getvalue()


def _keys(value: Any) -> Iterator[Any]:
    """The keys of all dicts in nested inputs."""
    if isinstance(value, dict):
        yield from value
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for entry in value:
            yield from _keys(entry)


def program_module(program: ExportedProgram, where: str) -> torch.nn.Module:
    """The program as a module. Raises ModelFileError for one that contradicts itself."""
    try:
        with quiet():
            return program.module()
    except Exception as error:  # torch raises many kinds on inconsistent programs
        facts = f"the program is inconsistent ({type(error).__name__}: {first_line(error)})"
        raise ModelFileError(where, facts, "export the model again with this version of torch") from error


# ---- written -----------------------------------------------------------------------------------------------------
def save_program(program: ExportedProgram, path: Path, passport: str) -> None:
    """Write a program with its passport; torch.export.load reads it anywhere. Raises OutputFileError."""
    example, stream = program.example_inputs, io.BytesIO()
    program.example_inputs = pytree.tree_map_only(torch.Tensor, _by_itself, example)
    try:
        with quiet():
            torch.export.save(program, stream, extra_files={_NAME: passport})
    finally:
        program.example_inputs = example
    write_bytes(path, stream.getvalue())


def _by_itself(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor, in memory of its own where it is a part of a larger one: torch.save writes all of the memory."""
    is_part = tensor.layout is torch.strided and tensor.untyped_storage().nbytes() > tensor.nbytes
    return tensor.clone(memory_format=torch.contiguous_format) if is_part else tensor
