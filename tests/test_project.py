"""What the project says about itself holds: dependencies, versions, style, import contract, what is packaged and what is not."""

import importlib.metadata
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import zipfile
from dataclasses import asdict
from pathlib import Path

import grimp
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def run(*command: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        command,
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return run(sys.executable, *arguments, **environment)


@pytest.fixture(scope="session")
def files() -> list[Path]:
    """The project's files, relative to its root: those that git holds, or would."""
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        pytest.skip("not a git checkout: nobody knows which files are the project's")
    listed = run(
        "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"
    ).stdout.split("\0")
    return [Path(name) for name in listed if name and (ROOT / name).is_file()]


def test_ruff_is_clean() -> None:
    checked = python("-m", "ruff", "check", "--output-format=concise", ".")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_imports_run_one_way() -> None:
    lint = "from importlinter.cli import lint_imports_command as lint; lint(['--no-logo', '--no-cache'])"
    checked = python("-c", lint)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def section(page: str, heading: str) -> str:
    """Return the text of a page below a heading, up to the next one."""
    return re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)[1]


def test_the_design_page_names_the_layers_of_the_contract_and_every_file() -> None:
    page = (ROOT / "DESIGN.md").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = project["tool"]["importlinter"]["contracts"][0]["layers"]
    assert f"\n{' > '.join(layers)}\n" in page

    named, folders = [], [""]
    for indent, name in re.findall(
        r"^( *)(\S+)  ", section(page, "Folders and files"), re.MULTILINE
    ):
        folders = folders[: len(indent) // 2]
        named.append("".join(folders) + name)
        folders.append(name)
    core = ROOT / "fsaf_core"
    files = [path for path in core.rglob("*.*") if path.suffix in (".py", ".js", ".css")]
    found = {path.relative_to(core).as_posix() for path in files}
    listed = [name for name in named if not name.endswith("/")]
    assert len(listed) == len({*listed}) and {*listed} <= found
    assert {name for name in found - {*listed} if not name.endswith("__init__.py")} == set()
    order = [re.sub(r"/|\.py", "", name) for name in named if "/" not in name[:-1]]
    assert [name for name in order if name != "__init__"] == re.findall(r"\w+", " ".join(layers))


def test_the_design_page_states_the_rules_and_names_as_they_are() -> None:
    from fsaf_core.config import CONVENTIONS

    page = (ROOT / "DESIGN.md").read_text(encoding="utf-8")
    paper, reference = (asdict(CONVENTIONS[name]) for name in ("paper", "reference"))
    rows = re.findall(r"^\| `(\w+)` \| (\S+) \| (\S+) \|", page, re.MULTILINE)
    assert {name: values for name, *values in rows} == {
        name: [str(paper[name]), str(reference[name])] for name in paper
    }
    named = section(page, "The path of one image") + section(page, "The two conventions")
    names = {name.rpartition(".")[2] for name in re.findall(r"`([A-Za-z_.]{3,})`", named)} - {"py"}
    core = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "fsaf_core").rglob("*.py"))
    assert {name for name in names if not re.search(rf"\b{name}\b", core)} == set(), (
        "fsaf_core has no such names"
    )


def test_no_module_is_too_long_to_read_at_once() -> None:
    lines = {
        path.name: path.read_text(encoding="utf-8").count("\n")
        for path in (ROOT / "fsaf_core").rglob("*.py")
    }
    longest = max(lines, key=lines.get)
    assert lines[longest] <= 450, longest


def test_data_knows_nothing_of_the_detector() -> None:
    graph = grimp.build_graph("fsaf_core", cache_dir=None)
    data = {name for name in graph.modules if name.startswith("fsaf_core.data")}
    used = set().union(*map(graph.find_modules_directly_imported_by, data))
    assert used - data <= {"fsaf_core.config", "fsaf_core.utils.files"}


def test_import_is_quick_and_light() -> None:
    """`import fsaf_core` costs under 2 s of CPU time beyond torch's own import, and pulls in nothing that draws or shows."""
    probe = """
import json, sys, time, torch, torchvision
start = time.process_time()
import fsaf_core
print(json.dumps([time.process_time() - start, sorted({name.split(".")[0] for name in sys.modules})]))
"""
    probed = python("-c", probe)
    assert probed.returncode == 0, probed.stderr
    seconds, modules = json.loads(probed.stdout)
    assert seconds < 2
    assert not {
        "matplotlib",
        "IPython",
        "ipykernel",
        "ipywidgets",
        "anywidget",
        "jupyter_client",
        "jupyterlab",
    } & set(modules)


