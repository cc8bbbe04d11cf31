"""What was replied is never asked again, whoever kills what; no prompt and no key is kept."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fullcontext.compose import ROOT, ConfigError
from fullcontext.llm import Completion, Refused, Request, Unanswered
from fullcontext.llm.cache import Remembered, _Index
from fullcontext.llm.endpoint import Endpoint
from fullcontext.llm.meter import Meter
from tests.llm.asking import KEY, config, request
from tests.llm.faults import Behaviour, FaultServer, Good, Status

SETTINGS = config("http://127.0.0.1:1/v1")


class Echo:
    """A model that says what it was asked, and keeps count."""

    def __init__(self, name: str = "m", fails: Exception | None = None) -> None:
        self.name = name
        self.asked: list[str] = []
        self.fails = fails

    async def complete(self, request: Request) -> Completion:
        self.asked.append(request.messages[-1].content)
        await asyncio.sleep(0.001)
        if self.fails is not None:
            raise self.fails
        return Completion(f"“{request.messages[-1].content}”\n\u2028\ud800", 10, 5, "stop")

    async def close(self) -> None:
        pass


def remembered(model: Any, folder: Path, part: str = "0", meter: Meter | None = None) -> Remembered:
    return Remembered(model, folder, part, meter or Meter(SETTINGS, "writer"))


def replies(model: Any, *texts: str, close: bool = True) -> list[Any]:
    async def main() -> list[Any]:
        asked = (model.complete(request(text, SETTINGS)) for text in texts)
        got = await asyncio.gather(*asked, return_exceptions=True)
        if close:
            await model.close()
        return got

    return asyncio.run(main())


def lines(folder: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for path in sorted(folder.rglob("*.jsonl"))
        for line in path.read_bytes().splitlines()
    ]


def test_a_reply_is_asked_for_once_in_one_process_and_over_many(tmp_path: Path) -> None:
    model = Echo()
    first = replies(remembered(model, tmp_path), "a", "b", "a", "a")
    assert model.asked == ["a", "b"] and first[0] == first[2] == first[3]
    meter = Meter(SETTINGS, "writer")
    again = replies(remembered(model, tmp_path, "1", meter), "b", "a", "c")
    assert model.asked == ["a", "b", "c"] and again[:2] == [first[1], first[0]]
    assert meter.hits == 2 and len(lines(tmp_path)) == 3


def test_the_model_the_sampling_the_seed_and_the_schema_make_the_key() -> None:
    def key(name: str = "m", text: str = "a", seed: int = 0, schema: Any = None, **s: Any) -> str:
        return request(text, config("http://127.0.0.1:1", **s), seed, schema).key(name)

    keys = [
        key(), key("n"), key(text="b"), key(seed=1), key(schema={}), key(temperature=0.1),
        key(top_p=0.9), key(max_new_tokens=21),
    ]  # fmt: skip
    assert len(set(keys)) == len(keys)
    assert key() == key(concurrency=7, tries=1)
    assert request("a", config("http://elsewhere:1")).key("m") == key()


def test_a_refusal_is_kept_and_silence_is_not(tmp_path: Path) -> None:
    refusal = Refused("content filter", 7, 3, "no")
    model = Echo(fails=refusal)
    for _ in range(2):
        (error,) = replies(remembered(model, tmp_path), "a")
        assert (str(error), error.detail, error.tokens_in) == ("content filter", "no", 7)
    assert model.asked == ["a"]
    refusal.is_final = False
    for fails in (refusal, Unanswered("time-out"), ConfigError("dead")):
        model = Echo(fails=fails)
        for _ in range(2):
            assert replies(remembered(model, tmp_path), "b") == [fails]
        assert model.asked == ["b", "b"]


def test_who_waits_for_a_cancelled_request_asks_itself(tmp_path: Path) -> None:
    model = Echo()

    async def main() -> Completion:
        kept = remembered(model, tmp_path)
        first = asyncio.create_task(kept.complete(request("a", SETTINGS)))
        second = asyncio.create_task(kept.complete(request("a", SETTINGS)))
        await asyncio.sleep(0)
        first.cancel()
        got = await second
        await kept.close()
        return got

    assert asyncio.run(main()).finish == "stop" and model.asked == ["a", "a"]


@given(st.integers(0, 400))
def test_a_file_cut_anywhere_keeps_its_whole_lines(tmp_path_factory: Any, cut: int) -> None:
    folder = tmp_path_factory.mktemp("cache")
    replies(remembered(Echo(), folder), "a", "b", "c")
    (path,) = folder.rglob("*.jsonl")
    content = path.read_bytes()
    path.write_bytes(content[: max(0, len(content) - cut)])
    whole = path.read_bytes().count(b"\n")
    model = Echo()
    replies(remembered(model, folder), "a", "b", "c")
    assert len(model.asked) == 3 - whole and len(lines(folder)) == 3


def test_a_damaged_line_is_counted_and_asked_again(tmp_path: Path) -> None:
    replies(remembered(Echo(), tmp_path), "a", "b")
    (path,) = tmp_path.rglob("*.jsonl")
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"\0" * (len(first) - 1) + b"\n" + second)
    meter, model = Meter(SETTINGS, "writer"), Echo()
    replies(remembered(model, tmp_path, meter=meter), "a", "b")
    assert model.asked == ["a"] and sum(meter.notes.values()) == 1


def test_a_full_disk_is_an_error_and_leaves_whole_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = remembered(Echo(), tmp_path)

    class Full:
        name = "file"

        def __init__(self, file: Any) -> None:
            self.file = file
            self.truncate, self.close = file.truncate, file.close

        def write(self, line: bytes) -> int:
            return int(self.file.write(line[:30]))

    monkeypatch.setattr(kept, "_file", Full(kept._file))
    (error,) = replies(kept, "a")
    assert isinstance(error, ConfigError) and "make room" in str(error)
    assert lines(tmp_path) == []


def test_a_part_belongs_to_one_process(tmp_path: Path) -> None:
    kept = remembered(Echo(), tmp_path)
    with pytest.raises(ConfigError, match="writer-0"):
        remembered(Echo(), tmp_path)
    others = [remembered(Echo(), tmp_path, "1"), remembered(Echo("n"), tmp_path)]
    others.append(remembered(Echo(), tmp_path, meter=Meter(SETTINGS, "judge")))
    for each in (kept, *others):
        asyncio.run(each.close())


def test_two_million_replies_take_20_bytes_each() -> None:
    index = _Index()
    keys = [i.to_bytes(8, "big") * 2 for i in range(50_000)]
    for i, key in enumerate(reversed(keys)):
        index.add(key, i % 7, 3 * 2**40 + i)
    index.add(keys[5][:8] + b"12345678", 9, 1)
    index.settle()
    assert index._sorted.nbytes + index._where.nbytes == 50_001 * 20
    assert index.places(keys[0]) == [(49_999 % 7, 3 * 2**40 + 49_999)]
    assert [place.file for place in index.places(keys[5])] == [49_994 % 7, 9]
    assert index.places(b"\xff" * 16) == []


def spent(folder: Path, share: int, part: str, group: str = "writer") -> float:
    meter = Meter(SETTINGS, group, share)
    asyncio.run(Remembered(Echo(), folder, part, meter).close())
    return meter._earlier_tokens


def test_earlier_spending_counts_once_over_all_parts(tmp_path: Path) -> None:
    for part, texts in (("0", "ab"), ("1", "cde")):  # 15 tokens each
        replies(remembered(Echo(), tmp_path, part, Meter(SETTINGS, "writer", 2)), *texts)
    assert [spent(tmp_path, 2, part) for part in "01"] == [30, 45]
    assert spent(tmp_path, 1, "0") == 75
    assert [spent(tmp_path, 3, part) for part in "012"] == [25, 25, 25]
    assert spent(tmp_path, 1, "0", "judge") == 0


# With real servers and real processes

CHILD = """
import asyncio, sys
from pathlib import Path
from tests.llm.asking import config, request
from fullcontext.llm.cache import Remembered
from fullcontext.llm.endpoint import Endpoint
from fullcontext.llm.meter import Meter

