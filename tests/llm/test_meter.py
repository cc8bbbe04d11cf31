"""The budget is never overspent, whatever is in flight; the numbers add up."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fullcontext.compose import ConfigError
from fullcontext.config import LocalWriter, OpenAIWriter
from fullcontext.llm import Completion, Message, Request
from fullcontext.llm.meter import Meter, bound
from tests.llm.asking import ask, config, request
from tests.llm.faults import Cut, FaultServer, Good


def priced(**settings: Any) -> OpenAIWriter:
    return config("http://127.0.0.1:1/v1", **settings)


def test_a_bound_is_two_bytes_a_token_and_the_longest_reply() -> None:
    # 100 bytes // 2 + 16 for one message and 16 for the rest; the reply's 20.
    assert bound(request("x" * 100, priced())) == (82, 20)
    # Chinese takes 3 bytes a character, so 1.5 tokens.
    assert bound(request("好" * 100, priced())) == (182, 20)
    assert bound(request("", priced(), schema={"a": 1})) == (8 // 2 + 48, 20)


class Spending:
    """Requests that take what they take, and the most that was ever spent."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self.tokens = 0

    async def one(self, text: str, used: float) -> None:
        asked = request(text, priced())
        reserved = await self.meter.reserve(asked)
        await asyncio.sleep(0)
        most_in, most_out = bound(asked)
        self.meter.settle(reserved, int(most_in * used), int(most_out * used))
        self.tokens += int(most_in * used) + int(most_out * used)


@given(
    st.lists(st.tuples(st.integers(0, 300), st.floats(0, 1)), min_size=1, max_size=30),
    st.integers(50, 3000),
    st.integers(1, 3),
    st.booleans(),
)
def test_no_mix_of_requests_overspends(
    sizes: list[tuple[int, float]], budget: int, share: int, in_money: bool
) -> None:
    limits = {"budget_money": budget / 1e6} if in_money else {"budget_tokens": budget}
    meter = Meter(priced(price_in=1.0, price_out=1.0, **limits), "writer", share)
    spending = Spending(meter)

    async def main() -> list[Any]:
        tasks = (spending.one("x" * size, used) for size, used in sizes)
        return await asyncio.gather(*tasks, return_exceptions=True)

    errors = [each for each in asyncio.run(main()) if each is not None]
    assert all(isinstance(error, ConfigError) for error in errors)
    assert spending.tokens <= budget / share + 1e-6
    most = sum(sum(bound(request("x" * size, priced()))) for size, _ in sizes)
    assert not errors or most > budget / share


def test_a_spent_budget_names_itself_and_what_to_do(tmp_path) -> None:
    meter = Meter(priced(budget_tokens=1000), "writer", 2)
    meter.kept = tmp_path
    meter.add_earlier(300, 100)
    meter.add_earlier(90, 90, share=2)

    async def main() -> None:
        await meter.reserve(request("", priced()))

    with pytest.raises(ConfigError) as error:
        asyncio.run(main())
    for part in ("writer.budget_tokens=1000 / 2", "490 spent", "52", str(tmp_path), "raise it"):
        assert part in str(error.value)


@pytest.mark.parametrize("limits", [{"budget_tokens": 500}, {"budget_money": 0.0005}])
def test_an_endpoint_stops_before_the_budget_and_keeps_what_it_has(limits: dict[str, Any]) -> None:
    # Each request may take 53 tokens (1 // 2 + 2 x 16 + 20, plus the text) and takes 15.
    with FaultServer(lambda request, count: Good(wait_s=0.01)) as server:
        settings = config(server.url, price_in=1.0, price_out=1.0, concurrency=16, **limits)
        replies, meter = ask(settings, *map(str, range(60)))
    done = [each for each in replies if isinstance(each, Completion)]
    assert {type(each) for each in replies} == {Completion, ConfigError}
    assert meter.tokens_in + meter.tokens_out == 15 * len(done) == 15 * len(server.requests) <= 500
    # 52 tokens fit until 448 are spent: after 30 requests, 450.
    assert len(done) == 30


def test_replies_that_did_not_arrive_count_against_the_budget() -> None:
    with FaultServer(lambda request, count: Cut()) as server:
        replies, meter = ask(config(server.url, budget_tokens=110, tries=5), "a")
    # 52 tokens set aside for each: two tries fit in 110.
    assert isinstance(replies[0], ConfigError) and len(server.requests) == 2
    assert meter.lost == 104 and meter.tokens_in == meter.tokens_out == 0


def test_money_is_tokens_times_prices() -> None:
    meter = Meter(priced(price_in=2.0, price_out=10.0), "writer")
    asked = Request((Message("user", "hi"),), priced(), 0)

    async def main() -> None:
        meter.settle(await meter.reserve(asked), 300_000, 40_000)

    asyncio.run(main())
    meter.count(Completion("", 300_000, 40_000, "stop"))
    meter.hits = 2
    meter.retries["HTTP 429"] += 3
    assert meter.money == pytest.approx(0.6 + 0.4)
    line = meter.line()
    for part in ("3 replies (2 kept)", "300k + 40k tokens", "1.00 spent", "3 retries"):
        assert part in line
    summary = meter.summary()
    assert (summary["requests"], summary["from_cache"], summary["money"]) == (1, 2, 1.0)
    assert summary["retries"] == {"HTTP 429": 3}


def test_a_local_model_has_no_price() -> None:
    meter = Meter(LocalWriter(path="x"), "writer")
    assert meter.money is None and meter.summary()["money"] is None and "spent" not in meter.line()
