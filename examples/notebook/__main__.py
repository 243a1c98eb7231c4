"""`python -m examples.notebook`: runs the notebook in place and writes it as a page.

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
    folder = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    # The kernel finds `examples` as this process does, and nothing of the machine stays in what it writes.
    root = str(FOLDER.parents[1])
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    NotebookClient(notebook, timeout=600, record_timing=False, resources={"metadata": {"path": root}}).execute()
    notebook.metadata["language_info"] = {"name": "python"}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = tidied(cell.outputs)
    nbformat.write(notebook, folder / NOTEBOOK.name)
    page, _ = HTMLExporter().from_notebook_node(notebook, {"metadata": {"name": "A network and its mirror image"}})
    lines = (line.rstrip() for line in page.splitlines())
    (folder / "chirality.html").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for path in (folder / NOTEBOOK.name, folder / "chirality.html"):
        print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
