"""Exported programs that would run code when torch loads them: each is refused, with nothing run."""

from __future__ import annotations

import io
import json
import logging
import pickle
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from chiralize.errors import ChiralizeError, ModelFileError, UnsafeFileError
from chiralize.storage.load import load_model
from chiralize.storage.pt2 import is_size
from tests.support.trainer_files import Touch, torch_bytes

Members = dict[str, bytes]
PROGRAM = "models/model.json"
WEIGHTS = "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"
SAMPLES = "data/sample_inputs/model.pt"


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = torch.nn.Linear(4, 4)
        self.shift = torch.arange(4.0)

    def forward(self, x: torch.Tensor, *, table: dict[str, torch.Tensor]) -> torch.Tensor:
        assert x.shape[0] * x.shape[1] > 3
        return self.fc(x).relu().reshape(x.shape[0] * 4) + self.shift.repeat(x.shape[0]) * table["key"]


@pytest.fixture(scope="module")
def clean() -> Members:
    program = torch.export.export(
        Net().eval(),
        (torch.randn(3, 4),),
        {"table": {"key": torch.ones(1)}},
        dynamic_shapes={"x": {0: torch.export.Dim.AUTO}, "table": {"key": None}},
    )
    stream = io.BytesIO()
    torch.export.save(program, stream)
    with zipfile.ZipFile(stream) as source:
        return {name.split("/", 1)[1]: source.read(name) for name in source.namelist()}


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "was_run"


@pytest.fixture
def import_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    for name in ("evil_enum", "evil_factory"):
        sys.modules.pop(name, None)


def write(path: Path, members: Members, root: str = "archive/") -> Path:
    with zipfile.ZipFile(path, "w") as target:
        for name, data in members.items():
            target.writestr(root + name, data)
    return path


def edit(members: Members, name: str, change: Callable[[Any], object]) -> None:
    tree = json.loads(members[name])
    change(tree)
    members[name] = json.dumps(tree).encode()


def graph_of(tree: dict) -> dict:
    return tree["graph_module"]["graph"]


# ---- attacks that work on torch -------------------------------------------------------------------------------------
def sample_inputs(members: Members, marker: Path) -> None:
    members[SAMPLES] = torch_bytes(((Touch(marker),), {}))


def pickled_weight(members: Members, marker: Path) -> None:
    edit(members, WEIGHTS, lambda tree: tree["config"]["fc.weight"].update(use_pickle=True))
    members["data/weights/weight_0"] = torch_bytes(Touch(marker))


def pickled_constant(members: Members, marker: Path) -> None:
    edit(members, CONSTANTS, lambda tree: tree["config"]["shift"].update(use_pickle=True))
    members["data/constants/tensor_0"] = torch_bytes(Touch(marker))


def opaque_constant(members: Members, marker: Path) -> None:
    edit(members, CONSTANTS, lambda tree: tree["config"]["shift"].update(use_pickle=True, path_name="opaque_obj_0"))
    members["data/constants/opaque_obj_0"] = pickle.dumps(Touch(marker))


def old_weights(members: Members, marker: Path) -> None:
    members["data/weights/model.pt"] = torch_bytes({"fc.weight": Touch(marker)})


def old_constants(members: Members, marker: Path) -> None:
    members["data/constants/model.pt"] = torch_bytes({"shift": Touch(marker)})


def size_expression(members: Members, marker: Path) -> None:
    def change(tree: dict) -> None:
        sizes = [size for value in graph_of(tree)["tensor_values"].values() for size in value["sizes"]]
        for size in sizes:
            if "as_expr" in size:
                size["as_expr"]["expr_str"] = f"__import__('os').mkdir({str(marker)!r})"

    edit(members, PROGRAM, change)


def argument_name(members: Members, marker: Path) -> None:
    """An argument name that ends the generated signature, and hides the rest of it in a string."""
    name = f"x, table):\n    __import__('os').mkdir({str(marker)!r})\n    ''' #"

    def change(tree: dict) -> None:
        tree["graph_module"]["module_call_graph"][0]["signature"]["forward_arg_names"] = [name, "table"]

    edit(members, PROGRAM, change)


def node_name(members: Members, marker: Path) -> None:
    """An input whose name becomes a default value in the generated signature: it runs while the file is loaded."""
    name = f"y=__import__('os').mkdir({str(marker)!r})"

    def change(tree: dict) -> None:
        nodes = json.dumps(graph_of(tree).pop("nodes")).replace('"table_key"', '"repeat"')
        tree.update(json.loads(json.dumps(tree).replace('"table_key"', json.dumps(name))))
        graph_of(tree)["nodes"] = json.loads(nodes)

    edit(members, PROGRAM, change)


