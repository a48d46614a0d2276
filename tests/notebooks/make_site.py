"""Write the notebooks as web pages, with every figure alive: `make site`, or

python tests/notebooks/make_site.py SITE BUILD

The outputs are the stored ones; no notebook is run. Of a cell that shows an interactive figure, only
the statements that make the figure are run, and the figure's still must be the stored one. Its page
then stands in place of the still, which goes on serving printers and readers without scripts.
"""

import ast
import base64
import importlib
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import nbformat
from nbformat import NotebookNode

ROOT = Path(__file__).parents[2]
NOTEBOOKS, PAGES = ROOT / "notebooks", Path(__file__).parent / "pages"
HEROES = ("film", "first_guess")  # of course.figures: the front page shows the first that is there
GROUPS = {  # of the map on the front page
    "The ground": ("00", "01", "02", "03", "04"),
    "The method": ("05", "06", "07", "explorer"),
    "At work": ("08", "09", "10", "11"),
    "Beyond": ("12", "13", "appendix"),
}
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?!\w|\.\d)")
ADDRESS = re.compile(r'^Repository = "https://github\.com/([^"]+)"', re.MULTILINE)


class Live(NamedTuple):
    """An interactive figure in a notebook."""

    cell: str  # id
    page: str  # file in _static/figures
    title: str


# The statements that make a figure


class Statement(NamedTuple):
    """A statement of a notebook, outside of functions."""

    cell: int
    node: ast.stmt
    reads: frozenset[str]
    writes: frozenset[str]


def base(node: ast.AST) -> str:
    """The variable `a` of `a.b[c].d`."""
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def reads_of(node: ast.AST) -> set[str]:
    """The names that a piece of code reads, without the local names of its functions."""
    found, own = set(), set()
    for part in ast.iter_child_nodes(node):
        found |= reads_of(part)
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        found.add(node.id)
    if isinstance(node, (ast.FunctionDef, ast.Lambda)):
        own = {one.arg for one in ast.walk(node.args) if isinstance(one, ast.arg)}
        stores = (one for one in ast.walk(node) if isinstance(one, ast.Name))
        own |= {one.id for one in stores if isinstance(one.ctx, ast.Store)}
    return found - own


def names(node: ast.stmt) -> tuple[set[str], set[str]]:
    """The names that a statement reads, and those that it binds or changes."""
    reads, writes = reads_of(node), set()
    waiting: list[ast.AST] = [node]
    while waiting:
        one = waiting.pop()
        if isinstance(one, (ast.FunctionDef, ast.ClassDef)):
            writes.add(one.name)
            continue
        if isinstance(one, ast.Lambda):
            continue
        if isinstance(one, (ast.Import, ast.ImportFrom)):
            writes |= {(name.asname or name.name).split(".")[0] for name in one.names}
        if isinstance(one, (ast.Name, ast.Attribute, ast.Subscript)) and not isinstance(
            one.ctx, ast.Load
        ):
            writes.add(base(one))
        # A method called for itself may change its object: figure.observe(...), torch.set_num_threads(1)
        call = one.value if isinstance(one, ast.Expr) else None
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
            writes.add(base(call.func))
        waiting += ast.iter_child_nodes(one)
    return reads, writes - {""}


def statements(notebook: NotebookNode) -> list[Statement]:
    found = []
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            for node in ast.parse(cell.source).body:
                found.append(Statement(index, node, *map(frozenset, names(node))))
    return found


def needed(before: list[Statement], reads: frozenset[str]) -> list[Statement]:
    """The statements that what is read depends on, in order."""
    chosen, wanted = [], set(reads)
    for one in reversed(before):
        if one.writes & wanted:
            chosen.append(one)
            wanted |= one.reads
    return chosen[::-1]


def tainted(before: list[Statement], classes: set[str]) -> set[str]:
    """The names that may hold a figure, or make one."""
    found = set(classes)
    for one in before:
        modules = "course.figures" in ast.unparse(one.node)
        if modules or one.reads & found:
            found |= one.writes
    return found


