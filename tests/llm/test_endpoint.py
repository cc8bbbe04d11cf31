"""Replies arrive whatever a server does, or their absence is named; the key is never seen."""

import logging
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from fullcontext.compose import ConfigError
from fullcontext.config import Structured
from fullcontext.llm import Completion, Refused, Unanswered
from fullcontext.llm.endpoint import is_local, retry_after
from fullcontext.llm.meter import Meter
from tests.llm.asking import KEY, ask, config
from tests.llm.faults import (
    Behaviour,
    Cut,
    Endless,
    FaultServer,
    Good,
    Hang,
    Raw,
    Status,
    Trickle,
)

SCHEMA = {"type": "object", "properties": {"answer": {"type": "string"}}}
WHOLE = Completion("yes", 10, 5, "stop")


def test_a_good_reply_arrives_with_its_tokens() -> None:
    with FaultServer() as server:
        replies, meter = ask(config(server.url), "hello")
    assert replies == [WHOLE]
    assert (meter.requests, meter.replies, meter.tokens_in, meter.tokens_out) == (1, 1, 10, 5)
    sent = server.requests[0]
    assert sent["messages"] == [{"role": "user", "content": "hello"}]
    assert (sent["seed"], sent["temperature"], sent["max_completion_tokens"]) == (0, 0.7, 20)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Status(429, after="0"), "HTTP 429"),
        (
            Status(429, after=format_datetime(datetime(2026, 1, 1, tzinfo=UTC), usegmt=True)),
            "HTTP 429",
        ),
        (Status(429), "HTTP 429"),
        (Status(408), "HTTP 408"),
        (Status(409), "HTTP 409"),
        (Status(500), "HTTP 500"),
        (Status(503, after="soon"), "HTTP 503"),
        (Hang(5.0), "time-out"),
        (Hang(0.0), "cut body"),
        (Trickle(5.0), "time-out"),
        (Cut(), "cut body"),
        (Raw(b"<html>busy</html>"), "not JSON"),
        (Raw(b"[" * 50_000), "not JSON"),
        (Raw(b"[1]"), "no choices"),
        (Raw(b'{"choices": []}'), "no choices"),
        (Raw(b'{"choices": [{"message": null}]}'), "no choices"),
        (Raw(b'{"choices": [{"message": {"content": 3}}]}'), "no choices"),
        (Raw(b'{"error": {"message": "overloaded"}}'), "no choices"),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_what_may_pass_is_tried_again_and_counted(fault: Behaviour, reason: str) -> None:
    with FaultServer(lambda request, count: fault if count < 2 else Good()) as server:
        replies, meter = ask(config(server.url, timeout_s=0.3), "hello")
    assert replies == [WHOLE]
    assert meter.retries == {reason: 2}


def test_a_request_that_never_succeeds_is_unanswered_after_all_tries() -> None:
    with FaultServer(lambda request, count: Status(500)) as server:
        (error,), meter = ask(config(server.url), "hello")
    assert isinstance(error, Unanswered) and "HTTP 500" in str(error)
    assert len(server.requests) == 3 and meter.replies == 0


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Status(413), "HTTP 413"),
        (Good(finish="content_filter"), "content filter"),
        (Good(None, message={"refusal": "I'm sorry"}), "declined by the model"),
        (Good("x" * 3000), "reply too long"),
        (Good("x" * 10_000_000), "reply too long"),
        (Endless(), "reply too long"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else value,
)
def test_what_cannot_succeed_is_refused_at_once(fault: Behaviour, reason: str) -> None:
    with FaultServer(lambda request, count: fault) as server:
        (error,), meter = ask(config(server.url), "hello")
    assert isinstance(error, Refused) and str(error) == reason
    assert len(server.requests) == 1 and meter.refusals == 1 and not meter.retries


def test_a_body_without_end_is_read_no_further_than_the_longest_reply() -> None:
    with FaultServer(lambda request, count: Endless(500_000_000)) as server:
        (error,), _ = ask(config(server.url), "hello")
        assert isinstance(error, Refused)
    assert server.sent < 20_000_000  # what sockets buffer, out of 500 MB
    assert server.headers[0]["accept-encoding"] == "identity"  # nothing unfolds behind the bound


def test_an_endless_error_page_counts_by_its_status() -> None:
    with FaultServer(lambda request, count: Status(500, "x" * 1_000_000)) as server:
        (error,), meter = ask(config(server.url), "hello")
    assert isinstance(error, Unanswered) and meter.retries == {"HTTP 500": 2}


