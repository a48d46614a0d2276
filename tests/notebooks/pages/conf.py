"""Sphinx's settings for `make site`. make_site.py copies this file beside the sources and writes facts.json there."""

import html
import json
import re
import xml.etree.ElementTree as ET
from hashlib import sha256
from pathlib import Path

from docutils import nodes
from latex2mathml.converter import convert

HERE = Path(__file__).parent
FACTS = json.loads((HERE / "facts.json").read_text(encoding="utf-8"))

html_title = project = "FSAF, the course"
extensions = ["myst_nb"]
exclude_patterns = [
    "notebooks/course",
    "notebooks/examples",
    "notebooks/checks",
    "notebooks/solutions",
]
html_theme = "sphinx_book_theme"
html_show_sphinx = False
html_context = {"default_mode": "auto"}  # light or dark as the system is
html_copy_source = False
html_static_path, html_css_files, html_js_files = ["_static"], ["course.css"], ["course.js"]
nb_execution_mode = "off"  # the notebooks carry their outputs
nb_merge_streams = True  # what one cell prints is one block
nb_ipywidgets_js = {}  # no scripts from elsewhere: figures are pages of the site
myst_enable_extensions = ["dollarmath", "amsmath"]
suppress_warnings = ["mystnb.unknown_mime_type", "myst.xref_missing"]
html_math_renderer = (
    "mathml"  # which browsers show by themselves: MathJax would come from elsewhere
)
html_theme_options: dict = {"use_download_button": False}  # of a source that is not copied
if FACTS["address"]:  # buttons that open a page's notebook in Colab or Binder
    html_theme_options |= {
        "repository_url": f"https://github.com/{FACTS['address']}",
        "path_to_docs": ".",
        "repository_branch": "main",
        "use_repository_button": True,
        "launch_buttons": {
            "colab_url": "https://colab.research.google.com",
            "binderhub_url": "https://mybinder.org",
            "notebook_interface": "jupyterlab",
        },
    }

FRAME = (
    '<div class="live-figure"><iframe class="live" loading="lazy" src="../_static/figures/{page}" title="{title}"></iframe></div>'
    "<noscript><style>.live-figure {{ display: none }} .bd-article .still {{ display: inline }}</style></noscript>"
)


def mathml(self, node):
    block = isinstance(node, nodes.math_block)
    tex = re.sub(
        r"\\ln(?= *[^( ])", r"\\ln\\,", node.astext().replace(r"\arg", r"\operatorname{arg}")
    )
    text = convert(tex, display="block" if block else "inline")
    if "\\" in text:
        raise ValueError(f"latex2mathml does not know all of {node.astext()!r}")
    self.body.append(f'<p class="formula">{text}</p>' if block else text)
    raise nodes.SkipNode


def cells(app, doctree):
    """Give each cell its name in JupyterLab's links, put figures' pages before their stills, and name the pictures."""
    path = Path(app.env.doc2path(app.env.docname))
    if path.suffix != ".ipynb":
        return
    notebook = json.loads(path.read_text(encoding="utf-8"))
    live = {one["cell"]: one for one in FACTS["live"][path.stem]}
    for node in list(doctree.findall(nodes.container)):
        if node.get("nb_element") != "cell_code":
            continue
        name = notebook["cells"][node["cell_index"]]["id"]
        node["ids"].append("cell-id=" + name)
        if name in live:
            still = [one for one in node.findall(nodes.image) if one["uri"].endswith(".svg")][-1]
            still["classes"].append("still")
            bundle = still.parent
            while bundle.get("nb_element") != "mime_bundle":
                bundle = bundle.parent
            frame = FRAME.format(**{key: html.escape(value) for key, value in live[name].items()})
            bundle.parent.insert(bundle.parent.index(bundle), nodes.raw("", frame, format="html"))
    for image in doctree.findall(nodes.image):
        file = Path(app.srcdir, image["uri"].lstrip("/"))
        if not image.get("alt"):
            image["alt"] = alt(file.resolve())


def alt(file: Path) -> str:
    """A picture's alt text, from the drawing itself or from the notebook."""
    data = file.read_bytes()
    if file.suffix == ".svg":
        return ET.fromstring(data).get("aria-label", "")
    return FACTS["alts"].get(sha256(data).hexdigest(), "")


def setup(app):
    app.add_html_math_renderer("mathml", (mathml, None), (mathml, None))
    app.connect("doctree-read", cells)