def operator_name(members: Members, marker: Path) -> None:
    """An operator of torch that creates a file of any name."""

    def change(tree: dict) -> None:
        node = next(n for n in graph_of(tree)["nodes"] if n["target"] == "torch.ops.aten.relu.default")
        values = {"filename": {"as_string": str(marker)}, "shared": {"as_bool": True}, "size": {"as_int": 12}}
        inputs = [{"name": name, "arg": value, "kind": 1} for name, value in values.items()]
        node.update(target="torch.ops.aten.from_file.default", inputs=inputs)

    edit(members, PROGRAM, change)


def enum_key(members: Members, marker: Path) -> None:
    """A key of the input tree that names a module to import."""
    (marker.parent / "evil_enum.py").write_text(f"import os\nos.mkdir({str(marker)!r})\n")
    _context(members, json.dumps([{"__enum__": True, "fqn": "evil_enum:Kind", "name": "A"}]))


def default_factory(members: Members, marker: Path) -> None:
    (marker.parent / "evil_factory.py").write_text(f"import os\nos.mkdir({str(marker)!r})\n")
    context = {"default_factory_module": "evil_factory", "default_factory_name": "x", "dict_context": ["key"]}
    _context(members, context, kind="collections.defaultdict")


def quoted_key(members: Members, marker: Path) -> None:
    """A key of the input tree that ends the quoted message of an input guard."""
    evil = evil_key(marker)
    _context(members, json.dumps([evil]))
    members[SAMPLES] = torch_bytes(((torch.randn(3, 4),), {"table": {evil: torch.ones(1)}}))


def _context(members: Members, context: Any, kind: str = "builtins.dict") -> None:
    in_tree(lambda spec: spec["children_spec"][1]["children_spec"][0].update(type=kind, context=context))(members)


def in_tree(change: Callable[[dict], object]) -> Callable[[Members], None]:
    """An attack on the description of the inputs, which is a tree of JSON in a text of its own."""

    def attack(members: Members) -> None:
        def changed(tree: dict) -> None:
            signature = tree["graph_module"]["module_call_graph"][0]["signature"]
            version, spec = json.loads(signature["in_spec"])
            change(spec)
            signature["in_spec"] = json.dumps([version, spec])

        edit(members, PROGRAM, changed)

    return attack


def evil_key(marker: Path) -> str:
    return f'k" + str(__import__("os").mkdir("{marker}")) + "'


def guard(members: Members, marker: Path) -> None:
    code = f"__import__('os').mkdir({str(marker)!r}) is None"
    edit(members, PROGRAM, lambda tree: tree.update(guards_code=[code]))


ATTACKS = [
    *(sample_inputs, pickled_weight, pickled_constant, opaque_constant, old_weights, old_constants, size_expression),
    *(argument_name, node_name, operator_name, enum_key, default_factory, quoted_key, guard),
]


def load_the_ordinary_way(path: Path, key: str) -> None:
    """torch's own loader and one call of the module; errors after the payload do not matter."""
    logging.getLogger("torch").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            torch.export.load(path).module()(torch.randn(3, 4), table={key: torch.ones(1)})
        except Exception:  # the payload's return value does not fit the program
            pass


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
@pytest.mark.usefixtures("import_path")
def test_attack_works_on_torch_and_runs_nothing_here(
    attack: Callable, clean: Members, marker: Path, tmp_path: Path
) -> None:
    members = dict(clean)
    attack(members, marker)
    path = write(tmp_path / "net.pt2", members)
    load_the_ordinary_way(path, evil_key(marker) if attack is quoted_key else "key")
    assert marker.exists(), "the payload does not work, so the test would prove nothing"
    marker.rmdir() if marker.is_dir() else marker.unlink()
    for name in ("evil_enum", "evil_factory"):
        sys.modules.pop(name, None)
    if attack is guard:  # guards are left out: the network is exported anew in any case
        load_model(path).module(torch.randn(3, 4), table={"key": torch.ones(1)})
    else:
        with pytest.raises(UnsafeFileError) as caught:
            load_model(path)
        assert caught.value.exit_status == 2 and str(path) in caught.value.where
    assert not marker.exists()


def test_the_same_file_without_an_attack_loads(clean: Members, tmp_path: Path) -> None:
    loaded = load_model(write(tmp_path / "net.pt2", clean))
    assert loaded.kind == "program" and loaded.example is not None and loaded.example[0][0].shape == (3, 4)


# ---- files that no payload is needed for ----------------------------------------------------------------------------
def _target(name: str) -> Callable[[Members], None]:
    return lambda m: edit(m, PROGRAM, lambda tree: graph_of(tree)["nodes"][0].update(target=name))


def _weight(**change: Any) -> Callable[[Members], None]:
    return lambda m: edit(m, WEIGHTS, lambda tree: tree["config"]["fc.weight"].update(change))


def _renamed(old: bytes, new: bytes) -> Callable[[Members], object]:
    return lambda m: m.update({PROGRAM: m[PROGRAM].replace(old, new)})


