"""A sink that fails, hangs or lags never reaches the run."""

import logging
import time
from typing import Any

import pytest

from fullcontext.track.identity import without_secrets
from fullcontext.track.mirror import Mirror


class Board:
    """Keeps what it is given; told to, it fails or hangs at a name."""

    title, start_timeout_s, finish_timeout_s = "Board", 0.2, 0.3

    def __init__(self, **behaviour: Any) -> None:
        self.behaviour, self.got, self.abandoned = behaviour, [], False

    def _do(self, what: str) -> None:
        action = self.behaviour.get(what)
        if isinstance(action, float):
            time.sleep(action)
        elif action:
            raise action
        self.got.append(what)

    def start(self) -> str:
        self._do("start")
        return "Board: here"

    def retreat(self, error: BaseException) -> str:
        self._do("retreat")
        self.behaviour = {}
        return f"Board goes on elsewhere ({error})"

    def log(self, step: int, values: dict[str, Any]) -> None:
        self._do("log")
        self.got[-1] = step

    def finish(self, failed: bool) -> None:
        self._do("finish")

    def abandon(self) -> None:
        self.abandoned = True

    def remedy(self) -> str:
        return "upload it"


def played(caplog: pytest.LogCaptureFixture, board: Board) -> list[str]:
    """What is said of five steps; they take no time, and start and finish what the sink may."""
    caplog.set_level(logging.INFO)
    began = time.monotonic()
    mirror = Mirror(board)
    started = time.monotonic()
    for step in range(5):
        mirror.log(step, {})
    logged = time.monotonic()
    mirror.finish(failed=False)
    assert started - began < 0.3 and logged - started < 0.05 and time.monotonic() - logged < 0.4
    return caplog.messages


def test_a_working_sink_gets_everything_in_order(caplog) -> None:
    board = Board()
    assert played(caplog, board) == ["Board: here"]
    assert board.got == ["start", 0, 1, 2, 3, 4, "finish"]


@pytest.mark.parametrize("where", ["start", "log", "finish"])
def test_a_sink_that_hangs_is_left_behind_in_one_line(caplog, where: str) -> None:
    board = Board(**{where: 1.0})
    *_, line = [word for word in played(caplog, board) if word != "Board: here"]
    assert "in time" in line and line.endswith("upload it") and board.abandoned


@pytest.mark.parametrize("error", [RuntimeError("gone"), KeyboardInterrupt(), SystemExit(1)])
def test_a_sink_that_fails_twice_is_dropped_in_one_line(caplog, error: BaseException) -> None:
    board = Board(log=error, retreat=RuntimeError("nowhere"))
    _, line = played(caplog, board)
    assert "nowhere" in line and board.got == ["start"]


def test_a_sink_that_retreats_gets_the_record_at_which_it_failed(caplog) -> None:
    board = Board(log=RuntimeError("gone"))
    _, line = played(caplog, board)
    assert line == "Board goes on elsewhere (gone)"
    assert board.got == ["start", "retreat", 0, 1, 2, 3, 4, "finish"]


def test_files_do_not_hold_up_scalars(caplog) -> None:
    board = Board()
    mirror = Mirror(board)
    mirror.keep("slow", lambda _: time.sleep(1))
    mirror.log(1, {})
    time.sleep(0.1)
    assert board.got == ["start", 1]
    mirror.finish(failed=False)
    assert board.got == ["start", 1, "finish"]


def test_a_file_that_was_refused_is_tried_again_at_the_end(caplog) -> None:
    board, tries = Board(), []

    def take(_: Any) -> None:
        tries.append(1)
        if len(tries) == 1:
            raise RuntimeError("not now")

    def never(_: Any) -> None:
        raise RuntimeError("never")

    mirror = Mirror(board)
    mirror.keep("once", take)
    mirror.keep("data.json", never)
    mirror.finish(failed=False)
    assert len(tries) == 2
    assert caplog.messages == ["Board did not take data.json (RuntimeError: never)"]


def test_files_that_a_dead_sink_refused_go_where_it_retreats_to(caplog) -> None:
    board, taken = Board(finish=RuntimeError("dead")), []

    def take(_: Any) -> None:
        if "retreat" not in board.got:
            raise RuntimeError("dead")
        taken.append("data.json")

    mirror = Mirror(board)
    mirror.keep("data.json", take)
    mirror.finish(failed=False)
    assert taken == ["data.json"] and board.got == ["start", "retreat", "finish"]
    assert caplog.messages == ["Board goes on elsewhere (dead)"]


def test_secrets_are_not_said(monkeypatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "abcdefgh")
    said = without_secrets("https://me:pw@host/x with abcdefgh")
    assert said == "https://host/x with [SOME_API_KEY]"
