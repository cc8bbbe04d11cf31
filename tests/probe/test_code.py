import ast
from itertools import islice

from fullcontext.probe import code
from fullcontext.probe.items import Item


def items_of(source):
    lines = source.splitlines()
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    return [code._item(node, lines) for node in nodes]


def test_an_item_is_a_name_and_three_lines_of_the_body():
    found = items_of(
        "class A:\n"
        "    def read_everything(self, path):\n"
        '        """Doc."""\n'
        "        # a comment\n"
        "        with open(path) as file:\n"
        "\n"
        "            content = file.read()\n"
        "            return content\n"
        "        return None\n"
    )
    assert found == [
        Item(
            text=(
                "def read_everything:\n"
                "    with open(path) as file:\n"
                "        content = file.read()\n"
                "        return content"
            ),
            mark="content = file.read()",
            question=(
                'In above context, which function contains the code snip "content = file.read()" ?'
            ),
            gold="read_everything",
        )
    ]


def test_short_names_short_bodies_short_and_repeated_lines_make_no_item():
    body = "    a = 1\n    {line}\n    return a\n"
    assert items_of("def readall():\n" + body.format(line="beta = gamma(a)")) == [None]
    assert items_of("def read_all_of_it():\n" + body.format(line="a += 1")) == [None]
    assert items_of("def read_all_of_it():\n    return 1\n") == [None]
    twice = "def read_all_of_it():\n    beta = gamma(a)\n    beta = gamma(a)\n    return a\n"
    assert items_of(twice) == [None]


def test_functions_come_from_many_files_of_the_standard_library():
    items = list(islice(code.candidates(0, 0), 60))
    assert len({item.text for item in items}) > 55
    for item in items:
        assert len(item.text.split("\n")) == 4
        assert item.text.count(item.mark) == 1
        assert len(item.gold) >= 8


def test_a_function_that_mentions_the_name_or_the_line_clashes():
    one = Item("def read_all:\n ...", "x = f(y)", "?", "read_all")
    assert code.clash(one, Item("def read_all_lines:\n ...", "", "?", "read_all_lines"))
    assert code.clash(one, Item("def other:\n    x = f(y)", "", "?", "other"))
    assert not code.clash(one, Item("def read_some:\n    y = f(x)", "", "?", "read_some"))
