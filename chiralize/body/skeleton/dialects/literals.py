"""Literals out of Python files, read with `ast` and never run.

Understood: constants, lists, tuples, dicts, `dict(...)`, `list(...)`, `tuple(...)`, `np.array(...)`, `range(...)`,
sums, `[x] * n`, and names assigned earlier in the file. Anything else becomes an unreadable mark, which is refused only
where its value is needed: a file may hold any amount of code beside the few lists that an importer asks for.

    LEFT = list(range(1, 4))                         names["LEFT"] = [1, 2, 3]
    skeleton = Skeleton(load(), joints_left=LEFT)    calls: Skeleton(an expression, joints_left=[1, 2, 3])

Values are Nodes, as those of YAML files are, so that checks and messages (with the line) are the same for both.

Importers of tools whose skeletons are Python files (mmpose, pyskl, detectron2, VideoPose3D) look for their names and
calls in the result. A false reading is possible where a file rebinds a name in a branch: the last assignment counts.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from chiralize.body.skeleton.nodes import Node
from chiralize.body.skeleton.yaml_source import read_text
from chiralize.errors import ImportFormatError

UNREADABLE = "(an expression)"
_REPEAT_LIMIT = 10_000
"""Entries of `[x] * n` and `range(n)`, which a short file can make as long as it likes."""
_CONTAINERS = ("list", "tuple", "array", "asarray", "OrderedDict")


@dataclass(frozen=True)
class Call:
    """A call in the file, with its arguments as Nodes.  function: the last part of the name, `set` of `a.b.set`."""

    function: str
    line: int
    positional: tuple[Node, ...]
    named: dict[str, Node]


@dataclass(frozen=True)
class Literals:
    """names: what assignments gave, the last of a name; of `self.joints = ...` the name is `joints`.

    calls: every call, outer ones before those within them.
    """

    source: str
    names: dict[str, Node]
    calls: tuple[Call, ...]

    def root(self) -> Node:
        """The assignments as one map."""
        entries = tuple(
            (Node(self.source, node.line, text=name, quoted=True), node) for name, node in self.names.items()
        )
        return Node(self.source, 1, entries=entries)


def read_python(path: Path) -> Literals:
    """The literals of a Python file. Raises ImportFormatError unless it parses."""
    try:
        tree = ast.parse(read_text(path))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = f":{error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        raise ImportFormatError(f"{path}{line}", f"not Python ({error})", "give the tool's own file") from None
    reader = _Reader(str(path))
    # Assignments first, calls after all of them: `node` reads a name as it is at that moment.
    try:
        for statement in tree.body:
            reader.take(statement)
        calls = tuple(reader.calls_in(tree))
    except RecursionError:
        raise ImportFormatError(str(path), "nested too deeply", "give the tool's own file") from None
    return Literals(str(path), reader.names, calls)


def readable(node: Node, what: str) -> Node:
    """The node itself. Raises ImportFormatError where some part of it could only be known by running the file."""
    # Lists and maps without recursion: a file may nest them deeper than Python allows calls.
    stack = [node]
    while stack:
        current = stack.pop()
        if current.text == UNREADABLE:
            facts = f"{what} holds an expression that only running the file would tell"
            raise ImportFormatError(current.where, facts, "write it out")
        stack += [*(current.items or ()), *(value for _, value in current.entries or ())]
    return node


class _Reader:
    """What the assignments of a file gave so far, by name; the values of later expressions are read with it."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.names: dict[str, Node] = {}

    def take(self, statement: ast.stmt) -> None:
        """Keep what a statement, or one within it, assigns to a name or an attribute."""
        if isinstance(statement, ast.Assign):
            targets, value = statement.targets, statement.value
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            targets, value = [statement.target], statement.value
        else:
            # Within classes, functions, branches and loops, too, as if each were run once.
            for child in ast.iter_child_nodes(statement):
                if isinstance(child, ast.stmt):
                    self.take(child)
            return
        # `a, b = ...` and `a[0] = ...` are passed over: the names keep what they had.
        for target in targets:
            if isinstance(target, ast.Name):
                self.names[target.id] = self.node(value)
            elif isinstance(target, ast.Attribute):
                self.names[target.attr] = self.node(value)

    def calls_in(self, tree: ast.AST) -> Iterator[Call]:
        """Every call of the file, its arguments read with the names as they are in the end."""
        for expression in ast.walk(tree):
            if isinstance(expression, ast.Call):
                named = {keyword.arg: self.node(keyword.value) for keyword in expression.keywords if keyword.arg}
                positional = tuple(self.node(argument) for argument in expression.args)
                yield Call(_function(expression), expression.lineno, positional, named)

    def node(self, expression: ast.expr) -> Node:
        """The value of an expression, or the mark that only running the file would tell it."""
        line = expression.lineno
        if isinstance(expression, ast.Constant):
            return self._constant(expression.value, line)
        # A set is read as a list, in the order in which it is written.
        if isinstance(expression, ast.List | ast.Tuple | ast.Set):
            return self._list([self.node(item) for item in expression.elts], line)
        if isinstance(expression, ast.Dict):
            return self._dict(expression, line)
        if isinstance(expression, ast.Name):
            return self.names.get(expression.id, self._unreadable(line))
        # -1 is no constant for Python's parser, but an operation on 1.
        if isinstance(expression, ast.UnaryOp) and isinstance(expression.op, ast.USub):
            inner = self.node(expression.operand)
            if inner.is_number:
                return Node(self.source, line, text=f"-{inner.text}")
            return self._unreadable(line)
        if isinstance(expression, ast.BinOp):
            return self._operation(expression, line)
        if isinstance(expression, ast.Call):
            return self._call(expression, line)
        return self._unreadable(line)

    def _constant(self, value: object, line: int) -> Node:
        """A constant as the scalar that YAML would have; texts count as quoted, so that `"on"` is no boolean."""
        if isinstance(value, str):
            return Node(self.source, line, text=value, quoted=True)
        if value is None:
            return Node(self.source, line, text="null")
        if isinstance(value, bool):  # before numbers: True is an int for Python
            return Node(self.source, line, text=str(value).lower())
        if isinstance(value, int | float):
            return Node(self.source, line, text=str(value))
        return self._unreadable(line)

    def _unreadable(self, line: int) -> Node:
        """The mark for what only running the file would tell."""
        return Node(self.source, line, text=UNREADABLE, quoted=True)

    def _list(self, items: list[Node], line: int) -> Node:
        """A list; each item keeps the line that it stands in."""
        return Node(self.source, line, items=tuple(items))

    def _dict(self, expression: ast.Dict, line: int) -> Node:
        """A map; unreadable as a whole where another one is unpacked into it."""
        entries = []
        for key, value in zip(expression.keys, expression.values, strict=True):
            if key is None:  # `**other`
                return self._unreadable(line)
            entries.append((self.node(key), self.node(value)))
        return Node(self.source, line, entries=tuple(entries))

    def _operation(self, expression: ast.BinOp, line: int) -> Node:
        """`a + b` of two lists, and a list times a number of moderate size."""
        left, right = self.node(expression.left), self.node(expression.right)
        if isinstance(expression.op, ast.Add) and left.items is not None and right.items is not None:
            return self._list([*left.items, *right.items], line)
        if isinstance(expression.op, ast.Mult) and left.items is not None and right.is_integer:
            count = int(right.text or "0")
            # Counted before the list is made: `[0] * 10**9` is a short file, too.
            if 0 <= len(left.items) * count <= _REPEAT_LIMIT:
                return self._list([*left.items] * count, line)
        return self._unreadable(line)

    def _call(self, expression: ast.Call, line: int) -> Node:
        """`dict(a=1)`, what holds a list by another name, and ranges. Other functions are never looked into."""
        # Names are taken at their word: a file that defines a `range` of its own is read wrongly.
        function = _function(expression)
        if function == "dict" and not expression.args:
            named = [(keyword.arg, self.node(keyword.value)) for keyword in expression.keywords]
            if all(name for name, _ in named):  # no `**other` among them
                entries = tuple((Node(self.source, line, text=name, quoted=True), value) for name, value in named)
                return Node(self.source, line, entries=entries)
        # What stands after the first argument, such as `dtype=`, does not change which entries there are.
        if function in _CONTAINERS and len(expression.args) >= 1:
            return self.node(expression.args[0])
        if function == "range" and not expression.keywords:
            return self._range([self.node(argument) for argument in expression.args], line)
        return self._unreadable(line)

    def _range(self, bounds: list[Node], line: int) -> Node:
        """The numbers of a `range(...)`, unless there are too many, or bounds that nobody can read."""
        if not bounds or not all(bound.is_integer for bound in bounds):
            return self._unreadable(line)
        numbers = [int(bound.text or "0") for bound in bounds[:3]]
        # A step of 0 is an error in Python; the length of a range is known without making it.
        if numbers[2:] == [0] or len(range(*numbers)) > _REPEAT_LIMIT:
            return self._unreadable(line)
        return self._list([Node(self.source, line, text=str(number)) for number in range(*numbers)], line)


def _function(call: ast.Call) -> str:
    """The last part of the name that is called: `array` of `np.array(...)`; "" where no name is called."""
    function = call.func
    if isinstance(function, ast.Name):
        return function.id
    if isinstance(function, ast.Attribute):
        return function.attr
    return ""
