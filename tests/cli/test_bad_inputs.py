"""What users get wrong, one line each: the documented status, a message that helps, no traceback, no file left."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

from tests.support.bad_nets import NETS
from tests.support.command import (
    BODY,
    LIFTER,
    Shell,
    library_warnings,
    network,
    poses,
    save_program,
    save_script,
    save_weights,
    scrambled,
    working_shell,
)

JOINTS = "joints: [head, left_hand, right_hand, left_foot, right_foot]\n"
CLASSES = (
    "Linear",
    "UnknownOp",
    "DataDependent",
    "Fails",
    "Leaves",
    "LeavesLater",
    "Roots",
    "Noisy",
    "Words",
    "SignedNorm",
    "AlongJoints",
)
CLASSES += ("HalfBody", "AlwaysDropout", "SignedRelu", "Lopsided")
NETS_MODULE = "cli_bad_nets"


class Touch:
    """Creates a folder when it is unpickled the ordinary way."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("was_run",)


def torch_bytes(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def with_member(source: Path, target: str, suffix: str, data: bytes) -> None:
    """A copy of an archive in which one member, known by its end, holds something else."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(source.parent / target, "w") as new:
        names = [name for name in old.namelist() if name.endswith(suffix)]
        assert names, suffix
        for name in old.namelist():
            new.writestr(name, data if name in names else old.read(name))


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with good files and bad ones."""
    folder = tmp_path_factory.mktemp("kitchen")
    net = network()
    with torch.no_grad():  # trained on poses such as those in the files
        seen = net.first(poses(1000, seed=2).flatten(1))
        net.norm.load_state_dict({"running_mean": seen.mean(0), "running_var": seen.var(0)}, strict=False)
    good = save_program(net, folder / "good.pt2")
    save_weights(net, folder / "weights.pt")
    save_weights(net, folder / "weights.safetensors")
    save_script(net, folder / "traced.ts", traced=True)
    (folder / f"{NETS_MODULE}.py").write_text(NETS)
    space: dict[str, Any] = {"__name__": NETS_MODULE}
    exec(NETS, space)
    for name in CLASSES:
        torch.save(scrambled(space[name]()).state_dict() | {}, folder / f"{name}.pt")
    _models(folder, good.read_bytes(), net)
    _arrays(folder)
    torch.save(scrambled(nn.Linear(10, 10)).state_dict() | {}, folder / "flat.pt")
    for name, text in SPECS.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


def _models(folder: Path, good: bytes, net: nn.Module) -> None:
    (folder / "empty.pt2").write_bytes(b"")
    (folder / "truncated.pt2").write_bytes(good[: len(good) // 2])
    (folder / "notes.pt2").write_text("not a model at all\n")
    (folder / "s.json").write_text("{joints: [l, r], pairs: [[l, r]], dims: [x]}")
    (folder / "page.pt").write_text("<!DOCTYPE html><html></html>")
    (folder / "net.onnx").write_bytes(b"\x08\x07\x12\x07pytorch" + b"\x1a\x05" * 20)
    (folder / "folder.pt2").mkdir()
    (folder / "folder.pt2" / "config.json").write_text("{}")
    broken = network()
    with torch.no_grad():
        next(iter(broken.parameters()))[0, 0] = float("nan")
    save_program(broken, folder / "nan.pt2")
    state = net.state_dict()
    torch.save(state | {"norm.running_var": torch.full((8,), float("inf"))}, folder / "inf.pt")
    torch.save({name: tensor for name, tensor in state.items() if name != "last.bias"}, folder / "short.pt")
    torch.save(state | {"extra": torch.ones(1)}, folder / "long.pt")
    torch.save({"a": {"x": torch.ones(1)}, "b": {"y": torch.ones(1)}}, folder / "two_tables.pt")
    (folder / "hostile.pt").write_bytes(torch_bytes({"first.weight": Touch()}))
    (folder / "hostile_old.pt").write_bytes(pickle.dumps({"first.weight": Touch()}))
    (folder / "cut.safetensors").write_bytes((folder / "weights.safetensors").read_bytes()[:200])
    with_member(folder / "good.pt2", "hostile_inputs.pt2", "sample_inputs/model.pt", torch_bytes(((Touch(),), {})))
    with_member(folder / "traced.ts", "hostile.ts", "/data.pkl", pickle.dumps(Touch(), protocol=2))
    from chiralize.storage.load import CERTIFICATE
    from chiralize.storage.save import save_pt2

    with library_warnings():
        program = torch.export.load(folder / "good.pt2")
    save_pt2(program, folder / "passport_text.pt2", {CERTIFICATE: "{broken"})
    save_pt2(program, folder / "passport_other.pt2", {CERTIFICATE: '{"chirality": 99}'})
    save_pt2(program, folder / "passport_part.pt2", {CERTIFICATE: '{"chirality": 1, "spec": 3}'})


def _arrays(folder: Path) -> None:
    values = poses(20).numpy()
    np.save(folder / "poses.npy", values)
    np.save(folder / "nan.npy", np.where(values > 1, np.nan, values))
    np.save(folder / "wrong.npy", values[:, :4])
    np.save(folder / "millimetres.npy", 1000 * values)
    np.save(folder / "same.npy", values[:1].repeat(20, 0))
    np.save(folder / "flat.npy", values.ravel())
    np.save(folder / "few.npy", values[:2])
    np.save(folder / "none.npy", values[:0])
    np.save(folder / "complex.npy", values + 1j)
    np.save(folder / "words.npy", np.array(["a", "b"]))
    np.save(folder / "objects.npy", np.array([{"a": object}], dtype=object), allow_pickle=True)
    np.save(folder / "hostile.npy", np.array([Touch()], dtype=object), allow_pickle=True)
    np.savez(folder / "hostile.npz", poses=np.array([Touch()], dtype=object))
    np.savez(folder / "two.npz", a=values, b=values)


SPECS = {
    "body": BODY,
    "lifter": LIFTER,
    "tag": BODY + "note: !!python/object/apply:os.mkdir [was_run]\n",
    "anchor": "joints: &a [left_x, right_x]\ncenter: *a\n",
    "bomb": "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\njoints: *c\n",
    "deep": "joints: " + "[" * 3000 + "]" * 3000 + "\n",
    "unclosed": "joints: [a, b\npairs: []\n",
    "twice": BODY + "negate: [y]\n",
    "norway": "joints: [head, no, yes]\npairs: []\n",
    "unpaired": JOINTS + "pairs: [[left_hand, right_hand]]\n",
    "no_pairs": JOINTS,
    "chain": JOINTS + "pairs: [[left_hand, right_hand], [right_hand, left_foot]]\n",
    "itself": JOINTS + "pairs: [[head, head]]\n",
    "misspelt": JOINTS + "pairs: [[left_hand, right_hnd], [left_foot, right_foot]]\n",
    "key": BODY + "pears: []\n",
    "signs": BODY + "signs: {left_hand: [-1, 1], right_hand: [2, 1]}\n",
    "uneven": BODY + "signs: {left_hand: [-1, 1], right_hand: [1, -1], head: [-1, -1, -1]}\n",
    "dims": BODY + 'inputs: [{layout: "b j d", dims: [u, v]}]\n',
    "many": BODY + 'inputs: [{layout: "b j d"}, {layout: "b j d"}]\n',
    "rank": BODY + 'inputs: [{layout: "b t j d"}]\n',
    "reflect": BODY + 'inputs: [{layout: "b j d", reflect: {y: 320}}]\noutputs: [{layout: "b j d"}]\n',
    "extends": "skeleton: h36n\n",
    "blank": "",
    "list": "- 1\n- 2\n",
}


class Case(NamedTuple):
    """Arguments (words), exit status, error code, and what the message says."""

    arguments: str
    status: int
    code: str
    says: tuple[str, ...]


def spec(name: str, code: str, *says: str) -> Case:
    return Case(f"verify good.pt2 --skeleton {name}.yaml", 2, code, says)


def model(name: str, code: str, *says: str) -> Case:
    return Case(f"convert {name} --skeleton lifter.yaml -o out.pt2", 2, code, (name, *says))


def data(name: str, code: str, *says: str, where: str = "") -> Case:
    words = f"convert good.pt2 --skeleton lifter.yaml --method match -o out.pt2 --calibration {name}"
    return Case(words, 2, code, (where or name, *says))


def weights(file: str, factory: str, code: str, *says: str, more: str = "", status: int = 2) -> Case:
    words = f"convert {file} --skeleton lifter.yaml --input-shape 3,5,2 --method match -o out.pt {more}"
    return Case(f"{words} --model {factory}" if factory else words, status, code, says)


def net(name: str, status: int, code: str, *says: str, method: str = "match") -> Case:
    words = f"convert {name}.pt --model cli_bad_nets:{name} --skeleton lifter.yaml --input-shape 3,5,2"
    return Case(f"{words} --method {method} -o out.pt2", status, code, says)


def option(words: str, code: str, *says: str, status: int = 2) -> Case:
    return Case(f"convert {words}", status, code, says)


def audited(words: str, says: str) -> Case:
    return Case(f"audit {words}", 2, "CH207", (says, "write to another file"))


LIFT = "good.pt2 --skeleton lifter.yaml"
NET = "cli_example_nets:Lifter"
ALONE = "chiralize convert weights.pt --skeleton lifter.yaml --input-shape 3,5,2 --method match -o out.pt --model your_"
SHAPED = f"weights.pt --skeleton lifter.yaml --model {NET} --input-shape"
MATCH = f"{LIFT} --method match"
SMALL = f"{LIFT} -o out.pt2 --method match --max-drift 0.001"
REDUCE = f"{LIFT} --method reduce --calibration poses.npy -o out.pt2"
VERIFY = "verify good.pt2 --skeleton lifter.yaml"
CASES = {
    # the specification
    "tag that would run code": spec("tag", "CH105", "tag.yaml:5"),
    "anchor": spec("anchor", "CH105", "anchor.yaml:1"),
    "bomb": spec("bomb", "CH105", "bomb.yaml:1"),
    "nested deeply": spec("deep", "CH105", "deep.yaml"),
    "bracket not closed": spec("unclosed", "CH105", "unclosed.yaml:"),
    "key twice": spec("twice", "CH103", "twice.yaml:5", "negate"),
    "key twice, and a class that is nowhere": Case(
        "convert weights.pt --model nowhere:Net --skeleton twice.yaml -o out.pt", 2, "CH103", ("twice.yaml:5",)
    ),
    "no as a name": spec("norway", "CH106", "norway.yaml:1", "no"),
    "partner missing": spec("unpaired", "CH101", "left_foot"),
    "pairs missing": spec("no_pairs", "CH107", "pairs"),
    "T twice is not 1": spec("chain", "CH102", "right_hand"),
    "pair with itself": spec("itself", "CH106", "head"),
    "joint misspelt": spec("misspelt", "CH104", "misspelt.yaml:2", "'right_hnd'", "'right_hand'"),
    "key misspelt": spec("key", "CH103", "key.yaml:5", "'pears'", "'pairs'"),
    "sign of 2": spec("signs", "CH106", "signs.yaml:5", "2"),
    "signs of another length": spec("uneven", "CH106", "uneven.yaml:5"),
    "unknown dims": spec("dims", "CH107", "dims.yaml:5", "negate"),
    "two inputs described": spec("many", "CH106", "many.yaml:5", "(3, 5, 2)"),
    "layout of another rank": spec("rank", "CH109", "rank.yaml:5", "4 axes", "3"),
    "affine mirror": spec("reflect", "CH100", "reflect.yaml:5", "'y'", "not negated"),
    "base unknown": spec("extends", "CH104", "'h36n'", "'h36m'"),
    "empty file": spec("blank", "CH10", "blank.yaml"),
    "list instead of a map": spec("list", "CH10", "list.yaml:1"),
    "skeleton unknown": Case("verify good.pt2 --skeleton h36n", 2, "CH104", ("'h36n'", "h36m")),
    "sizes do not fit": Case("verify good.pt2 --skeleton h36m", 2, "CH109", ("(3, 5, 2)", "17")),
    "no shape": Case(
        "convert flat.pt --model torch.nn:Linear --arg in_features=10 --arg out_features=10 --skeleton body.yaml",
        2, "CH108", ("with 1,10 it runs", '--input-layout "b (j d)" --output-layout "b (j d)"'),
    ),
    "no skeleton": Case("verify good.pt2", 2, "CH207", ("good.pt2", "--skeleton NAME")),
    # model files
    "missing": model("goof.pt2", "CH201", "no such file", "'good.pt2'"),
    "empty": model("empty.pt2", "CH201", "0 bytes"),
    "truncated": model("truncated.pt2", "CH201"),
    "text": model("notes.pt2", "CH201", "text file", "not a model at all"),
    "web page": model("page.pt", "CH201", "web page"),
    "onnx": model("net.onnx", "CH201", "ONNX", "truncated or damaged"),
    "folder": model("folder.pt2", "CH201", "folder"),
    "array file": model("two.npz", "CH201", "array file"),
    "NaN in weights": model("nan.pt2", "CH205", "first.weight", "1 of 80"),
    "safetensors cut short": model("cut.safetensors", "CH201", "truncated"),
    "hostile example inputs": model("hostile_inputs.pt2", "CH202", "sample_inputs", "mkdir"),
    "hostile script": model("hostile.ts", "CH202", "data.pkl"),
    "hostile weights": model("hostile.pt", "CH202", "mkdir", "--unsafe-pickle"),
    "hostile weights of old": model("hostile_old.pt", "CH202", "plain pickle"),
    "passport is no JSON": Case("verify passport_text.pt2", 2, "CH201", ("chirality.json", "--skeleton")),
    "passport of another version": Case("verify passport_other.pt2", 2, "CH201", ("chirality.json", "99")),
    "passport with holes": Case("verify passport_part.pt2", 2, "CH201", ("chirality.json",)),
    # weights and the factory
    "weights alone": weights("weights.pt", "", "CH207", "first.weight", "Linear 10 -> 8 (first)", ALONE),
    "infinite statistics": weights("inf.pt", NET, "CH205", "norm.running_var"),
    "module missing": weights("weights.pt", "nowhere.nets:Net", "CH203", "nowhere.nets", "install"),
    "attribute missing": weights("weights.pt", "cli_example_nets:Liftr", "CH203", "'Lifter'"),
    "not callable": weights("weights.pt", "cli_bad_nets:number", "CH203", "int"),
    "factory leaves the process": weights("weights.pt", "cli_bad_nets:leaving", "CH203", "SystemExit"),
    "no date": weights("weights.pt", NET, "CH207", "--arg hidden", more="--arg hidden=2001-99-99"),
    "raises": weights("weights.pt", "cli_bad_nets:broken", "CH203", "no luck today", "--arg"),
    "wrong argument": weights("weights.pt", NET, "CH203", "widht", more="--arg widht=8"),
    "returns no module": weights("weights.pt", "cli_bad_nets:list_of_layers", "CH203", "list"),
    "no colon": weights("weights.pt", "cli_example_nets.Lifter", "CH203", "package.module:attribute"),
    "weights missing": weights("short.pt", NET, "CH203", "1 missing", "'last.bias'"),
    "weights too many": weights("long.pt", NET, "CH203", "1 unexpected", "'extra'"),
    "weights of another shape": weights("weights.pt", NET, "CH203", "(8, 10)", "(6, 10)", more="--arg hidden=6"),
    "argument without =": weights("weights.pt", NET, "CH207", "--arg", "'hidden'", more="--arg hidden"),
    "argument twice": weights("weights.pt", NET, "CH207", "'hidden'", more="--arg hidden=8 --arg hidden=9"),
    "two tables": weights("two_tables.pt", NET, "CH201", "--key", "'a'", "'b'"),
    "key unknown": weights("two_tables.pt", NET, "CH201", "'c'", "--key", more="--key c"),
    "factory for a program": option(f"{LIFT} --model {NET}", "CH207", "good.pt2", "--model"),
    # data
    "calibration with NaN": data("nan.npy", "CH205", "NaN"),
    "calibration of another shape": data("wrong.npy", "CH204", "(20, 4, 2)", "(3, 5, 2)"),
    "calibration with one pose": data("same.npy", "CH204", "every sample is the same", where="calibration"),
    "calibration flat": data("flat.npy", "CH204", "(200,)"),
    "calibration too short": data("few.npy", "CH204", "2 samples", "3"),
    "calibration empty": data("none.npy", "CH204", "empty"),
    "calibration complex": data("complex.npy", "CH204", "complex64", "float32"),
    "calibration of words": data("words.npy", "CH204", "not numbers"),
    "calibration of objects": data("objects.npy", "CH20"),
    "calibration hostile": data("hostile.npy", "CH202"),
    "calibration hostile archive": data("hostile.npz", "CH202"),
    "calibration of two": data("two.npz", "CH204", "2 arrays", "1 inputs", "poses"),
    "calibration missing": data("pses.npy", "CH204", "'poses.npy'"),
    "calibration in other units": data("millimetres.npy", "CH204", "norm", "units", "--force", where="calibration"),
    "nothing to mix with": option(f"{LIFT} --mix-gaussian 0.5 -o out.pt2", "CH207", "--mix-gaussian", "--calibration"),
    "calibration is a model": data("good.pt2", "CH204", "pt2 model"),
    "calibration is a folder": data("folder.pt2", "CH204", "folder"),
    # options
    "shape of words": option(f"{SHAPED} a,b", "CH207", "'a,b'"),
    "shape of zero": option(f"{SHAPED} 0,5", "CH207", "'0,5'"),
    "shape too large": option(f"{SHAPED} 99999,99999,99999", "CH207", "entries"),
    "shape that the network refuses": option(f"{SHAPED} 3,7,2", "CH208", "14", "--input-shape"),
    "shape and example": option(f"{LIFT} --input-shape 3,5,2 --example poses.npy", "CH207", "--example"),
    "output folder missing": option(f"{LIFT} -o nowhere/out.pt2", "CH206", "mkdir -p nowhere"),
    "output is a folder": option(f"{LIFT} -o folder.pt2", "CH206", "folder"),
    "output in a file": option(f"{LIFT} -o body.yaml/out.pt2", "CH206", "not a folder"),
    "output is the input": option(f"{LIFT} -o good.pt2", "CH207", "the model itself"),
    "output is the example": option(f"{MATCH} --example weights.pt -o weights.pt", "CH207", "-o", "the example inputs"),
    "output is the data": option(f"{MATCH} --calibration weights.pt -o weights.pt", "CH207", "the calibration inputs"),
    "no file can be called so": option(f"good.pt2 --skeleton {'a' * 300} -o out.pt2", "CH104", "no skeleton is called"),
    "report is the skeleton": option("good.pt2 --skeleton s.json --report s.json", "CH207", "--report", "the skeleton"),
    "report is the passport": option(
        f"{LIFT} --method match -o o.pt --report o.pt.chirality.json", "CH207", "--report", "the file beside -o"
    ),
    "checkpoint is the output": option(
        f"{LIFT} --distill 2 -o o.pt2 --distill-checkpoint o.pt2", "CH207", "--distill-checkpoint", "what -o names"
    ),
    "output suffix": option(f"{LIFT} -o out.h5", "CH207", ".safetensors"),
    "damaged ONNX": Case("verify net.onnx --skeleton lifter.yaml", 2, "CH201", ("net.onnx", "damaged")),
    "average to weights": option(f"{LIFT} --method average -o out.safetensors", "CH207", "--method match"),
    "report suffix": option(f"{LIFT} -o out.pt2 --report r.docx", "CH207", ".html"),
    "report over the output": option(f"{LIFT} -o out.pt2 --report out.pt2", "CH207", "--report"),
    "report folder missing": option(f"{LIFT} -o out.pt2 --report nowhere/r.html", "CH206", "nowhere"),
    "form": option(f"{LIFT} --form bricks", "CH207", "--form", "folded"),
    "method": option(f"{LIFT} --method shrink", "CH207", "--method", "'reduce'", "'match'"),
    "reduce without inputs": option(f"{LIFT} --method reduce", "CH307", "--method reduce", "--calibration", status=3),
    "width above 1": option(f"{LIFT} --width 2", "CH207", "--width: 2", "at most 1"),
    "width of 0": option(f"{LIFT} --width 0", "CH207", "--width: 0", "above 0"),
    "width of what has none": option(f"{MATCH} --width 0.5", "CH207", "--width", "match has no width"),
    "another width in weights": option(
        f"{REDUCE.replace('out.pt2', 'o.pt')} --width 0.707", "CH207", "-o", "at width 0.707", "--width 0.5"
    ),
    "checkpoint of nothing": option(f"{LIFT} --distill-checkpoint c.pt", "CH207", "nothing is distilled"),
    "checkpoint in no folder": option(
        f"{LIFT} --distill 2 --distill-checkpoint nowhere/c.pt", "CH206", "mkdir -p nowhere"
    ),
    "audited over the model": audited("s.json --skeleton lifter.yaml -o s.json", "s.json is the model itself"),
    "audited over its record": audited(
        "weights.pt -o weights.pt.chirality.json",
        "-o: weights.pt.chirality.json is the record of the model's conversion",
    ),
    "audited over the skeleton": audited("good.pt2 --skeleton s.json --report s.json", "s.json is the skeleton"),
    "audited over the data": audited(f"{LIFT} --calibration s.json --report s.json", "is the calibration inputs"),
    "audited over the labels": audited(
        f"{LIFT} --calibration poses.npy --labels s.svg --plot s.svg", "--plot: s.svg is the labels"
    ),
    "audited over the other": audited(
        f"{LIFT} --rollout a:b --chiral s.json -o ./s.json", "-o: s.json is the converted policy"
    ),
    "audited over a folder's": audited("folder.pt2 -o folder.pt2/config.json", "is a file of folder.pt2, which is the"),
    "imported over itself": Case(
        "skeleton import --from mmpose lifter.yaml -o lifter.yaml", 2, "CH207", ("lifter.yaml is the file that is",)
    ),
    "drawn over itself": Case(
        "skeleton show lifter.yaml --image lifter.yaml", 2, "CH207", ("--image: lifter.yaml is the skeleton itself",)
    ),
    "shown in weights": Case("demo -o demo.pt", 2, "CH207", ("demo.pt is no file of a whole network", ".onnx")),
    "audited: one pose": Case(
        "audit good.pt2 --skeleton lifter.yaml --calibration same.npy", 2, "CH204", ("every sample is the same",)
    ),
    "width of words": option(f"{LIFT} --width half", "CH207", "--width", "number"),
    "steps below 0": option(f"{LIFT} --distill -3", "CH207", "--distill", "greater than or equal to 0"),
    "rounds below 0": option(f"{LIFT} --rounds -1", "CH207", "--rounds", "greater than or equal to 0"),
    "fast and rounds": option(f"{LIFT} --rounds 5 --fast", "CH207", "--fast", "leave one of them out"),
    "rounds without inputs": option(
        f"{LIFT} --method match --rounds 5", "CH307", "--rounds", "--calibration", status=3
    ),
    "distill without inputs": option(
        f"{LIFT} --method match --distill 5", "CH307", "--distill", "--calibration", status=3
    ),
    "dense without reduce": option(f"{LIFT} --method match --form dense", "CH207", "--form", "--method reduce"),
    "folded at another width": option(f"{REDUCE} --width 0.707 --form folded", "CH307", "--form dense", status=3),
    "reduced too far": option(f"{REDUCE} --width 0.3 --max-drift 0.001", "CH401", "rho", "--force", status=1),
    "option unknown": option(f"{LIFT} --widht 0.5", "CH207", "--widht", "--help"),
    "option without value": Case("verify good.pt2 --skeleton", 2, "CH207", ("--skeleton",)),
    "model not given": Case("convert", 2, "CH207", ("MODEL", "--help")),
    "two models": Case("verify good.pt2 nan.pt2", 2, "CH207", ("nan.pt2",)),
    "command unknown": Case("convrt good.pt2", 2, "CH207", ("convrt",)),
    "samples of zero": Case("verify good.pt2 --skeleton lifter.yaml --samples 0", 2, "CH207", ("--samples",)),
    "tolerance below zero": Case("verify good.pt2 --skeleton lifter.yaml --tolerance -1", 2, "CH207", ("--tolerance",)),
    "entry unknown": weights("weights.pt", NET, "CH207", "'encod'", "encode", more="--entry encod"),
    "layout unknown": option(f"{LIFT} -o out.pt2 --input-layout (b", "CH106", "--input-layout"),
    "drift too large": option(SMALL, "CH401", "rho", "--force", status=1),
    "not equivariant": Case(VERIFY, 1, "CH501", ("output 0", "bound", "first.weight")),
    # networks
    "leaves the process": net("Leaves", 2, "CH208", "SystemExit: 0"),
    "leaves the process later": net("LeavesLater", 2, "CH208", "sys.exit(0)"),
    "fails when run": net("Fails", 2, "CH208", "this network never runs"),
    "returns no tensor": net("Words", 2, "CH208", "no tensor"),
    "answers nan": net("Roots", 2, "CH208", "output 0", "not finite", "is nan at", "--example", method="average"),
    "dropout left on, averaged": net("AlwaysDropout", 3, "CH301", "dropout.default draws random", method="average"),
    "draws numbers": net("Noisy", 3, "CH301", "randn_like.default draws random", "cli_bad_nets.py", method="average"),
    "unknown op": net("UnknownOp", 3, "CH301", "matrix_exp", "cli_bad_nets.py:34"),
    "data-dependent flow": net("DataDependent", 3, "CH306", "average"),
    "layer norm over signs": net("SignedNorm", 3, "CH30", "layer_norm", "cli_bad_nets.py"),
    "convolution along joints": net("AlongJoints", 3, "CH302", "cli_bad_nets.py"),
    "slice of one side": net("HalfBody", 3, "CH302", "cli_bad_nets.py"),
    "dropout that stays on": net("AlwaysDropout", 3, "CH30", "dropout", "cli_bad_nets.py"),
    "ReLU over signs": net("SignedRelu", 3, "CH303", "relu", "cli_bad_nets.py"),
    "constant that is lopsided": net("Lopsided", 3, "CH304", "adjacency"),
}  # fmt: skip


@pytest.fixture
def shell(kitchen: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    yield from working_shell(kitchen, capsys, monkeypatch)


@pytest.mark.one_in(5)
@pytest.mark.parametrize("name", CASES)
def test_refused_with_help(name: str, shell: Shell) -> None:
    """Status and code as documented; what, where and a remedy on stderr; nothing on stdout; no file changed."""
    case = CASES[name]
    before = shell.listing()
    result = shell(*case.arguments.split())
    assert result.status == case.status, result.err
    assert f" {case.code}" in result.err, result.err
    assert "\n    Fix: " in result.err and "Traceback" not in result.err, result.err
    missing = [text for text in case.says if text not in result.err]
    assert not missing, f"{missing} not in {result.err}"
    if not case.arguments.startswith("verify"):
        assert result.out == ""
    assert shell.listing() == before


def test_there_are_enough() -> None:
    assert len(CASES) >= 60 and len({case.arguments for case in CASES.values()}) == len(CASES)


def test_ambiguous_layout_lists_both_orders(shell: Shell) -> None:
    """(B, J D) may be joint-major or coordinate-major: never guessed."""
    before = shell.listing()
    result = shell(
        *"verify flat.pt --model torch.nn:Linear --arg in_features=10 --arg out_features=10".split(),
        *"--input-shape 3,10 --skeleton body.yaml".split(),
    )
    assert (result.status, result.out) == (2, "")
    assert "AmbiguousLayoutError CH108" in result.err and "(3, 10)" in result.err
    assert "(j d)" in result.err and "(d j)" in result.err
    assert shell.listing() == before


def test_output_without_permission(shell: Shell, tmp_path: Path) -> None:
    """A folder that may not be written to."""
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    tmp_path.chmod(0o500)
    result = shell("convert", "good.pt2", "--skeleton", "lifter.yaml", "-o", tmp_path / "out.pt2")
    assert (result.status, " CH206" in result.err) == (2, True)


def test_factories_may_print(shell: Shell) -> None:
    """What the user's code prints goes to stderr: stdout is for the report."""
    result = shell(
        *"plan Linear.pt --model cli_bad_nets:chatty --skeleton lifter.yaml --input-shape 3,5,2 --format json".split()
    )
    assert result.status == 0 and result.out.startswith("{") and "hello from the factory" in result.err
