from hypothesis import given
from hypothesis import strategies as st

from fullcontext.probe import database, spread


def made(number):
    entities = [
        database.Entity(f"E-{i}", f"Label {i} of", f"Town number {i}") for i in range(number)
    ]
    return list(spread.candidates(database.item(entity) for entity in entities))


def test_a_question_asks_for_two_labels_in_the_order_of_its_ids():
    items = made(12)
    for query in spread.queries(items, [i / 12 for i in range(12)], None, 0, 0):
        ids = [item.mark for item in items if item.mark in query.question.replace("?", " ").split()]
        labels = spread.parts(query.gold)
        first, second = sorted(labels, key=lambda label: query.question.find(f"E-{label[6:-3]} "))
        assert len(ids) == 2
        assert labels == (first, second)


def test_four_places_and_neighbours_give_ten_pairs():
    queries = spread.queries(made(10), [i / 10 for i in range(10)], 10, 0, 0)
    pairs = [(round(q.depth, 2), round(q.distance, 2)) for q in queries]
    assert pairs == [
        (0.05, 0.1), (0.35, 0.1), (0.65, 0.1), (0.85, 0.1),  # neighbours of items 0, 3, 6 and 9
        (0.15, 0.3), (0.45, 0.3), (0.75, 0.3), (0.3, 0.6), (0.6, 0.6), (0.45, 0.9),
    ]  # fmt: skip


@given(items=st.integers(2, 80), most=st.integers(2, 100), seed=st.integers(0, 99))
def test_pairs_are_distinct_and_no_more_than_asked_for(items, most, seed):
    queries = spread.queries(made(items), [i / items for i in range(items)], most, seed, 0)
    assert len({frozenset(spread.parts(q.gold)) for q in queries}) == len(queries)
    assert len(queries) <= max(most, 3)
    assert [q.position for q in queries] == list(range(len(queries)))
    assert all(0 < q.distance < 1 and 0 <= q.depth < 1 for q in queries)


def test_which_of_the_two_is_asked_first_is_drawn():
    items, depths = made(30), [i / 30 for i in range(30)]
    first = [q.gold for q in spread.queries(items, depths, None, 0, 0)]
    second = [q.gold for q in spread.queries(items, depths, None, 1, 0)]
    assert first != second
    assert {frozenset(spread.parts(g)) for g in first} == {
        frozenset(spread.parts(g)) for g in second
    }