async def main(url, folder, part, texts):
    settings = config(url, concurrency=4, key_variable="TEST_KEY")
    meter = Meter(settings, "writer")
    model = Remembered(Endpoint(settings, "writer", meter), Path(folder), part, meter)
    asked = (model.complete(request(text, settings)) for text in texts)
    await asyncio.gather(*asked, return_exceptions=True)
    await model.close()

asyncio.run(main(*sys.argv[1:4], sys.argv[4:]))
"""


def start(url: str, folder: Path, part: str, texts: list[str]) -> subprocess.Popen[bytes]:
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, url, str(folder), part, *texts],
        env={**os.environ, "PYTHONPATH": paths, "TEST_KEY": KEY},
        cwd=ROOT,
    )


def test_kills_at_any_moment_cost_only_what_was_in_flight(tmp_path: Path) -> None:
    texts = [f"text {i}" for i in range(60)]
    draw = random.Random(0)
    kills = 0
    with FaultServer(lambda request, count: Good("x" * 30, wait_s=0.02)) as server:
        while True:
            before = len(server.requests)
            process = start(server.url, tmp_path, "0", texts)
            while process.poll() is None and len(server.requests) < before + 15:
                time.sleep(0.005)
            time.sleep(draw.random() * 0.05)
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                kills += 1
            if process.wait() == 0:
                break
        asked = server.asked
    assert kills >= 3 and {line["text"] for line in lines(tmp_path)} == {"x" * 30}
    assert len({line["key"] for line in lines(tmp_path)}) == len(lines(tmp_path)) == 60
    assert set(asked) == set(texts) and len(asked) <= 60 + 4 * kills


def test_processes_work_side_by_side_and_keep_no_key(tmp_path: Path) -> None:
    texts = [f"secret prompt {i}" for i in range(20)]

    def decide(request: dict[str, Any], count: int) -> Behaviour:
        is_last = request["messages"][0]["content"].endswith("9")
        return Status(413, KEY) if is_last else Good(f"reply {KEY}")

    with FaultServer(decide) as server:
        workers = [
            start(server.url, tmp_path, part, share)
            for part, share in (("0", texts[:10]), ("1", texts[10:]))
        ]
        assert [process.wait() for process in workers] == [0, 0]
        assert sorted(server.asked) == sorted(texts)
        settings = config(server.url)
        meter = Meter(settings, "writer")

        async def main() -> list[Any]:
            model = Remembered(Endpoint(settings, "writer", meter), tmp_path, "2", meter)
            asked = (model.complete(request(text, settings)) for text in texts)
            got = await asyncio.gather(*asked, return_exceptions=True)
            await model.close()
            return got

        got = asyncio.run(main())
        assert len(server.requests) == 20 and meter.requests == 0
    assert [str(each) for each in got if isinstance(each, Exception)] == ["HTTP 413"] * 2
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert KEY.encode() not in kept and b"secret prompt" not in kept
    assert [len(path.read_bytes().splitlines()) for path in sorted(tmp_path.rglob("*.jsonl"))] == [
        10, 10, 0,
    ]  # fmt: skip
