from itertools import islice

from fullcontext.probe import database
from fullcontext.probe.items import Item


def item(id, label, description):
    gold = f"label: {label}, description: {description}"
    return Item(f"<id: {id}, {gold}>", id, "?", gold)


def test_an_item_has_the_form_of_the_release():
    found = {each.mark: each for each in database.candidates(0, 0)}
    assert found["AD-02"] == Item(
        text="<id: AD-02, label: Canillo, description: Parish in Andorra (1 of 7)>",
        mark="AD-02",
        question=(
            "In above context , what is the label and description for the query where the id"
            " is AD-02 ?"
        ),
        gold="label: Canillo, description: Parish in Andorra (1 of 7)",
    )
    assert found["C-FRA"].gold == "label: France, description: Country with the number 250"
    assert found["L-fry"].gold.startswith("label: Western Frisian, description: Living language (")
    assert len(found) > 12000


def test_no_two_entities_share_a_description():
    golds = [database.parts(each.gold)[1] for each in database.candidates(0, 0)]
    assert len(set(golds)) == len(golds)


def test_label_and_description_come_back_from_the_gold_answer():
    for each in islice(database.candidates(1, 0), 2000):
        label, description = database.parts(each.gold)
        assert each.gold == f"label: {label}, description: {description}"
        assert label
        assert description


def test_an_entity_that_holds_the_id_the_label_or_the_description_clashes():
    one = item("AD-02", "Canillo", "Parish in Andorra (1 of 7)")
    assert database.clash(one, item("X", "Old canillo", "Town"))
    assert database.clash(one, item("X", "Encamp", "Parish in Andorra (1 of 7)"))
    assert database.clash(one, item("AD-021", "Encamp", "Town"))
    assert not database.clash(one, item("AD-03", "Encamp", "Parish in Andorra (2 of 7)"))
