"""synthesize.py with an endpoint that fails and lies, kills, signals, parts and a budget."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

from fullcontext.compose import ROOT, ConfigError, compose_verb
from fullcontext.data import synthesis
from fullcontext.store import MANIFEST, digest, read_table
from tests.llm.faults import Cut, Endless, FaultServer, Good, Hang, Raw, Status

EXAMPLES = "data.examples={fine_grained: 60, integration: 30, short_context: 20, instruction: 10}"


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 texts of three paragraphs; one number tells them apart."""
    path = tmp_path_factory.mktemp("texts") / "texts.jsonl"
    rows = []
    for i in range(60):
        lines = [
            f"The mill number {i}{j} at river bend {i} ground {i * 7 + j} sacks of rye in spring,"
            f" and its owner, a man called Jan{i}, sold them at the market of town {i % 9}. " * 3
            for j in range(4)
        ]
        rows.append(json.dumps({"text": "\n".join(lines)}))
    path.write_text("\n".join(rows) + "\n")
    return path


def good(request, count: int = 0) -> Good:
    """A question that follows from what is shown, with a made-up answer now and then."""
    said = request["messages"][-1]["content"]
    shown = said[said.index("The mill number") :]
    number = shown.split()[3]
    mark = f"{len(shown)}-{request['seed'] // 100}"
    reply = {
        "question": f"How much rye did the mill number {number} grind, {mark} asks?",
        "answer": "Brunel." if number.endswith("03") else f"The mill number {number} ground rye.",
    }
    if "<piece 1>" in said:
        reply["pieces"] = [2, 1]
    return Good(json.dumps(reply))


def asked(server: FaultServer, since: int = 0) -> Counter[tuple[str, int]]:
    """How often each prompt was sent with each seed."""
    return Counter((r["messages"][-1]["content"], r["seed"]) for r in server.requests[since:])


def words(texts: Path, url: str, *more: str) -> list[str]:
    return [
        "corpus=files", f"corpus.path={texts}", "data=in2_laptop", "model=tiny",
        "data.segment_size=64", EXAMPLES, "data.store=store", "answers=answers",
        "writer=openai", "writer.model=m", f"writer.base_url={url}", "writer.concurrency=6",
        "writer.longest_pause_s=0.05", "writer.timeout_s=5", *more,
    ]  # fmt: skip


def make(*overrides: str) -> None:
    synthesis.run(compose_verb("synthesize", overrides))


def shards(folder: Path) -> dict[str, str]:
    manifest = json.loads((folder / MANIFEST).read_text())
    assert all(digest(folder / name) == value for name, value in manifest["files"].items())
    return manifest["files"]


def questions(folder: Path) -> list[dict]:
    tables = [read_table(path) for path in sorted(folder.glob("questions-*.arrow"))]
    return pa.concat_tables(tables).to_pylist()


@pytest.fixture(scope="module")
def whole(texts: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], int]:
    """The store of a healthy endpoint, and how many requests it took."""
    folder = tmp_path_factory.mktemp("whole")
    with FaultServer(good) as server:
        make(*words(texts, server.url), f"data.store={folder}/store", f"answers={folder}/answers")
    return shards(folder / "store"), len(server.requests)


def test_no_asking_is_sent_twice_or_in_vain(in_folder: Path, texts: Path) -> None:
    with FaultServer(good) as server:
        make(*words(texts, server.url))
        manifest = json.loads(Path("store", MANIFEST).read_text())
        assert max(asked(server).values()) == 1
        assert len(server.requests) == sum(manifest["asked"].values())
        assert server.most_open <= 6
        made = Counter(question["kind"] for question in questions(Path("store")))
        assert made == {"fine_grained": 60, "integration": 30, "short_context": 20,
                        "instruction": 10}  # fmt: skip
        dropped = manifest["dropped"]["fine_grained: answer's words not in evidence"]
        twice = manifest["dropped"]["fine_grained: exact duplicate"]
        assert dropped and manifest["asked"]["fine_grained"] == 60 + dropped + twice
        before = len(server.requests)
        make(*words(texts, server.url))
        Path("store", MANIFEST).unlink()
        make(*words(texts, server.url))
        assert len(server.requests) == before, "a finished or lost store is made from kept replies"


FAULTS = [
    Status(429, after="0"),
    Status(500),
    Status(503, after="1"),
    Cut(),
    Hang(0.3),
    Raw(b"<html>gateway</html>"),
    Raw(b'{"choices": []}'),
    Good("I would rather talk about the weather."),
    Good('{"question": "How many sacks of rye '),
    Good('{"question": "How much rye?", "answer": "Much rye", "pieces": [99]}'),
    Good(""),
    Endless(10_000_000),
]


def test_an_endpoint_with_every_fault_gives_the_store_of_a_healthy_one(
    in_folder: Path, texts: Path, whole
) -> None:
    """Each prompt meets one fault, then the good reply; what a model said wrongly is asked once
    more with another seed."""
    met: Counter[str] = Counter()

    def decide(request, count: int):
        said = request["messages"][-1]["content"]
        met[said] += 1
        if met[said] == 1 and "mill number" in said:
            fault = FAULTS[len(met) % len(FAULTS)]
            integrates = "<piece 1>" in said
            wrong_number = isinstance(fault, Good) and "99" in (fault.text or "")
            return good(request) if wrong_number and not integrates else fault
        return good(request)

    with FaultServer(decide) as server:
        make(*words(texts, server.url))
    assert shards(Path("store")) == whole[0]
    usage = json.loads(Path("store", "usage.json").read_text())["writer"]
    assert sum(usage["retries"].values()) > 20 and len(usage["retries"]) >= 5, usage
    kept = "".join(path.read_text() for path in Path("answers").rglob("*.jsonl"))
    assert len(kept) < 200_000, "ten megabytes of talk are not kept"


