from fullcontext.config import KeyValueConfig
from fullcontext.probe import key_value
from fullcontext.probe.items import Item


def test_text_and_question_follow_the_formats_of_the_data():
    config = KeyValueConfig(num_keys=5, num_values=9, key="k{:d}", value="v{:d}")
    for item in key_value.candidates(config, 0, 0):
        assert item.text == f"The record of {item.mark} is {item.gold}."
        assert item.question == f"What is the record of {item.mark}?"


def test_all_keys_come_and_no_key_and_no_value_comes_twice():
    config = KeyValueConfig(num_keys=5, num_values=9, key="k{:d}", value="v{:d}")
    items = list(key_value.candidates(config, 0, 0))
    assert {item.mark for item in items} == {"k0", "k1", "k2", "k3", "k4"}
    assert len({item.gold for item in items}) == 5


def test_a_key_that_is_a_value_elsewhere_clashes():
    one = Item("1 2", "1", "?", "2")
    assert key_value.clash(one, Item("3 1", "3", "?", "1"))
    assert key_value.clash(one, Item("4 2", "4", "?", "2"))
    assert not key_value.clash(one, Item("5 6", "5", "?", "6"))
