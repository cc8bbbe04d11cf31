"""A repeated quotation is never taken for a single one, and hardly any the other way round."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from fullcontext.data.writers.quoted import SLOTS, Quoted


@given(st.lists(st.lists(st.text("abc", max_size=2), max_size=20), max_size=5), st.booleans())
def test_quotations_are_counted_as_a_counter_counts_them(
    batches: list[list[str]], asked_between: bool
) -> None:
    quoted, counts = Quoted(1 << 16), Counter()
    for batch in batches:
        quoted.add(batch)
        counts.update(batch)
        if asked_between:
            quoted.once("")
    for quote in ["", "a", "bc", "never", *counts]:
        assert quoted.once(quote) == (counts[quote] <= 1)


def test_where_counters_are_shared_a_single_one_is_lost_but_no_repeated_one_passes() -> None:
    quoted = Quoted(1024)
    quoted.add(f"twice {i}" for i in range(50))
    quoted.add(f"twice {i}" for i in range(50))
    quoted.add(f"once {i}" for i in range(200))
    assert not any(quoted.once(f"twice {i}") for i in range(50))
    lost = sum(not quoted.once(f"once {i}") for i in range(200))
    assert 0 < lost < 60  # (1 - exp(-500 / 1024)) ** 2 = 15 % expected


def test_its_memory_is_fixed() -> None:
    quoted = Quoted()
    before = quoted._counters.nbytes
    quoted.add(str(i) for i in range(200_000))
    assert before == quoted._counters.nbytes == SLOTS // 4 == 128 << 20
    assert len(quoted._waiting) < 200_000
    assert sum(not quoted.once(str(i)) for i in range(1000)) == 0
