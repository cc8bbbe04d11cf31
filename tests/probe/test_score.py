import pytest
from hypothesis import given
from hypothesis import strategies as st

from fullcontext.config import TASKS
from fullcontext.probe import score

ENTITY = "label: Canillo, description: Parish in Andorra (1 of 7)"


def test_document_is_recall_of_distinct_lower_cased_words():
    assert score.document("The cat saw the dog.", "a CAT saw") == 2 / 4  # the, cat, saw, dog.
    assert score.document("The cat saw the dog.", "dog the saw cat") == 3 / 4  # dog is not dog.
    assert score.document("The cat", "the cat and much more") == 1


def test_code_wants_the_name_anywhere_in_its_own_case():
    assert score.code("read_file", "It is read_file.") == 1
    assert score.code("read_file.", "def read_file():") == 1
    assert score.code("read_file", "Read_File") == 0


def test_database_wants_the_label_or_the_description_in_any_case():
    assert score.database(ENTITY, "it is CANILLO") == 1
    assert score.database(ENTITY, "some parish in andorra (1 of 7), I think") == 1
    assert score.database(ENTITY, "Encamp, Parish in Andorra (2 of 7)") == 0
    assert score.database("label: St. John., description: Town.", "st. john") == 1


def test_key_value_wants_the_value_and_nothing_else():
    assert score.key_value("04711", " 04711\n") == 1
    assert score.key_value("04711", "It is 04711") == 0
    assert score.key_value("04711", "047110") == 0


@given(task=st.sampled_from(TASKS), gold=st.text(min_size=1), said=st.text())
def test_every_score_is_within_0_and_1_and_the_gold_itself_has_1(task, gold, said):
    if task == "database":
        gold = f"label: {gold}, description: {gold[::-1]}"
    if task == "spread":
        gold = f"label: {gold}; label: {gold[::-1]}"
    assert 0 <= score.film(task, gold, said) <= 1
    assert score.film(task, gold, gold) == 1


def test_an_unknown_task_is_our_own_bug():
    with pytest.raises(AssertionError, match="poem"):
        score.film("poem", "a", "a")


def test_strict_document_pays_for_right_words_and_charges_for_wrong_ones():
    assert score.strict("document", "The cat saw.", 'It says: "the cat saw"') == 2 * 3 / (3 + 5)
    assert score.strict("document", "The cat saw.", "the cat saw") == 1
    assert score.strict("document", "The cat", "a dog ran") == 0


def test_strict_document_pays_nothing_for_repeating_the_question():
    asked = 'In above context, which sentence contains the piece "cat saw"?'
    gold = "The cat saw it."
    assert score.strict("document", gold, "cat saw", question=asked) == 0
    assert score.strict("document", gold, gold, question=asked) == 1
    assert score.strict("document", gold, "The cat saw", question=asked) == 2 * 1 / (2 + 1)
    assert score.strict("document", "Cat saw.", "cat saw", question=asked) == 1  # nothing is left


def test_strict_code_wants_the_whole_name_and_no_other_of_the_context():
    others = ["read_file", "write_file", "list_names"]
    assert score.strict("code", "read_file", "It is `read_file`.", others) == 1
    assert score.strict("code", "read_file", "read_files", others) == 0
    assert score.strict("code", "read_file", "read_file or write_file", others) == 0
    snip = 'which function contains "x = list_names()"?'
    echo = 'The function that contains "x = list_names()" is read_file'
    assert score.strict("code", "read_file", echo, others, snip) == 1
    assert score.strict("code", "read_file", echo, others) == 0


def test_strict_database_wants_the_label_and_no_other_of_the_context():
    others = [ENTITY, "label: Encamp, description: Parish in Andorra (2 of 7)"]
    assert score.strict("database", ENTITY, "The label is canillo, a parish", others) == 1
    assert score.strict("database", ENTITY, "a Parish in Andorra (1 of 7)", others) == 0
    assert score.strict("database", ENTITY, "Canillo or Encamp", others) == 0
    assert score.strict("database", ENTITY, "Canillos", others) == 0
    assert score.strict("database", "label: [A trial.], description: x", 'label "A trial."') == 1


def test_strict_spread_wants_both_labels_and_no_other():
    gold, others = "label: Canillo; label: Encamp", ["label: Ordino; label: Canillo"]
    assert score.strict("spread", gold, "Encamp and Canillo", others) == 1
    assert score.strict("spread", gold, "Canillo", others) == 0
    assert score.strict("spread", gold, "Canillo, Encamp, Ordino", others) == 0


@given(task=st.sampled_from(TASKS), gold=st.text(min_size=1), said=st.text())
def test_strict_is_within_0_and_1_and_the_gold_itself_has_1(task, gold, said):
    if task == "database":
        gold = f"label: {gold}, description: {gold[::-1]}"
    if task == "spread":
        gold = f"label: {gold}; label: {gold[::-1]}"
    assert 0 <= score.strict(task, gold, said, [gold]) <= 1
    assert score.strict(task, gold, gold) == 1
