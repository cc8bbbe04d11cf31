"""Words and names of the format of a dictionary."""

from collections import Counter

from fullcontext.data.invented import PARTS, SYLLABLES, Number


def test_an_invented_word_is_a_number_in_syllables() -> None:
    assert f"{Number(0):w} {Number(81):w} {Number(80**3):w}" == "bababa babebe bebababa"
    assert len({f"{Number(i):w}" for i in range(90000)}) == 90000
    assert f"{Number(42):05d}" == "00042"


def test_an_identifier_is_a_number_in_parts_of_names() -> None:
    assert (
        f"{Number(0):i} {Number(1):i} {Number(374):i}" == "account_account add_account account_add"
    )
    assert f"{Number(374**2):i}" == "account_account_add"
    names = {f"{Number(i):i}" for i in range(90000)}
    assert len(names) == 90000 and all(name.isidentifier() for name in names)


def test_names_begin_in_many_ways() -> None:
    begins = Counter(f"{Number(i):i}"[0] for i in range(90000))
    assert len(begins) == 25 and max(begins.values()) < 0.15 * 90000


def test_parts_and_syllables_are_distinct() -> None:
    assert len(set(PARTS)) == len(PARTS) == 374 and len(set(SYLLABLES)) == 80