def test_a_cut_reply_and_an_empty_one_are_replies() -> None:
    faults = [Good("half", finish="length"), Good(""), Good(None), Good("x", tokens=None)]
    with FaultServer(lambda request, count: faults[count]) as server:
        replies, meter = ask(config(server.url, concurrency=1), "a", "b", "c", "d")
    assert [(r.text, r.finish) for r in replies] == [
        ("half", "length"), ("", "stop"), ("", "stop"), ("x", "stop"),
    ]  # fmt: skip
    assert meter.notes == {"replies cut at max_new_tokens": 1}
    # Without usage the bounds count: 1 byte // 2 + 2 x 16 of markup, 1 byte of reply.
    assert (replies[3].tokens_in, replies[3].tokens_out) == (32, 1)


@pytest.mark.parametrize(
    ("body", "text", "tokens"),
    [
        ('{"content": "a \\ud800 b"}', "a ? b", "{}"),
        ('{"content": [{"type": "text", "text": "a"}, {"type": "x"}]}', "a", "[]"),
        ('{"content": "a"}', "a", '{"prompt_tokens": -5, "completion_tokens": "many"}'),
    ],
)
def test_odd_replies_are_made_fit_for_files_and_budgets(body: str, text: str, tokens: str) -> None:
    raw = f'{{"choices": [{{"message": {body}}}], "usage": {tokens}}}'.encode()
    with FaultServer(lambda request, count: Raw(raw)) as server:
        replies, _ = ask(config(server.url), "a")
    assert replies == [Completion(text, 32, len(text), "stop")]


