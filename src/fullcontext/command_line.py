"""Words of a command line that are not Hydra's, turned into overrides; texts are quoted for it."""

import re
from pathlib import Path

_TEXTS = ("title", "baseline", "output")
_FLAGS_WITH_VALUE = ("--cfg", "-c", "--info", "-i", "--package", "-p")
"""Options of Hydra that are followed by a word of their own, as in `--cfg job`."""


def positional(name: str, argv: list[str]) -> list[str]:
    """`report.py A B title=x` -> Hydra's `runs=['A','B'] title='x'`, whatever the texts hold.

    `baseline=` may be KEY=VALUE, which is one text as well.
    """

    def is_given(arg: str, before: str) -> bool:
        is_value = before in _FLAGS_WITH_VALUE
        return not arg.startswith("-") and not is_value and ("=" not in arg or Path(arg).exists())

    pairs = list(zip(argv, ["", *argv], strict=False))
    given = [quoted(arg) for arg, before in pairs if is_given(arg, before)]
    rest = [_with_text(arg) for arg, before in pairs if not is_given(arg, before)]
    return [*([f"{name}=[{','.join(given)}]"] if given else []), *rest]


def _with_text(arg: str) -> str:
    key, _, value = arg.partition("=")
    is_text = key in _TEXTS and value != "null" and value[:1] not in ("'", '"')
    return f"{key}={quoted(value)}" if is_text else arg


def flag(name: str, argv: list[str]) -> list[str]:
    """`--status FOLDER` or `--status=FOLDER` -> Hydra's `status='FOLDER'`."""
    left, found = list(argv), f"--{name}"
    for i, arg in enumerate(argv):
        key, _, value = arg.partition("=")
        if key == found and value:
            left[i : i + 1] = [f"{name}={quoted(value)}"]
        elif key == found:
            left[i : i + 2] = [f"{name}={quoted(argv[i + 1])}"] if argv[i + 1 :] else []
    return left


def quoted(text: str) -> str:
    """A text as Hydra's grammar takes it, whatever it holds."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def path(folder: Path) -> str:
    """The same for a folder, without quotes where they are not needed."""
    text = str(folder)
    return text if re.fullmatch(r"[\w/.+-]+", text) else quoted(text)
