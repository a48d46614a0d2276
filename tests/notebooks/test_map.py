"""The course's map, its table of equations, symbols, terms and links: every target is there and is what it is said to be."""

import ast
import re
from pathlib import Path

import nbformat
import pytest
from make_notebooks import NOTEBOOKS, all_notebooks
from nbformat import NotebookNode

ROOT = NOTEBOOKS.parent
START = NOTEBOOKS / "00_start_here.ipynb"
GLOSSARY = NOTEBOOKS / "GLOSSARY.md"
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]*)(?:#([^)\s]*))?\)")
EQUATIONS = (  # of section 3 of the paper, each by what its row must hold
    "b_p^l = b / 2^l",
    r"w_e^l = \epsilon_e w_p^l",
    r"w_i^l = \epsilon_i w_p^l",
    r"\alpha = 0.25",
    r"\frac{1}{N_+} \sum FL",
    "d_{i,j}^l",
    r"i - S\,o_t",
    r"-\ln IoU",
    r"L_{FL}^I(l) = \frac{1}{N(b_e^l)}",
    r"L_{IoU}^I(l) = \frac{1}{N(b_e^l)}",
    r"l^* = \arg\min_l",
    r"l' = \lfloor l_0 + \log_2",
    r"L = L^{ab} + \lambda",
    r"-\ln((1 - \pi) / \pi)",
)


def rows(text: str, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its head."""
    table = re.search(r"(?:^\|.*\n?)+", text.split(f"## {heading}\n", 1)[1], re.MULTILINE)[0]
    return [
        [part.strip() for part in line.strip("|\n").split(" | ")] for line in table.splitlines()[2:]
    ]


def cells(path: Path) -> dict[str, NotebookNode]:
    return {cell.id: cell for cell in nbformat.read(path, as_version=4).cells}


def prose(path: Path) -> str:
    return "\n".join(cell.source for cell in cells(path).values() if cell.cell_type == "markdown")


def anchors(path: Path) -> set[str]:
    """What may stand behind a file's `#`: JupyterLab's names of a notebook's headings and cells, GitHub's names of a page's headings."""
    if path.suffix == ".md":
        headings = re.findall(r"^#+ (.+?)\s*$", path.read_text(encoding="utf-8"), re.MULTILINE)
        return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    headings = re.findall(r"^#+ (.+?)\s*$", prose(path), re.MULTILINE)
    return {f"cell-id={name}" for name in cells(path)} | {
        heading.replace(" ", "-") for heading in headings
    }


def links(text: str) -> list[tuple[str, str]]:
    """Target and fragment of each link and picture of a text, in Markdown or in HTML, outside of code and formulas."""
    text = re.sub(r"```.*?```|`[^`\n]*`|\$[^$\n]*\$", "", text, flags=re.DOTALL)
    tags = re.findall(r"<(?:a|img)\b[^>]*?\b(?:href|src)=\"([^\"#]*)(?:#([^\"]*))?\"", text)
    return [pair for pair in (*LINK.findall(text), *tags) if not re.match(r"\w+:", pair[0])]


def names(path: Path) -> set[str]:
    """All that a file defines: `name`, `Class.field`, `Class.method`, `function(argument)`."""
    found: set[str] = set()

    def visit(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
                found.add(prefix + node.name)
            if isinstance(node, ast.ClassDef):
                visit(node.body, f"{node.name}.")
            elif isinstance(node, ast.FunctionDef):
                found.update(
                    f"{prefix}{node.name}({one.arg})"
                    for one in (*node.args.args, *node.args.kwonlyargs)
                )
                selves = [
                    part
                    for part in ast.walk(node)
                    if isinstance(part, ast.Attribute) and isinstance(part.ctx, ast.Store)
                ]
                found.update(
                    prefix + part.attr for part in selves if getattr(part.value, "id", "") == "self"
                )
            elif isinstance(node, (ast.Assign, ast.AnnAssign)):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                found.update(
                    prefix + part.id
                    for target in targets
                    for part in ast.walk(target)
                    if isinstance(part, ast.Name)
                )

    visit(ast.parse(path.read_text(encoding="utf-8")).body, "")
    return found


# Names with one meaning each: what the field calls a thing, and other words for it that no page uses.
ONE_NAME = {
    "location": r"(?:a|each|every|one) cell (?:says|predicts|is told|answers|learns)",
    "assigned instance": r"\bowners?\b|\bowns\b|\bowned\b",
    "background": r"\bnobody\b|\bsomebody\b",
    "ignored region": r"\bbelts?\b",
    "backbone": r"\bbody\b|\bbodies\b",
    "dead ReLU": r"\bdead (?:cell|output)s?\b",
    "size bin": r"\boctaves?\b",
    "level heuristic": r"\b(?:rule|choice|level|selection) by size\b",
    "worked example": r"\bsheet\b",
    "evaluated": r"\bjudged?\b",
    "normalizer": r"\bnormalisers?\b",
    "center": r"\bcentres?\b",
    "learned": r"\blearnt\b",
    "label": r"\blabell(?:ed|ing)\b",
}
PLAIN = (GLOSSARY, *(NOTEBOOKS / name for name in ("00_start_here.ipynb", "11_capstone.ipynb")))
PLAIN += (NOTEBOOKS / "13_full_coco_training.ipynb", NOTEBOOKS / "explorer.ipynb")

EQUATION_ROWS = rows(prose(START), "Where every equation of the paper's section 3 is computed")
SYMBOL_ROWS = rows(GLOSSARY.read_text(encoding="utf-8"), "Symbols")
TERM_ROWS = rows(GLOSSARY.read_text(encoding="utf-8"), "Terms")


def test_every_equation_of_section_3_has_a_row() -> None:
    for equation in EQUATIONS:
        assert sum(equation in row[0] for row in EQUATION_ROWS) == 1, equation


@pytest.mark.parametrize("row", EQUATION_ROWS, ids=lambda row: row[1])
def test_an_equation_is_computed_by_code_and_shown_by_a_picture(row: list[str]) -> None:
    _, _, computed, shown = row
    for part in (computed, shown):
        assert LINK.findall(part), row
    for target, fragment in LINK.findall(computed):
        cell = cells(NOTEBOOKS / target)[fragment.removeprefix("cell-id=")]
        assert cell.cell_type == "code" and re.search(
            r"[-+*/]|\.(min|arg|sum|mean|log)|def ", cell.source
        ), fragment
    for target, fragment in LINK.findall(shown):
        cell = cells(NOTEBOOKS / target)[fragment.removeprefix("cell-id=")]
        kinds = {kind for output in cell.get("outputs", []) for kind in output.get("data", {})}
        assert kinds & {"image/svg+xml", "image/png"}, fragment


@pytest.mark.parametrize(
    "path", [*all_notebooks(), GLOSSARY, *sorted(ROOT.glob("*.md"))], ids=lambda path: path.stem
)
def test_every_link_within_the_course_leads_somewhere(path: Path) -> None:
    text = prose(path) if path.suffix == ".ipynb" else path.read_text(encoding="utf-8")
    for target, fragment in links(text):
        file = (path.parent / target).resolve() if target else path
        assert file.exists(), f"{target} is not there"
        assert not fragment or fragment in anchors(file), f"{target} has no {fragment}"


def test_links_are_found_in_markdown_and_in_html(tmp_path: Path) -> None:
    told = 'See [one](a.ipynb#x), ![two](b.svg), [far](https://c.d), `[no](e)` and <a href="f.md#g">h</a>, <img width="3" src="i.png">'
    assert links(told) == [("a.ipynb", "x"), ("b.svg", ""), ("f.md", "g"), ("i.png", "")]
    (tmp_path / "page.md").write_text("# Where to add what?\n\n## Own data\n")
    assert anchors(tmp_path / "page.md") == {"where-to-add-what", "own-data"}


def test_the_readme_lists_every_notebook_with_the_minutes_of_its_card() -> None:
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    row = r"^\| \[[^\]]+\]\(notebooks/(\S+)\) \| .+ \| (\d+) \|$"
    time = re.compile(r"\*\*Time\*\* \| about (\d+) minutes")
    told = {path.name: time.search(prose(path))[1] for path in all_notebooks()}
    assert dict(re.findall(row, page, re.MULTILINE)) == told


def test_the_map_names_every_notebook() -> None:
    linked = {
        target
        for row in rows(prose(START), "The map of the course")
        for target, _ in LINK.findall(row[0])
    }
    assert linked == {path.name for path in all_notebooks()} - {START.name}


@pytest.mark.parametrize("row", SYMBOL_ROWS, ids=lambda row: row[0])
def test_a_symbol_is_in_its_file_and_in_its_notebook(row: list[str]) -> None:
    symbol, words, name, file, notebook = row
    assert words and name.strip("`") in names(ROOT / file.strip("`")), f"{file} has no {name}"
    ((target, _),) = LINK.findall(notebook)
    formulas = re.findall(r"\${1,2}([^$]+)\${1,2}", prose(NOTEBOOKS / target))
    text = "\n".join(formulas).replace(r"\,", "").replace(" ", "")
    for part in re.findall(r"\$([^$]+)\$", symbol):
        known = (part.split("=")[0], *re.findall(r"C_\d|[A-Za-z]+_\{\w+\}", part))
        assert any(one.strip("() ").replace(" ", "").replace(r"\,", "") in text for one in known), (
            f"{target} never says {part}"
        )


@pytest.mark.parametrize("row", TERM_ROWS, ids=lambda row: row[0])
def test_a_term_is_told_in_a_sentence_and_used_where_it_is_introduced(row: list[str]) -> None:
    term, sentence, notebook = row
    assert sentence.endswith(".") and sentence[0].isupper()
    ((target, _),) = LINK.findall(notebook)
    assert re.search(rf"(?<!\w){re.escape(term)}", prose(NOTEBOOKS / target), re.IGNORECASE), (
        f"{target} never says {term}"
    )


@pytest.mark.parametrize("path", PLAIN, ids=lambda path: path.stem)
def test_a_thing_has_one_name(path: Path) -> None:
    text = prose(path) if path.suffix == ".ipynb" else path.read_text(encoding="utf-8")
    text = re.sub(r"`[^`\n]*`|\]\([^)\s]*\)", "", text)
    for name, others in ONE_NAME.items():
        found = re.search(others, text, re.IGNORECASE)
        assert not found, f"{path.name}: {found[0]!r} is called {name!r}"


def test_a_term_has_one_row_for_one_meaning() -> None:
    """No two terms have the same sentence, and the names of the table above that are terms have a row."""
    sentences = [row[1].lower() for row in TERM_ROWS]
    assert len(set(sentences)) == len(sentences)
    terms = {row[0] for row in TERM_ROWS}
    named = ("location", "assigned instance", "background", "ignored region", "backbone")
    assert terms >= {*named, "dead ReLU", "normalizer", "label assignment"}


def test_terms_are_in_order_and_once() -> None:
    terms = [row[0].lower() for row in TERM_ROWS]
    assert terms == sorted(set(terms))


@pytest.mark.parametrize("path", [START], ids=lambda path: path.stem)
def test_names_of_the_recap_are_in_their_files(path: Path) -> None:
    for *_, name, file in rows(prose(path), "Recap"):
        assert name.strip("`") in names(ROOT / "fsaf_core" / file.strip("`")), (name, file)


def test_the_test_itself_knows_what_a_file_defines(tmp_path: Path) -> None:
    file = tmp_path / "some.py"
    file.write_text(
        "A = 1\nclass B:\n    c: int\n    def d(self, e):\n        self.f = e\ndef g(h): pass\n"
    )
    assert names(file) == {"A", "B", "B.c", "B.d", "B.d(self)", "B.d(e)", "B.f", "g", "g(h)"}
