from itertools import islice

from fullcontext.probe import document
from fullcontext.probe.items import Item


def test_an_item_is_a_sentence_of_17_to_31_words_and_the_piece_eight_of_them():
    for item in islice(document.candidates(0, 0), 300):
        words = item.text.split()
        assert 17 <= len(words) <= 31
        assert len(item.mark.split()) == 8
        assert item.mark in item.text
        assert item.gold == item.text
        assert item.text == " ".join(words)


def test_the_question_has_the_wording_of_the_release():
    item = next(document.candidates(0, 0))
    assert item.question == (f'In above context, which sentence contains the piece "{item.mark}"?')


def test_pieces_start_anywhere_in_their_sentence():
    items = list(islice(document.candidates(3, 0), 500))
    places = [item.text.index(item.mark) / (len(item.text) - len(item.mark)) for item in items]
    quarters = [sum(k / 4 <= place < (k + 1) / 4 for place in places) for k in range(4)]
    assert min(quarters) > 70


def test_a_sentence_that_holds_the_piece_or_all_the_words_clashes():
    one = Item("we the people of the union", "people of", "?", "we the people of the union")
    assert document.clash(one, Item("good people of old", "good", "?", ""))
    assert document.clash(one, Item("of the union we are the people", "we are", "?", ""))
    assert not document.clash(one, Item("people and union", "and", "?", ""))
