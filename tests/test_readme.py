"""The README's numbers are those of the files that commands wrote."""

import json

import pytest
import results
from peer import PEER

from fsaf_core.tools.ablation import MIN_SEEDS


def test_every_table_is_what_its_command_wrote():
    text = (results.ROOT / "README.md").read_text()
    for name in results.BLOCKS:
        assert f"<!-- {name} -->" in text, f"the README lost its block {name}"
    assert results.filled(text) == text, "run `python tests/results.py`"


@pytest.mark.parametrize("name", ["ablation", "detail"])
def test_an_ablation_is_that_of_its_recorded_runs(name):
    ablation = json.loads((results.COURSE / f"{name}.json").read_text())
    for row, values in ablation["rows"].items():
        seeds = MIN_SEEDS if row == PEER else ablation["seeds"]
        assert len(values["AP"]) == seeds
        for seed in range(seeds):
            run = results.RECORDS / name / f"{row}_seed{seed}"
            metrics = json.loads((run / "metrics.json").read_text())
            for metric, kept in values.items():
                assert kept[seed] == 100 * metrics[metric]
            if (run / "config.json").exists():  # the peer has none
                recipe = json.loads((run / "config.json").read_text())["train"]
                assert (recipe["steps"], recipe["seed"]) == (ablation["steps"], seed)