@pytest.mark.parametrize("code", [401, 403, 404])
def test_wrong_settings_stop_at_once_and_are_named(
    code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_KEY", KEY)
    with FaultServer(lambda request, count: Status(code, f"wrong key {KEY}")) as server:
        (error,), _ = ask(config(server.url, key_variable="TEST_KEY"), "hello")
    assert isinstance(error, ConfigError) and len(server.requests) == 1
    for name in (server.url, "'m'", "TEST_KEY", str(code)):
        assert name in str(error)
    assert KEY not in str(error)


def test_an_account_without_money_is_not_waited_for() -> None:
    fault = Status(429, "You exceeded your current quota", kind="insufficient_quota")
    with FaultServer(lambda request, count: fault) as server:
        (error,), _ = ask(config(server.url), "hello")
    assert isinstance(error, ConfigError) and len(server.requests) == 1


def test_an_endpoint_that_stays_silent_is_dead_and_says_where_replies_are(tmp_path: Path) -> None:
    with FaultServer(lambda request, count: Status(503)) as server:
        settings = config(server.url, give_up_after=3, concurrency=1)
        meter = Meter(settings, "writer")
        meter.kept = tmp_path
        replies, _ = ask(settings, *"abcdef", meter=meter)
    assert [type(each) for each in replies] == [Unanswered] * 2 + [ConfigError] * 4
    for part in ("HTTP 503", "run the same command again", str(tmp_path), server.url):
        assert part in str(replies[-1])
    assert len(server.requests) == 9  # three requests of three tries; then none is sent


def test_a_reply_between_failures_keeps_the_endpoint_alive() -> None:
    def decide(request: dict, count: int) -> Behaviour:
        return Good() if request["messages"][0]["content"] in "ce" else Status(503)

    with FaultServer(decide) as server:
        replies, _ = ask(config(server.url, give_up_after=3, concurrency=1, tries=1), *"abcdefg")
    kinds = [type(each) for each in replies]
    assert kinds == [Unanswered, Unanswered, Completion, Unanswered, Completion] + [Unanswered] * 2


def test_nothing_listens_is_a_dead_endpoint() -> None:
    with FaultServer() as server:
        url = server.url
    (error,), meter = ask(config(url, give_up_after=1), "hello")
    assert isinstance(error, ConfigError) and "no connection" in str(error) and url in str(error)
    assert meter.lost == 0  # nothing was sent, so nothing can be billed


def test_refusals_before_the_first_reply_are_not_final_and_end_the_run() -> None:
    with FaultServer(lambda request, count: Status(400, "Server is pinned to 'x'")) as server:
        settings = config(server.url, give_up_after=2, concurrency=1)
        replies, _ = ask(settings, "a", "b")
    assert isinstance(replies[0], Refused) and not replies[0].is_final
    assert isinstance(replies[1], ConfigError) and "pinned" in str(replies[1])


def test_concurrency_is_bounded() -> None:
    with FaultServer(lambda request, count: Good(wait_s=0.02)) as server:
        replies, _ = ask(config(server.url, concurrency=4), *map(str, range(24)))
    assert replies == [WHOLE] * 24 and server.most_open == 4


def test_pauses_follow_the_server_within_the_longest_pause() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert retry_after("2.5") == 2.5 and retry_after("-3") == 0
    assert retry_after(None) is None and retry_after("soon") is None
    date = format_datetime(now + timedelta(seconds=7), usegmt=True)
    assert retry_after(date, lambda: now) == 7
    assert retry_after(date, lambda: now + timedelta(seconds=9)) == 0
    for after, longest in (("3600", 0.3), ("0.3", 60.0)):
        began = time.monotonic()
        fault = Status(429, after=after)
        with FaultServer(lambda request, count, fault=fault: Good() if count else fault) as server:
            replies, _ = ask(config(server.url, longest_pause_s=longest), "a")
        assert replies == [WHOLE] and 0.3 <= time.monotonic() - began < 3


# What an endpoint understands


def understanding(*refused: str, names: bool = True):
    """A server that takes no request with any of these fields."""

    def decide(request: dict, count: int) -> Behaviour:
        form = request.get("response_format", {}).get("type")
        bad = [name for name in refused if name in request or name == form]
        if not bad:
            return Good()
        return Status(400, f"{bad[0]} is not supported" if names else "bad request")

    return FaultServer(decide)


@pytest.mark.parametrize("names", [True, False])
def test_what_a_server_refuses_is_left_out_and_remembered(names: bool) -> None:
    refused = ("json_schema", "seed", "max_completion_tokens")
    with understanding(*refused, names=names) as server:
        settings = config(server.url, concurrency=1)
        replies, meter = ask(settings, *"abc", schema=SCHEMA)
    assert replies == [WHOLE] * 3
    last = server.requests[-1]
    assert last["max_tokens"] == 20 and "seed" not in last
    # Where the server names the culprit, the form sinks by one level only.
    assert last.get("response_format") == ({"type": "json_object"} if names else None)
    steps = 3 if names else 4
    assert len(server.requests) == steps + 3 and sum(meter.notes.values()) == steps


def test_a_schema_is_sent_where_it_is_understood() -> None:
    with FaultServer() as server:
        ask(config(server.url), "a", schema=SCHEMA)
    form = server.requests[0]["response_format"]
    assert form["type"] == "json_schema" and form["json_schema"]["schema"] == SCHEMA


def test_a_form_that_the_settings_insist_on_is_not_given_up() -> None:
    with understanding("json_schema") as server:
        settings = config(server.url, structured=Structured.json_schema)
        (error,), _ = ask(settings, "a", schema=SCHEMA)
    assert isinstance(error, Refused)
    assert all("response_format" in sent for sent in server.requests)


def test_a_bad_request_costs_no_feature_once_all_have_worked() -> None:
    def decide(request: dict, count: int) -> Behaviour:
        bad = request["messages"][0]["content"] == "b"
        return Status(400, "context length exceeded") if bad else Good()

    with FaultServer(decide) as server:
        replies, _ = ask(config(server.url, concurrency=1), *"abc", schema=SCHEMA)
    assert replies[0] == replies[2] == WHOLE
    assert isinstance(replies[1], Refused) and replies[1].is_final
    assert (str(replies[1]), replies[1].detail) == ("HTTP 400", "context length exceeded")
    assert len(server.requests) == 3 and "response_format" in server.requests[2]


def test_a_limit_that_is_ignored_is_called_by_its_old_name() -> None:
    with FaultServer(lambda request, count: Good(tokens=(10, 21))) as server:
        ask(config(server.url, concurrency=1), *"ab")
    assert "max_completion_tokens" in server.requests[0] and "max_tokens" in server.requests[1]


# The key


def test_the_key_is_in_no_log_reason_or_reply(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TEST_KEY", KEY)
    faults = [Status(500, KEY), Good(f"your key is {KEY}"), Status(413, KEY), Status(422, KEY)]
    with caplog.at_level(logging.DEBUG), FaultServer(lambda r, count: faults[count]) as server:
        settings = config(server.url, key_variable="TEST_KEY", concurrency=1)
        replies, meter = ask(settings, *"abc")
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    assert replies[0].text == "your key is (key)" and replies[1].detail == "(key)"
    assert isinstance(replies[2], Refused)
    for text in (caplog.text, repr(replies), str(meter.summary()), meter.line()):
        assert KEY not in text


def test_an_endpoint_elsewhere_needs_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        ask(config("https://api.openai.com/v1"), "a")


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://localhost:8000/v1", True),
        ("http://127.0.0.1:1/v1", True),
        ("http://[::1]:1/v1", True),
        ("http://10.0.0.7:8000/v1", True),
        ("http://gpu17:8000/v1", True),
        ("https://api.openai.com/v1", False),
        ("http://8.8.8.8/v1", False),
    ],
)
def test_local_is_this_machine_and_its_network(url: str, local: bool) -> None:
    assert is_local(url) is local
