"""Answers by depth: bins, lengths, rows and pictures."""

import numpy as np

from fullcontext.track import depth
from tests.track.child import answers


def test_a_curve_a_task_and_length_with_what_each_bin_holds() -> None:
    short, long = depth.depth_curves({"database": answers()}, 5)
    assert (short.length, long.length) == (512, 1024)
    assert short.score.tolist() == [1, 1, 0.5, 0, 0] and short.items.tolist() == [2] * 5
    assert short.strict is not None and not short.strict.any()


def test_empty_bins_are_left_out_of_the_table() -> None:
    (curve,) = depth.depth_curves({"database": answers(lengths=(512,))[:3]}, 5)
    rows = depth.table([curve], 7, None).rows
    assert [(row[4], row[9]) for row in rows] == [(0, 2), (1, 1)] and np.isnan(
        curve.score[2:]
    ).all()


def test_a_map_is_drawn_only_of_several_lengths(tmp_path) -> None:
    one = depth.depth_curves({"database": answers(lengths=(512,))}, 5)
    two = depth.depth_curves({"database": answers()}, 5)
    assert list(depth.draw(one, 1, tmp_path)) == ["curves/database"]
    drawn = depth.draw(two, 2, tmp_path)
    assert list(drawn) == ["curves/database", "curves/database_map"]
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in drawn.values())
