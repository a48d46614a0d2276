"""The README's numbers are those of the files that commands wrote."""

import results


def test_every_table_is_what_its_command_wrote():
    text = (results.ROOT / "README.md").read_text()
    for name in results.BLOCKS:
        assert f"<!-- {name} -->" in text, f"the README lost its block {name}"
    assert results.filled(text) == text, "run `python tests/results.py`"