def test_importing_every_part_of_the_core_asks_no_name_and_opens_no_connection() -> None:
    probe = """
import importlib, pkgutil, sys
asked = []
network = ("socket.connect", "socket.get", "urllib.")
sys.addaudithook(lambda event, arguments: asked.append(event) if event.startswith(network) else None)
import fsaf_core
for part in pkgutil.walk_packages(fsaf_core.__path__, "fsaf_core."):
    if not part.name.endswith("__main__"):
        importlib.import_module(part.name)
assert "fsaf_core.viz.widgets.explorer" in sys.modules
print(sorted({*asked} - {"socket.gethostname"}))
"""
    probed = python("-c", probe)
    assert (probed.returncode, probed.stdout.strip()) == (0, "[]"), probed.stdout + probed.stderr


def test_versions_agree() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    newest_change = re.search(
        r"^## (\d\S*)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    said = {
        "CITATION.cff": citation["version"],
        "CHANGELOG.md": newest_change and newest_change[1],
        "installed": importlib.metadata.version("fsaf-core"),
        "fsaf_core.__version__": python(
            "-c", "import fsaf_core; print(fsaf_core.__version__)"
        ).stdout.strip(),
    }
    assert said == dict.fromkeys(said, PROJECT["version"])


def test_citation_names_the_software_and_the_paper() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors", "license"} <= set(citation)
    assert citation["license"] == PROJECT["license"] == "Apache-2.0"
    (paper,) = citation["references"]
    assert [author["family-names"] for author in paper["authors"]] == ["Zhu", "He", "Savvides"]
    assert paper["identifiers"][0]["value"] == "arXiv:1903.00621"


def test_environment_yml_says_nothing_that_pyproject_does_not() -> None:
    from rattler import MatchSpec

    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert set(environment) == {"name", "channels", "dependencies"}
    *conda, pip = environment["dependencies"]
    specs = [MatchSpec(line, strict=True) for line in conda]
    assert [spec.name.normalized for spec in specs] == ["python", "pip"]
    assert SpecifierSet(str(specs[0].version)) == SpecifierSet(PROJECT["requires-python"])
    (line,) = pip["pip"]
    assert re.fullmatch(r"-e \.\[(\w+)\]", line)[1] in PROJECT["optional-dependencies"]


def test_dependencies_have_one_lower_bound_each_and_a_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8").split("[project.scripts]")[0]
    extras = PROJECT["optional-dependencies"]
    for line in PROJECT["dependencies"] + [line for extra in extras.values() for line in extra]:
        assert [bound.operator for bound in Requirement(line).specifier] == [">="], (
            f"{line}: exactly one lower bound"
        )
    for line in PROJECT["dependencies"] + extras["dev"]:
        assert re.search(re.escape(f'"{line}",') + " +# .", text), (
            f"{line}: a comment says what it is for"
        )


def test_make_targets_stand_in_the_list() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.*)", makefile, re.MULTILINE)[1].split()
    assert (
        {"clean", "site"}
        <= set(phony)
        == set(re.findall(r"^([a-z-]+):.*  ## ", makefile, re.MULTILINE))
    )


def test_the_pages_name_files_and_make_targets_that_are_there() -> None:
    pages = "".join(
        (ROOT / name).read_text(encoding="utf-8")
        for name in ("README.md", "DESIGN.md", "CONTRIBUTING.md")
    )
    named = set(re.findall(r"`((?:\.ci|fsaf_core|notebooks|tests)/[\w./]*)[`\s]", pages))
    assert {name for name in named if not (ROOT / name).exists()} == set() and len(named) > 15
    targets = set(re.findall(r"(?:`|^)make ([a-z-]+)", pages, re.MULTILINE))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert (
        {"lab", "test", "train"}
        <= targets
        <= set(re.findall(r"^([a-z-]+):.*  ## ", makefile, re.MULTILINE))
    )