def start(folder: Path, overrides: list[str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(ROOT / "synthesize.py"), *overrides]
    with (folder / "out.txt").open("ab") as out:
        return subprocess.Popen(command, cwd=folder, stdout=out, stderr=out, env=os.environ)


def test_killed_at_random_moments_nothing_replied_is_asked_again(
    in_folder: Path, texts: Path, whole
) -> None:
    draw = random.Random(1)

    def slowly(request, count: int) -> Good:
        time.sleep(0.03)
        return good(request)

    with FaultServer(slowly) as server:
        kills = 0
        for _ in range(4):
            before = len(server.requests)
            process = start(in_folder, words(texts, server.url))
            wanted = before + draw.randint(5, 25)
            while process.poll() is None and len(server.requests) < wanted:
                time.sleep(0.002)
            kills += process.poll() is None
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert not Path("store", MANIFEST).exists()
        assert kills == 4
        assert start(in_folder, words(texts, server.url)).wait(120) == 0
        sent = asked(server)
    assert shards(Path("store")) == whole[0]
    again = sum(count - 1 for count in sent.values())
    assert again <= 6 * kills, "only what was in flight at a kill is asked again"
    assert len(sent) == whole[1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_requests_in_flight_come_home(
    in_folder: Path, texts: Path, whole, number: int
) -> None:
    def slowly(request, count: int) -> Good:
        time.sleep(0.05)
        return good(request)

    with FaultServer(slowly) as server:
        process = start(in_folder, words(texts, server.url))
        while process.poll() is None and len(server.requests) < 20:
            time.sleep(0.005)
        process.send_signal(number)
        assert process.wait(30) == 75, Path("out.txt").read_text()
        assert "run the same command to go on" in Path("out.txt").read_text()
        assert start(in_folder, words(texts, server.url)).wait(120) == 0
        assert max(asked(server).values()) == 1
    assert shards(Path("store")) == whole[0]


def test_parts_share_the_work_and_join_to_the_same_store(
    in_folder: Path, texts: Path, whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FaultServer(good) as server:
        monkeypatch.setattr("fullcontext.data.shards.SHARD_CHARACTERS", 4000)
        make(*words(texts, server.url, "data.store=one"))
        alone = shards(Path("one"))
        before = len(server.requests)
        make(*words(texts, server.url, "answers=more", "part=0", "parts=3"))
        assert not Path("store", MANIFEST).exists()
        make(*words(texts, server.url, "answers=more", "part=2", "parts=3"))
        make(*words(texts, server.url, "answers=more", "part=1", "parts=3"))
        sent = asked(server, before)
    assert len(alone) > 8
    assert shards(Path("store")) == alone
    assert max(sent.values()) == 1


def test_a_budget_is_kept_and_raising_it_goes_on(in_folder: Path, texts: Path, whole) -> None:
    priced = ["writer.price_in=1000000", "writer.price_out=0", "writer.max_new_tokens=60"]
    with FaultServer(good) as server:
        with pytest.raises(ConfigError, match=r"writer.budget_money=2500.*kept.*raise"):
            make(*words(texts, server.url, *priced, "writer.budget_money=2500"))
        spent = len(server.requests)
        assert 0 < 10 * spent <= 2500
        assert not Path("store", MANIFEST).exists()
        make(*words(texts, server.url, *priced, "writer.budget_money=1000000"))
        assert max(asked(server).values()) == 1
    assert sorted(shards(Path("store"))) == sorted(whole[0])


def test_a_dead_endpoint_is_named_and_leaves_nothing_finished(in_folder: Path, texts: Path) -> None:
    with FaultServer(lambda request, count: Status(503)) as server:
        few = ["writer.tries=2", "writer.give_up_after=3"]
        with pytest.raises(ConfigError, match=r"127\.0\.0\.1.*503"):
            make(*words(texts, server.url, *few))
    assert not Path("store", MANIFEST).exists()
    assert not list(Path("store").glob("questions-*"))


def test_what_the_endpoint_did_not_answer_is_counted_and_asked_again_by_another_run(
    in_folder: Path, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deaf(request, count: int):
        return Status(500) if "mill number 70 " in str(request) else good(request)

    with FaultServer(deaf) as server:
        make(*words(texts, server.url, "writer.tries=2"))
        manifest = json.loads(Path("store", MANIFEST).read_text())
        assert any("no reply (" in reason for reason in manifest["dropped"])
        server.decide = good
        Path("store", MANIFEST).unlink()
        make(*words(texts, server.url))
        manifest = json.loads(Path("store", MANIFEST).read_text())
        assert not any("no reply" in reason for reason in manifest["dropped"])


def test_the_estimate_sends_nothing_and_says_requests_tokens_and_money(
    in_folder: Path, texts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with FaultServer(good) as server:
        prices = ["writer.price_in=2", "writer.price_out=8", "estimate=true"]
        make(*words(texts, server.url, *prices))
        assert not server.requests
    said = capsys.readouterr().out
    assert "writer: 120 requests" in said and "in money" in said
    assert not Path("store").exists()
