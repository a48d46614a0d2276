"""Write the repository's address wherever the project names it; `project.urls` of pyproject.toml holds it.

python tests/notebooks/set_address.py https://github.com/OWNER/NAME
python tests/notebooks/set_address.py        # again, from pyproject.toml

The set-up cell of each notebook fetches the course from there on Colab, and the README links to Colab, to Binder and to the site.
Until somebody publishes the project, the address is a placeholder, and the README has no such links.
"""

import re
import sys
from pathlib import Path

import nbformat

ROOT = Path(__file__).parents[2]
PROJECT, README = ROOT / "pyproject.toml", ROOT / "README.md"
PLACEHOLDER = "https://github.com/OWNER/fsaf"
IN_PROJECT = re.compile(r'(?<=^Repository = ")[^"]+', re.MULTILINE)
IN_README = re.compile(r"(?<=<!-- online -->\n).*?(?=<!-- /online -->)", re.DOTALL)
CHECK = 'assert os.path.isdir("course"), "Start this notebook in its own folder, notebooks/."\n'
SETUP = """import os

if "COLAB_RELEASE_TAG" in os.environ and not os.path.isdir("course"):
    os.system("git clone -q --depth 1 ADDRESS fsaf")
    os.system("pip install -q ./fsaf")
    os.chdir("fsaf/notebooks")
"""
START = re.compile(r"import os\n\n(?:if .*\n(?: .*\n)+)?(?=" + re.escape(CHECK) + ")")


def address() -> str:
    """The address that pyproject.toml has."""
    return IN_PROJECT.search(PROJECT.read_text(encoding="utf-8"))[0]


def set_up(at: str) -> str:
    """The first lines of each notebook's set-up cell."""
    return SETUP.replace("ADDRESS", at)


def online(at: str) -> str:
    """What the README says about reading and running the course without installing it."""
    if at == PLACEHOLDER:
        return (
            "The project has no public address yet. When it has one, `python tests/notebooks/set_address.py https://github.com/OWNER/NAME` writes\n"
            "links to Colab, to Binder and to the site here.\n"
        )
    owner, name = at.split("/")[-2:]
    colab = f"https://colab.research.google.com/github/{owner}/{name}/blob/main/notebooks"
    binder = f"https://mybinder.org/v2/gh/{owner}/{name}/main?urlpath=lab/tree/notebooks"
    chapters = " ·\n".join(
        f"[{path.stem.split('_')[0]}]({colab}/{path.name})"
        for path in sorted((ROOT / "notebooks").glob("*.ipynb"))
    )
    return (
        f"Read the course on [its site](https://{owner}.github.io/{name}/), where every figure works. Run it without installing anything: all\n"
        f"notebooks on [Binder]({binder}/00_start_here.ipynb), or one on Colab:\n{chapters}.\n"
    )


def written(at: str) -> dict[Path, str | nbformat.NotebookNode]:
    """Each file that names the address, as it must be."""
    files: dict = {
        PROJECT: IN_PROJECT.sub(lambda _: at, PROJECT.read_text(encoding="utf-8")),
        README: IN_README.sub(lambda _: online(at), README.read_text(encoding="utf-8")),
    }
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        first = next(cell for cell in notebook.cells if cell.cell_type == "code")
        first.source, count = START.subn(lambda _: set_up(at), first.source, count=1)
        if not count:
            raise SystemExit(
                f"{path.name}: its first code cell does not begin as a set-up cell does"
            )
        files[path] = notebook
    return files


def main() -> None:
    at = sys.argv[1].rstrip("/") if len(sys.argv) > 1 else address()
    if not re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+", at):
        raise SystemExit(f"{at} is not an address like https://github.com/OWNER/NAME")
    for path, content in written(at).items():
        if isinstance(content, str):
            path.write_text(content, encoding="utf-8")
        else:
            nbformat.write(content, path)
    print(f"{at} is in pyproject.toml, README.md and the notebooks' set-up cells")


if __name__ == "__main__":
    main()