UNSAFE: dict[str, Callable[[Members], object]] = {
    "compiled model": lambda m: m.update({"data/aotinductor/model/a.so": b"\x7fELF"}),
    "custom object": lambda m: edit(m, PROGRAM, lambda t: graph_of(t)["custom_obj_values"].update(a={"name": "a"})),
    "custom member": lambda m: m.update({"data/constants/custom_obj_0": b""}),
    "file operator": _target("torch.ops.aten.from_file.default"),
    "printing": _target("torch.ops.aten._print.default"),
    "library": _target("torch.ops.load_library"),
    "delegate": _target("torch.ops.higher_order.aoti_call_delegate"),
    "dunder": _target("torch.ops.aten.__class__.mro"),
    "python": _target("_operator.attrgetter"),
    "library function": _target("torch.serialization.os.mkdir"),
    "keyword names": in_tree(lambda spec: spec["children_spec"][1].update(context='["a b"]')),
    "kind of a tree": in_tree(lambda spec: spec.update(type="x.y")),
    "unknown member": lambda m: m.update({"data/other/x": b"1"}),
    "payload path": _weight(path_name="../../x"),
    "parameter name": _renamed(b'"fc.weight"', b'"fc.__class__"'),
    "text as number": _renamed(b'{"as_int": 4}', b'{"as_int": "4 or x"}'),
    "sample key": lambda m: m.update({SAMPLES: torch_bytes(((), {"table": {'k"': torch.ones(1)}}))}),
}
DAMAGED: dict[str, Callable[[Members], object]] = {
    "bad json": lambda m: m.update({PROGRAM: b"{"}),
    "another json": lambda m: m.update({PROGRAM: b"[1]"}),
    "missing tensor": lambda m: m.pop("data/weights/weight_0"),
    "no program": lambda m: m.pop(PROGRAM),
    "short tensor": lambda m: m.update({"data/weights/weight_0": b"1234"}),
    "empty tensor": lambda m: m.update({"data/weights/weight_0": b""}),
    "negative offset": lambda m: edit(
        m, WEIGHTS, lambda t: t["config"]["fc.weight"]["tensor_meta"].update(storage_offset={"as_int": -1})
    ),
    "sample shape": lambda m: m.update({SAMPLES: torch_bytes([1])}),
    "damaged samples": lambda m: m.update({SAMPLES: b"PK\x03\x04junk"}),
}


@pytest.mark.parametrize("case", [*UNSAFE, *DAMAGED])
def test_broken_program_is_refused(case: str, clean: Members, tmp_path: Path) -> None:
    members = dict(clean)
    {**UNSAFE, **DAMAGED}[case](members)
    path = write(tmp_path / "net.pt2", members)
    with pytest.raises(UnsafeFileError if case in UNSAFE else ModelFileError):
        load_model(path)


def test_layout_of_old_torch_is_refused(marker: Path, tmp_path: Path) -> None:
    members = {"serialized_exported_program.json": b"{}", "version": b"8.14", "x/y": b""}
    members["serialized_example_inputs.pt"] = torch_bytes((Touch(marker),))
    with pytest.raises(ModelFileError):
        load_model(write(tmp_path / "old.pt2", members, root=""))
    assert not marker.exists()


def test_zip_bomb_is_refused_unread(clean: Members, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "net.pt2", "w", zipfile.ZIP_DEFLATED) as target:
        for name, data in {**clean, "extra/zeros": bytes(200_000_000)}.items():
            target.writestr(f"archive/{name}", data)
    with pytest.raises(UnsafeFileError):
        load_model(tmp_path / "net.pt2")


@pytest.mark.parametrize(
    "text",
    [
        *(
            "__import__('os')",
            "Symbol('s0').__class__",
            "(lambda: 0)()",
            "[x for x in (1,)]",
            "Symbol('a b')",
            "f'{1}'",
        ),
        *("9**9**9**9**9**9", "Integer('x')", "exec('1')", "x := 1", "1" * 5000, "", 7),
    ],
)
def test_size_expressions_that_are_refused(text: object) -> None:
    assert not is_size(text)


@pytest.mark.parametrize(
    "text", ["Mul(Integer(5), Symbol('s77', positive=True, integer=True))", "2*s17 + 1", "u0 >= 2", "Max(1, s5 - 8)"]
)
def test_size_expressions_that_pass(text: str) -> None:
    assert is_size(text)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.99])
def test_a_program_that_is_cut_off(share: float, clean: Members, tmp_path: Path) -> None:
    path = write(tmp_path / "net.pt2", clean)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(ModelFileError):
        load_model(path)


def test_random_damage_never_escapes(clean: Members, tmp_path: Path) -> None:
    """Whatever bytes are turned round: a network, or an error of ours."""
    path = write(tmp_path / "net.pt2", clean)
    whole = path.read_bytes()
    generator = torch.Generator().manual_seed(0)
    for _ in range(60):
        data = bytearray(whole)
        for at in torch.randint(len(data), (3,), generator=generator).tolist():
            data[at] ^= 1 << int(torch.randint(8, (1,), generator=generator))
        path.write_bytes(data)
        try:
            load_model(path)
        except ChiralizeError as error:
            assert error.code.startswith("CH2")
