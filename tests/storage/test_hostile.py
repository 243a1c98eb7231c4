"""Files that would run code when loaded the ordinary way: each is refused, by class and by name, with nothing run."""

from __future__ import annotations

import io
import json
import logging
import pickle
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from chiralize.errors import ChiralizeError, ModelFileError, UnsafeFileError
from chiralize.storage import archive as archive_module
from chiralize.storage.load import load_model

Members = dict[str, bytes]


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = torch.nn.Linear(4, 4)
        self.shift = torch.arange(4.0)

    def forward(self, x: torch.Tensor, *, table: dict[str, torch.Tensor]) -> torch.Tensor:
        assert x.shape[0] * x.shape[1] > 3
        return self.fc(x).relu().reshape(x.shape[0] * 4) + self.shift.repeat(x.shape[0]) * table["key"]


class Touch:
    """Creates a folder when it is unpickled the ordinary way."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.mkdir, (str(self.marker),)


@pytest.fixture(scope="module")
def clean_members() -> Members:
    program = torch.export.export(
        Net().eval(),
        (torch.randn(3, 4),),
        {"table": {"key": torch.ones(1)}},
        dynamic_shapes={"x": {0: torch.export.Dim.AUTO}, "table": {"key": None}},
    )
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files={"chirality.json": "{}"})
    with zipfile.ZipFile(buffer) as source:
        return {name.split("/", 1)[1]: source.read(name) for name in source.namelist()}


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "was_run"


def write(path: Path, members: Members, root: str = "archive/") -> Path:
    with zipfile.ZipFile(path, "w") as target, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Duplicate name")
        for name, data in members.items():
            target.writestr(root + name, data)
    return path


def torch_bytes(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def edit(members: Members, name: str, change: Callable[[Any], None]) -> None:
    tree = json.loads(members[name])
    change(tree)
    members[name] = json.dumps(tree).encode()


PROGRAM = "models/model.json"
WEIGHTS = "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"
SAMPLES = "data/sample_inputs/model.pt"


def graph_of(tree: dict) -> dict:
    return tree["graph_module"]["graph"]


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
        for value in graph_of(tree)["tensor_values"].values():
            for size in value["sizes"]:
                if "as_expr" in size:
                    size["as_expr"]["expr_str"] = f"__import__('os').mkdir({str(marker)!r})"

    edit(members, PROGRAM, change)


def guard(members: Members, marker: Path) -> None:
    # With a name that the module's own code does not collide with: runs on the first call.
    code = f"__import__('os').mkdir({str(marker)!r}) is None"
    edit(members, PROGRAM, lambda tree: tree.update(guards_code=[code]))


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
        text = json.dumps(tree).replace('"table_key"', json.dumps(name))
        tree.update(json.loads(text))
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
    context = json.dumps([{"__enum__": True, "fqn": "evil_enum:Kind", "name": "A"}])
    _tree_context(members, context)


def default_factory(members: Members, marker: Path) -> None:
    (marker.parent / "evil_factory.py").write_text(f"import os\nos.mkdir({str(marker)!r})\n")
    context = {"default_factory_module": "evil_factory", "default_factory_name": "x", "dict_context": ["key"]}
    _tree_context(members, context, kind="collections.defaultdict")


def _tree_context(members: Members, context: Any, kind: str = "builtins.dict") -> None:
    def change(tree: dict) -> None:
        signature = tree["graph_module"]["module_call_graph"][0]["signature"]
        version, spec = json.loads(signature["in_spec"])
        spec["children_spec"][1]["children_spec"][0].update(type=kind, context=context)
        signature["in_spec"] = json.dumps([version, spec])

    edit(members, PROGRAM, change)


def evil_key(marker: Path) -> str:
    return f'k" + str(__import__("os").mkdir("{marker}")) + "'


def quoted_key(members: Members, marker: Path) -> None:
    """A key of the input tree that ends the quoted message of an input guard."""
    evil = evil_key(marker)
    _tree_context(members, json.dumps([evil]))
    members[SAMPLES] = torch_bytes(((torch.randn(3, 4),), {"table": {evil: torch.ones(1)}}))


ATTACKS = [
    sample_inputs,
    pickled_weight,
    pickled_constant,
    opaque_constant,
    old_weights,
    old_constants,
    size_expression,
    guard,
    argument_name,
    node_name,
    operator_name,
    enum_key,
    default_factory,
    quoted_key,
]


@pytest.fixture
def import_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    for name in ("evil_enum", "evil_factory"):
        sys.modules.pop(name, None)


def load_the_ordinary_way(path: Path, key: str) -> None:
    """torch's own loader and one call of the module; errors after the payload do not matter."""
    logging.getLogger("torch").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            module = torch.export.load(path).module()
            module(torch.randn(3, 4), table={key: torch.ones(1)})
        except Exception:  # the payload's return value does not fit the program
            pass


