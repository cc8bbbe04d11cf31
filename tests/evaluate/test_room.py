from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fullcontext.compose import ConfigError
from fullcontext.config import Long
from fullcontext.evaluate.room import Room, halves


def encode(text: str) -> list[int]:
    return [ord(letter) for letter in text]


def decode(ids) -> str:
    return "".join(map(chr, ids))


def asked(prompt, kind="generate_until", second=None, doc_id=0):
    second = {"max_gen_toks": 3} if second is None else second
    return SimpleNamespace(
        request_type=kind, args=(prompt, second), doc_id=doc_id, task_name="t"
    )  # fmt: skip


def test_prompts_that_do_not_fit_are_refused_with_their_number_and_the_longest():
    room = Room(10, Long.refuse, 5)
    fitting = [asked("1234567"), asked("12345678", "loglikelihood", "abc")]
    room.refuse("t", fitting, encode)
    over = [*fitting, asked("12345678", doc_id=1), asked("1" * 20, doc_id=2)]
    with pytest.raises(ConfigError, match=r"2 documents of t do not fit.* 23 .* are 10; .*middle"):
        room.refuse("t", over, encode)
    with pytest.raises(ConfigError, match="needs 11 tokens with its answer, there are 10"):
        room.text("12345678", 3, encode, decode)


def test_an_endpoint_reads_the_last_token_of_a_choice_and_says_one_more():
    local, served = Room(10, Long.refuse, 5), Room(10, Long.refuse, 5, served=True)
    request = asked("12345678", "loglikelihood", "abc")
    assert (local.size(request, encode), served.size(request, encode)) == (10, 12)


def test_a_task_that_says_no_length_is_given_the_usual_one():
    assert Room(10, Long.refuse, 5).answer({}) == 5
    assert Room(10, Long.refuse, 5).answer({"max_new_tokens": 2}) == 2


def test_the_middle_is_left_out_and_the_ends_stay():
    assert halves([0, 1, 2, 3, 4, 5], 4) == [0, 1, 4, 5]
    assert halves([0, 1, 2, 3, 4], 3) == [0, 3, 4]
    room = Room(7, Long.middle, 5)
    assert room.text("abcdefgh", 3, encode, decode) == "abgh"
    assert room.text("abcd", 3, encode, decode) == "abcd"
    assert room.ids([1, 2, 3, 4, 5, 6, 7, 8], [9, 9, 9]) == [1, 2, 6, 7, 8]


@given(st.text(max_size=60), st.integers(1, 9), st.integers(12, 40))
def test_whatever_is_cut_fits(prompt, answer, length):
    def merging(text):  # joined halves may be a token more
        return [ord(letter) for letter in text.replace("a", "bb")]

    room = Room(length, Long.middle, 5)
    short = room.text(prompt, answer, merging, decode)
    assert len(merging(short)) + answer <= length


def test_an_answer_without_room_is_refused():
    with pytest.raises(ConfigError, match="leaves no room"):
        Room(10, Long.middle, 5).text("abc", 9, encode, decode)
    with pytest.raises(ConfigError, match="longer than the model's 10"):
        Room(10, Long.middle, 5).ids([1], [2] * 11)