def figures(path: Path, classes: set[str]) -> Iterator[tuple[NotebookNode, str, object]]:
    """Each cell of a notebook that shows a figure, with its stored still and the figure itself."""
    notebook = nbformat.read(path, as_version=4)
    every = statements(notebook)
    for index, cell in enumerate(notebook.cells):
        own = [one for one in every if one.cell == index]
        stills = [
            output.data["image/svg+xml"]
            for output in cell.get("outputs", [])
            if "image/svg+xml" in output.get("data", {})
        ]
        if not stills or not isinstance(own[-1].node, ast.Expr):
            continue
        before, last = every[: every.index(own[-1])], own[-1]
        if not last.reads & tainted(before, classes):
            continue
        space: dict = {"__name__": "__main__"}
        body = [one.node for one in needed(before, last.reads)]
        exec(compile(ast.Module(body, []), path.name, "exec"), space)
        shown = eval(compile(ast.Expression(last.node.value), path.name, "eval"), space)
        yield cell, stills[-1], shown


def same_drawing(one: str, other: str) -> bool:
    """Whether two drawings are the same but for what another CPU rounds in another way."""
    texts, numbers = zip(*((NUMBER.split(text), NUMBER.findall(text)) for text in (one, other)))
    return texts[0] == texts[1] and all(abs(float(a) - float(b)) < 0.2 for a, b in zip(*numbers))


def live_figures(path: Path, folder: Path) -> list[Live]:
    """Write the page of each interactive figure of a notebook."""
    from fsaf_core.viz.widgets.explorer import Explorer
    from fsaf_core.viz.widgets.kit import Figure

    found = []
    for cell, still, figure in figures(path, {Explorer.__name__}):
        if not isinstance(figure, Figure):
            continue
        if not same_drawing(str(figure.picture()), still):
            raise SystemExit(
                f"{path.name}, cell {cell.id}: the figure is not what its stored still shows. "
                f"Store the notebook's outputs again: make notebooks."
            )
        page = f"{path.stem}-{cell.id}.html"
        write_page(figure, folder / page)
        found.append(Live(cell.id, page, figure.title))
    return found


def write_page(figure, path: Path, *scripts: str) -> None:
    """Write a figure's page for a frame of the site: it says how high it is, and follows the site's theme."""
    figure.save_html(path)
    added = [(PAGES / name).read_text(encoding="utf-8") for name in ("figure.js", *scripts)]
    style = (PAGES / "figure.css").read_text(encoding="utf-8")
    text = path.read_text(encoding="utf-8").replace("</head>", f"<style>{style}</style></head>")
    end = "".join(f"<script>\n{one}</script>\n" for one in added)
    path.write_text(text.replace("</body>", f"{end}</body>"), encoding="utf-8")


# The pages


def alts(paths: list[Path]) -> dict[str, str]:
    """The alt text of each stored picture, by the picture's SHA-256."""
    found = {}
    for path in paths:
        for cell in nbformat.read(path, as_version=4).cells:
            for output in cell.get("outputs", []):
                data, more = output.get("data", {}), output.get("metadata", {})
                for kind in ("image/png", "image/jpeg"):
                    if kind in data:
                        picture = base64.b64decode(data[kind])
                        found[sha256(picture).hexdigest()] = more.get(kind, more).get("alt", "")
    return found


def chapter(path: Path) -> tuple[str, str, str]:
    """A notebook's title, its promise and the minutes that it takes, as its first cells say them."""
    prose = [c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "markdown"]
    head, _, rest = prose[0].partition("\n")
    promise = next(line for line in rest.splitlines() if line.strip()).strip("*_ ")
    minutes = re.search(r"(\d+) minutes", "\n".join(prose[:2]))
    return head.strip("# "), promise, f"{minutes[1]} minutes" if minutes else ""