@pytest.mark.one_in(2)
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
@pytest.mark.usefixtures("import_path", "checked_copy")
def test_attack_works_on_torch_and_is_refused_here(
    attack: Callable, clean_members: Members, marker: Path, tmp_path: Path
) -> None:
    members = dict(clean_members)
    attack(members, marker)
    path = write(tmp_path / "net.pt2", members)
    load_the_ordinary_way(path, evil_key(marker) if attack is quoted_key else "key")
    assert marker.exists(), "the payload does not work, so the test would prove nothing"
    marker.rmdir() if marker.is_dir() else marker.unlink()
    for name in ("evil_enum", "evil_factory"):
        sys.modules.pop(name, None)

    with pytest.raises(UnsafeFileError) as caught:
        load_model(path)
    check_message(caught.value, path)
    assert not marker.exists()


def check_message(error: ChiralizeError, path: Path) -> None:
    assert error.exit_status == 2
    assert str(path) in str(error)
    assert "\n    Fix: " in str(error)
    assert len(error.facts) > 20


def test_the_same_file_without_an_attack_loads(clean_members: Members, tmp_path: Path) -> None:
    loaded = load_model(write(tmp_path / "net.pt2", clean_members))
    assert loaded.extra == {"chirality.json": "{}"}
    assert loaded.example_args is not None and loaded.example_args[0].shape == (3, 4)


@dataclass(frozen=True)
class Broken:
    """An archive that no payload is needed for: what is changed, and what the message says."""

    name: str
    change: Callable[[Members], Any]
    error: type[ChiralizeError]
    cause: str


def file_operator(members: Members) -> None:
    def change(tree: dict) -> None:
        graph_of(tree)["nodes"][0]["target"] = "torch.ops.aten.from_file.default"

    edit(members, PROGRAM, change)


def library_function(members: Members) -> None:
    """torch's own verifier stops this one too."""

    def change(tree: dict) -> None:
        graph_of(tree)["nodes"][0]["target"] = "torch.serialization.os.mkdir"

    edit(members, PROGRAM, change)


def custom_object(members: Members) -> None:
    edit(
        members,
        PROGRAM,
        lambda tree: graph_of(tree)["custom_obj_values"].update(a={"name": "a", "class_fqn": "b"}),
    )


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