def test_authentication_is_never_switched_off(files: list[Path]) -> None:
    """Lab is opened with its token, on the loopback; only a browser test may do without the token."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    recipe = re.search(r"^lab:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)[1]
    (lab,) = [line for line in recipe.splitlines() if "-m jupyterlab" in line]
    assert re.findall(r"--\S*ip=(\S*)", lab) == ["127.0.0.1"]
    assert not re.search(
        r"token|password|xsrf|certfile|allow_origin|allow_remote|unauthenticated|--no-",
        lab,
        re.IGNORECASE,
    )
    switch = re.compile(
        r"(token|password) *= *(''|\"\"|$|\s)|disable_check_xsrf|allow_remote|allow_unauthenticated|--ip=(0\.0\.0\.0|\*)"
    )
    texts = ("", ".py", ".md", ".yml", ".yaml", ".toml", ".cfg", ".json", ".ipynb", ".sh")
    for path in files:
        if path.parts[0] != "tests" and path.suffix in texts:
            found = [
                line
                for line in (ROOT / path).read_text(encoding="utf-8").splitlines()
                if switch.search(line)
            ]
            assert not found, f"{path}: {found}"


def test_gitignore_keeps_what_is_ours_and_drops_what_is_made() -> None:
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        pytest.skip("not a git checkout")
    ours = [
        "data/README.md",
        "fsaf_core/data/coco.py",
        "notebooks/00_start_here.ipynb",
        "tests/parity/cases.json",
    ]
    made = [
        "data/scenes/train.json",
        "runs/tiny/log.jsonl",
        "build/x",
        "dist/x",
        "site/x",
        ".venv/x",
        "fsaf_core/__pycache__/x",
    ]
    ignored = run("git", "check-ignore", "--no-index", *ours, *made).stdout.split()
    assert ignored == made


def test_no_file_names_a_place_of_one_machine(files: list[Path]) -> None:
    places = re.compile(
        "|".join(("/wor" + "k/", "/roo" + "t/", r"\.\./shar" + "ed", "/home/[a-z]+/")).encode()
    )
    for path in files:
        found = places.search((ROOT / path).read_bytes())
        assert not found, f"{path} names {found[0].decode()!r}"


def test_files_are_small(files: list[Path]) -> None:
    """A clone stays quick: nothing above 4 MB, all together under 25 MB."""
    sizes = {path: (ROOT / path).stat().st_size for path in files}
    assert max(sizes.values()) < 4e6, max(sizes, key=sizes.get)
    assert sum(sizes.values()) < 25e6


def test_wheel_holds_the_package_and_nothing_else(files: list[Path], tmp_path: Path) -> None:
    source = tmp_path / "source"
    for path in files:
        target = source / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, target)
    build = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    built = run(sys.executable, "-c", build, str(tmp_path), cwd=source)
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
        licences = [name for name in archive.namelist() if name.endswith("LICENSE")]
        entry_points = archive.read(
            f"fsaf_core-{PROJECT['version']}.dist-info/entry_points.txt"
        ).decode()
    assert packed == {path.as_posix() for path in files if path.parts[0] == "fsaf_core"}
    assert len(licences) == 1
    assert "fsaf = fsaf_core.cli:main" in entry_points


def test_no_test_reaches_the_internet() -> None:
    attempt = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=1)"  # an address kept for documentation
    with pytest.raises(RuntimeError, match="tests stay on this machine"):
        exec(attempt)
    with pytest.raises(RuntimeError, match="tests stay on this machine"):
        socket.getaddrinfo("example.org", 80)
    assert "tests stay on this machine" in python("-c", attempt).stderr
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname(), timeout=5),
    ):
        pass


def test_shapes_in_signatures_are_enforced(tmp_path: Path) -> None:
    """The import hook is at work: a module of fsaf_core refuses a tensor of another shape than its signature says."""
    from jaxtyping import TypeCheckError, install_import_hook

    (tmp_path / "fsaf_probe.py").write_text(
        "from jaxtyping import Float\nfrom torch import Tensor\n\ndef f(x: Float[Tensor, 'N 4']) -> None: ...\n",
        encoding="utf-8",
    )
    import torch

    from fsaf_core import config

    assert type(config.__spec__.loader).__module__.startswith("jaxtyping")
    sys.path.insert(0, str(tmp_path))
    try:
        with install_import_hook("fsaf_probe", "beartype.beartype"):
            import fsaf_probe
    finally:
        sys.path.remove(str(tmp_path))
    fsaf_probe.f(torch.zeros(2, 4))
    with pytest.raises(TypeCheckError):
        fsaf_probe.f(torch.zeros(2, 5))
