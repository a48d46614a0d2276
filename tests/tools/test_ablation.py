"""The ablation: finished runs are kept, its table is right, and torchvision's RetinaNet stands beside it."""

from dataclasses import replace

import numpy as np
import peer
import pytest
import torch
from torchvision.models.detection import RetinaNet

from fsaf_core import presets
from fsaf_core.config import FSAFError, SceneConfig
from fsaf_core.tools.ablation import ablation, ablation_table, bootstrap_interval, t_interval


def test_the_table_has_the_mean_the_spread_and_the_paired_difference_to_the_first_row():
    """Differences 1, 2, 3, 2 and 2: 2.0 on average, though the rows overlap."""
    results = {
        "one": {"AP": [10.0, 30, 50, 20, 40], "AP50": [20.0, 40, 60, 30, 50]},
        "two": {"AP": [11.0, 32, 53, 22, 42], "AP50": [21.0, 41, 61, 31, 51]},
    }
    head, _, one, two = ablation_table(results, 100).splitlines()
    assert "(100 steps)" in head and "minus one's" in head
    assert one == "| one | 5 | 30.0 ± 15.8 | 40.0 | - | - | - |"
    # Student's t for 4 degrees of freedom: 2.776; standard error sqrt(0.5 / 5).
    assert two.startswith("| two | 5 | 32.0 ± 16.4 | 41.0 | +2.0 | [+1.1, +2.9] | [+1.")


def test_a_row_of_fewer_seeds_is_paired_with_the_same_seeds_of_the_first_row():
    results = {
        "one": {"AP": [10.0, 30, 50, 20, 40, 99], "AP50": [20.0] * 6},
        "two": {"AP": [11.0, 32, 53, 22, 42], "AP50": [21.0] * 5},
    }
    assert "| two | 5 | 32.0 ± 16.4 | 21.0 | +2.0 | [+1.1, +2.9] |" in ablation_table(results, 100)


def test_few_seeds_give_no_difference():
    results = {row: {"AP": [10.0, 30, 50, 20], "AP50": [20.0, 40, 60, 30]} for row in ("a", "b")}
    assert ablation_table(results, 100).endswith("| b | 4 | 27.5 ± 17.1 | 37.5 | - | - | - |")


def test_the_t_interval_is_wider_than_the_bootstrap():
    values = np.array([1.0, 2, 3, 2, 2])
    low, high = t_interval(values)
    assert (low, high) == pytest.approx((2 - 2.7764 * 0.1**0.5, 2 + 2.7764 * 0.1**0.5), abs=1e-4)
    assert low < bootstrap_interval(values)[0] and high > bootstrap_interval(values)[1]
    assert t_interval(np.full(5, 2.0)) == (2.0, 2.0)


def test_a_single_seed_has_no_spread():
    assert "±" not in ablation_table({"one": {"AP": [10.0], "AP50": [20.0]}}, 100)


def test_the_bootstrap_interval_holds_the_mean_and_is_a_point_where_all_values_are_equal():
    low, high = bootstrap_interval(np.array([1.0, 2, 3, 4]))
    assert 1 <= low < 2.5 < high <= 4
    assert bootstrap_interval(np.array([2.0, 2])) == (2.0, 2.0)


def test_the_peer_is_torchvisions_retinanet_on_our_backbone_and_pyramid():
    model = presets.get("tiny_retinanet").model
    retinanet = peer.torchvision_retinanet(model)
    assert isinstance(retinanet, RetinaNet) and any(
        name.startswith("backbone.neck.") for name in retinanet.state_dict()
    )
    levels = retinanet.backbone(torch.zeros(1, 3, 128, 128))
    assert [tuple(level.shape[-2:]) for level in levels.values()] == [
        (128 // stride, 128 // stride) for stride in model.strides
    ]


def test_a_row_of_two_steps_and_the_peer_beside_it_end_in_a_table_and_are_not_trained_again(
    tmp_path, monkeypatch
):
    tiny = presets.get("tiny")
    scenes = SceneConfig(num_train=8, num_val=4, image_size=64)
    data = replace(tiny.data, root=str(tmp_path), workers=0, scenes=scenes)
    base = replace(tiny, data=data, train=replace(tiny.train, batch_size=2, warmup_steps=1))
    out = tmp_path / "out"
    table = ablation(out, ("tiny_paper",), 1, 2, base)
    assert (
        table.splitlines()[2].startswith("| tiny_paper | 1 |")
        and (out / "ablation.md").read_text().strip() == table
    )
    with_peer = peer.compare_with_peer(
        out, replace(base, model=presets.get("tiny_retinanet").model)
    )
    assert [line.split(" |")[0] for line in with_peer.splitlines()[2:]] == [
        "| tiny_paper",
        f"| {peer.PEER}",
    ]
    assert (out / "ablation.md").read_text().strip() == with_peer
    for path in (out / "tiny_paper_seed0").iterdir():  # as tests/records keeps finished runs
        if path.is_file() and path.name not in ("config.json", "metrics.json"):
            path.unlink()
    before = (out / f"{peer.PEER}_seed0" / "metrics.json").stat().st_mtime_ns
    monkeypatch.setattr(peer, "torchvision_retinanet", lambda model: pytest.fail("trained again"))
    monkeypatch.setattr(
        "fsaf_core.tools.ablation.train", lambda *args: pytest.fail("trained again")
    )
    assert (
        ablation(out, ("tiny_paper",), 1, 2, base) == table
        and peer.compare_with_peer(out, base) == with_peer
    )
    assert (out / f"{peer.PEER}_seed0" / "metrics.json").stat().st_mtime_ns == before
    with pytest.raises(FSAFError, match=r"tiny_paper_seed0 holds .*\(train\.steps: 2 -> 3"):
        ablation(out, ("tiny_paper",), 1, 3, base)


def test_an_ablation_counts_steps(tmp_path):
    with pytest.raises(FSAFError, match="r50 has none: give --steps"):
        ablation(tmp_path, ("tiny_paper",), 1, None, presets.get("r50"))
