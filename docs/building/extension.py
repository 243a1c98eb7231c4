"""What the site adds to Sphinx: generated pages, drawn figures within pages, links that leave their folder."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

from docs.building import figures, pages
from docs.building.links import relinked
from docs.building.python_names import with_fields

_TOGGLE = '<summary><span class="toctree-toggle"'
_NAMED_TOGGLE = '<summary aria-label="its pages"><span class="toctree-toggle"'


class Inlined(SphinxPostTransform):
    """Puts drawn figures into the page, so that they take its colours and readers can select their words."""

    default_priority = 5

    def run(self, **_: Any) -> None:
        """Every image of the drawn ones becomes the text of its file."""
        if self.app.builder.format != "html":
            return
        for image in list(self.document.findall(nodes.image)):
            path = Path(self.app.srcdir) / image["uri"]
            if path.resolve().parent == figures.FOLDER:
                drawing = path.read_text(encoding="utf-8").replace('class="', 'class="inlined ', 1)
                text = f'<div class="figure-scroll" tabindex="0">{drawing}</div>'
                image.replace_self(nodes.raw("", text, format="html"))


def _generate(app: Sphinx) -> None:
    """Write the pages that are made from the code, and those that are shown from elsewhere in the repository."""
    for name, text in pages.generated().items():
        path = Path(app.srcdir) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = text if isinstance(text, bytes) else text.encode()
        if not path.exists() or path.read_bytes() != content:
            path.write_bytes(content)


def _relink(app: Sphinx, name: str, source: list[str]) -> None:
    """Links of a page that leave the folder lead to the page that shows what they mean, or are words."""
    path = Path(app.env.doc2path(name))
    source[0] = relinked(source[0], path.parent, path.parent)


def _fields(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are plain text: bars mean themselves, and passages on parameters become a list."""
    try:
        parameters = [name for name in inspect.signature(thing).parameters if name != "self"]
    except (TypeError, ValueError):
        parameters = []
    lines[:] = [line.replace("|", "\\|") for line in with_fields(lines, parameters)]


def _name_toggles(app: Sphinx, error: Exception | None) -> None:
    """Give the theme's buttons that fold a part of the sidebar a name, which screen readers say."""
    if error is not None or app.builder.format != "html":
        return
    for path in Path(app.outdir).rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        named = text.replace(_TOGGLE, _NAMED_TOGGLE)
        if named != text:
            path.write_text(named, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_post_transform(Inlined)
    app.connect("builder-inited", _generate)
    app.connect("build-finished", _name_toggles)
    app.connect("source-read", _relink)
    app.connect("autodoc-process-docstring", _fields)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