def index(paths: list[Path]) -> str:
    """The text of the front page: a sentence, a figure that plays, and the map of the chapters."""
    parts: list[str] = []
    for group, starts in GROUPS.items():
        chapters = [p for start in starts for p in paths if re.match(rf"{start}(_|$)", p.stem)]
        parts.append(f"### {group}\n\n<div class='map'>\n")
        for path in chapters:
            title, promise, minutes = chapter(path)
            time = f" <span class='time'>{minutes}</span>" if minutes else ""
            link = f"**[{title}](notebooks/{path.name})**"
            parts.append(f"<div class='card-of-map'>\n\n{link}{time}\n\n{promise}\n\n</div>")
        parts.append("\n</div>\n")
        tree = [path.stem for path in chapters] + ["GLOSSARY"] * (group == [*GROUPS][-1])
        contents = "\n".join(f"notebooks/{stem}" for stem in tree)
        parts.append(f"```{{toctree}}\n:hidden:\n:caption: {group}\n\n{contents}\n```\n")
    told = "\n".join(parts)
    left = [path.name for path in paths if f"(notebooks/{path.name})" not in told]
    if left:
        raise SystemExit(f"GROUPS of {Path(__file__).name} lacks {', '.join(left)}")
    text = (PAGES / "index.md").read_text(encoding="utf-8")
    return text.replace("MAP", told)


def address() -> str:
    """OWNER/NAME of the repository on GitHub, or "" where pyproject.toml has the placeholder."""
    found = ADDRESS.search((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return found[1] if found and not found[1].startswith("OWNER/") else ""


def hero() -> object:
    """The figure of the front page."""
    import course

    from fsaf_core.viz.widgets.explorer import Explorer

    for name in HEROES:
        if (NOTEBOOKS / "course" / "figures" / f"{name}.py").exists():
            return importlib.import_module(f"course.figures.{name}").example()
    scene, points = course.scene(), course.population_points()
    shown = scene.image, scene.boxes, scene.labels, course.snapshots()
    return Explorer(*shown, selected=scene.star, points=points)


def write_sources(folder: Path) -> None:
    """Write all that Sphinx reads."""
    paths = sorted(NOTEBOOKS.glob("*.ipynb"))
    skipped = shutil.ignore_patterns("*.py", "__pycache__", ".ipynb_checkpoints")
    shutil.copytree(NOTEBOOKS, folder / "notebooks", ignore=skipped)
    static = folder / "_static"
    (static / "figures").mkdir(parents=True)
    for name in ("course.css", "course.js"):
        shutil.copy(PAGES / name, static)
    shutil.copy(PAGES / "conf.py", folder)
    (folder / "index.md").write_text(index(paths), encoding="utf-8")
    os.chdir(NOTEBOOKS)  # where the notebooks' statements expect to run
    sys.path.insert(0, str(NOTEBOOKS))
    live = {path.stem: live_figures(path, static / "figures") for path in paths}
    write_page(hero(), static / "figures" / "hero.html", "hero.js")
    os.chdir(ROOT)
    facts = {
        "live": {stem: [one._asdict() for one in found] for stem, found in live.items()},
        "alts": alts(paths),
        "address": address(),
    }
    (folder / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
    print(f"{sum(map(len, live.values()))} figures are alive")


def main() -> int:
    site, build = (Path(name).resolve() for name in sys.argv[1:3])
    for folder in (site, build):
        shutil.rmtree(folder, ignore_errors=True)
    write_sources(build / "source")
    from sphinx.cmd.build import main as sphinx

    where = [str(build / name) for name in ("doctrees", "source", "html")]
    failed = sphinx(["-q", "-b", "html", "-d", *where])
    if not failed:
        for unused in (*Path(where[2]).rglob("*.map"), Path(where[2], "_static", "locales")):
            shutil.rmtree(unused) if unused.is_dir() else unused.unlink()
        shutil.move(where[2], site)
        size = sum(path.stat().st_size for path in site.rglob("*") if path.is_file())
        print(f"{site.name}/index.html: {size / 1e6:.1f} MB in all")
    return failed


if __name__ == "__main__":
    sys.exit(main())
