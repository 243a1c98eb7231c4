"""`python -m examples.notebook`: runs the notebooks in place, and writes the first as a page.

Needs the extra `notebook`. With CHIRALIZE_DATA set, figures are of the motion capture's test subjects.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

try:
    import nbformat  # pyright: ignore[reportMissingImports]
    from nbclient import NotebookClient  # pyright: ignore[reportMissingImports]
    from nbconvert import HTMLExporter  # pyright: ignore[reportMissingImports]
except ModuleNotFoundError as error:
    raise SystemExit(
        f"examples.notebook: the package {error.name} is not installed\n"
        '    Fix: pip install -c constraints.txt -e ".[notebook]"; or read examples/notebook/chirality.html as it is'
    ) from error

FOLDER = Path(__file__).parent
NOTEBOOK = FOLDER / "chirality.ipynb"
NOTEBOOKS = NOTEBOOK, FOLDER / "policy.ipynb"


def tidied(outputs: list[Any]) -> list[Any]:
    """Outputs of a cell without the names of objects beside pictures, and with its lines in one piece.

    Raises SystemExit where a cell warned.
    """
    kept: list[Any] = []
    for output in outputs:
        if output.output_type == "stream" and output.name == "stderr":
            raise SystemExit(f"a cell wrote to stderr:\n{output.text}")
        if "image/png" in output.get("data", {}):
            output.data.pop("text/plain", None)
        if output.output_type == "stream" and kept and kept[-1].output_type == "stream":
            kept[-1].text += output.text
        else:
            kept.append(output)
    return kept


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.notebook", description=__doc__)
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of the executed notebook and its page")
    parser.add_argument("--only", choices=[path.stem for path in NOTEBOOKS], help="run this one alone")
    asked = parser.parse_args()
    folder = asked.out
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for path in NOTEBOOKS:
        if asked.only in (None, path.stem):
            notebook = executed(path)
            written.append(folder / path.name)
            nbformat.write(notebook, written[-1])
            if path == NOTEBOOK:
                written.append(folder / "chirality.html")
                written[-1].write_text(page_of(notebook), encoding="utf-8")
    for path in written:
        print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB")


def executed(path: Path) -> Any:
    """A notebook with the outputs of a fresh run. Raises SystemExit where a cell warned."""
    notebook = nbformat.read(path, as_version=4)
    # The kernel finds `examples` as this process does, and nothing of the machine stays in what it writes.
    root = str(FOLDER.parents[1])
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    NotebookClient(notebook, timeout=600, record_timing=False, resources={"metadata": {"path": root}}).execute()
    notebook.metadata["language_info"] = {"name": "python"}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = tidied(cell.outputs)
    return notebook


def page_of(notebook: Any) -> str:
    """An executed notebook as a page for any browser."""
    page, _ = HTMLExporter().from_notebook_node(notebook, {"metadata": {"name": "A network and its mirror image"}})
    lines = (line.rstrip() for line in page.splitlines())
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
