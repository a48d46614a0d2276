"""Runs notebooks and stores their outputs: `make notebooks`, or this file with the notebooks' names.

A notebook is run from top to bottom in a fresh kernel, in its own folder, on one thread. It is written only if every cell ran.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from nbval.plugin import coalesce_streams

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
CELL_TIMEOUT = 600  # seconds


def all_notebooks() -> list[Path]:
    """The course's notebooks in order, solutions included."""
    return sorted(
        path for path in NOTEBOOKS.rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts
    )


def run(path: Path) -> NotebookNode:
    """The notebook with the outputs of a fresh run. Raises CellExecutionError when a cell does."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT,
        kernel_name="python3",
        extra_arguments=["--log-level=ERROR"],  # each kernel would say that it talks over TCP
        record_timing=False,
        resources={"metadata": {"path": str(path.parent)}},
    ).execute()
    return tidy(notebook)


def tidy(notebook: NotebookNode) -> NotebookNode:
    """Without what differs from run to run for nothing: widgets' state (30 kB each), versions, gaps in the count, torn prints."""
    kernelspec = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    notebook.metadata = NotebookNode(kernelspec=kernelspec, language_info={"name": "python"})
    count = 0
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        count += 1
        cell.execution_count = count
        cell.outputs = coalesce_streams(
            cell.outputs
        )  # a slow cell's prints come in pieces, at other places in each run
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = count
            if "image/svg+xml" in output.get(
                "data", {}
            ):  # a live widget's id: Jupyter would miss it and not show the picture
                output.data.pop("application/vnd.jupyter.widget-view+json", None)
    return notebook


def store(notebook: NotebookNode, path: Path) -> None:
    """Writes in one go: an interrupted run leaves the old file whole."""
    nbformat.validate(notebook)
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", newline="\n", dir=path.parent, delete=False
    ) as file:
        nbformat.write(notebook, file)
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all of the course")
    paths = parser.parse_args().notebooks or all_notebooks()
    with tempfile.TemporaryDirectory(prefix="ipython-") as ipython:
        # As in the tests: the same sums everywhere, and nobody's own start-up files.
        os.environ |= {
            "OMP_NUM_THREADS": "1",
            "OMP_WAIT_POLICY": "PASSIVE",
            "ONEDNN_MAX_CPU_ISA": "AVX2",
            "IPYTHONDIR": ipython,
        }
        failed = 0
        for path in paths:
            start = time.perf_counter()
            try:
                store(run(path), path)
            except CellExecutionError as error:
                failed += 1
                print(
                    f"{path.name}: a cell failed, the file is as it was.\n{error}", file=sys.stderr
                )
            else:
                print(f"{path.name}: {time.perf_counter() - start:.0f} s", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
