from fullcontext.probe.items import in_turn
from fullcontext.randomness import rng


def test_sources_are_opened_as_their_turn_comes_and_give_one_at_a_time():
    opened = []

    def find(source):
        opened.append(source)
        return [f"{source}{i}" for i in range(int(source))]

    found = in_turn(["0", "1", "2", "3"], find, rng(0, "test"))
    first = next(found)
    assert opened in (["0", first[0]], [first[0]])
    rest = [first, *found]
    assert sorted(item[0] for item in rest[:3]) == ["1", "2", "3"]
    assert sorted(rest) == ["10", "20", "21", "30", "31", "32"]
    assert len(opened) == 4
