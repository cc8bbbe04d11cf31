"""Marks remember like a set, in 8 bytes a name."""

from hypothesis import given
from hypothesis import strategies as st

from fullcontext.data import marks


@given(st.lists(st.text(max_size=2), max_size=200))
def test_a_name_is_new_once(names: list[str]) -> None:
    before, seen = marks._RECENT, set()
    marks._RECENT = 7
    try:
        found = marks.Marks()
        for name in names:
            assert found.add(name) is (name not in seen)
            seen.add(name)
            assert len(found) == len(seen)
    finally:
        marks._RECENT = before