BROKEN = [
    Broken(
        "compiled model",
        lambda m: m.update({"data/aotinductor/model/a.so": b"\x7fELF"}),
        UnsafeFileError,
        "machine code",
    ),
    Broken("custom object", custom_object, UnsafeFileError, "custom object"),
    Broken(
        "custom object member",
        lambda m: m.update({"data/constants/custom_obj_0": b""}),
        UnsafeFileError,
        "custom class",
    ),
    Broken("file operator", file_operator, UnsafeFileError, "aten.from_file"),
    Broken(
        "keyword names",
        in_tree(lambda spec: spec["children_spec"][1].update(context="5")),
        UnsafeFileError,
        "are not names",
    ),
    Broken(
        "kind of a tree", in_tree(lambda spec: spec.update(type=["x"])), UnsafeFileError, "only tuple, list and dict"
    ),
    Broken("library function", library_function, UnsafeFileError, "os.mkdir"),
    Broken("unknown member", lambda m: m.update({"data/other/x": b"1"}), UnsafeFileError, "data/other/x"),
    Broken("traversal", lambda m: m.update({"../../x": b"1"}), UnsafeFileError, "outside"),
    Broken("two names", lambda m: m.update({"Archive_Format": b"pt2"}), UnsafeFileError, "two members bear the name"),
    Broken(
        "payload path",
        lambda m: edit(m, WEIGHTS, lambda t: t["config"]["fc.weight"].update(path_name="../../x")),
        UnsafeFileError,
        "../../x",
    ),
    Broken(
        "parameter name",
        lambda m: m.update({PROGRAM: m[PROGRAM].replace(b'"fc.weight"', b'"fc.__class__"')}),
        UnsafeFileError,
        "__class__",
    ),
    Broken(
        "text as number",
        lambda m: m.update({PROGRAM: m[PROGRAM].replace(b'{"as_int": 4}', b'{"as_int": "4 or x"}')}),
        UnsafeFileError,
        "4 or x",
    ),
    Broken("bad json", lambda m: m.update({PROGRAM: b"{"}), ModelFileError, "not valid JSON"),
    Broken("missing tensor", lambda m: m.pop("data/weights/weight_0"), ModelFileError, "weight_0"),
    Broken("wrong format", lambda m: m.update({"archive_format": b"x"}), ModelFileError, "archive_format"),
    Broken("no program", lambda m: m.pop(PROGRAM), ModelFileError, "none"),
    Broken("short tensor", lambda m: m.update({"data/weights/weight_0": b"1234"}), ModelFileError, "cannot read"),
    Broken(
        "sample key",
        lambda m: m.update({SAMPLES: torch_bytes(((), {"table": {'k"': torch.ones(1)}}))}),
        UnsafeFileError,
        "sample_inputs",
    ),
    Broken("sample shape", lambda m: m.update({SAMPLES: torch_bytes([1])}), ModelFileError, "sample_inputs"),
    Broken("damaged samples", lambda m: m.update({SAMPLES: b"PK\x03\x04junk"}), ModelFileError, SAMPLES),
]


@pytest.mark.parametrize("case", BROKEN, ids=lambda case: case.name)
def test_broken_program_is_refused(case: Broken, clean_members: Members, tmp_path: Path) -> None:
    members = dict(clean_members)
    case.change(members)
    path = write(tmp_path / "net.pt2", members)
    with pytest.raises(case.error) as caught:
        load_model(path)
    check_message(caught.value, path)
    assert case.cause in str(caught.value)


def test_layout_of_old_torch_is_refused(marker: Path, tmp_path: Path) -> None:
    members = {"serialized_exported_program.json": b"{}", "version": b"8.14", "x/y": b""}
    members["serialized_example_inputs.pt"] = torch_bytes((Touch(marker),))
    path = write(tmp_path / "old.pt2", members, root="")
    with pytest.raises(ModelFileError, match=r"torch 2\.7 or older"):
        load_model(path)
    assert not marker.exists()


def test_zip_bomb_is_refused_unread(clean_members: Members, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net.pt2"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for name, data in {**clean_members, "extra/zeros": bytes(8_000_000)}.items():
            target.writestr(f"archive/{name}", data)
    monkeypatch.setattr(archive_module, "LARGE_MEMBER_BYTES", 1 << 20)
    with pytest.raises(UnsafeFileError, match="zip bomb"):
        load_model(path)
    monkeypatch.setattr(archive_module, "LARGE_MEMBER_BYTES", 1 << 30)
    monkeypatch.setattr(archive_module, "MAX_TOTAL_BYTES", 1 << 20)
    with pytest.raises(UnsafeFileError, match="limit 1,048,576"):
        load_model(path)
