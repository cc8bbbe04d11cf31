"""A model in this process replies alike alone and in company, and knows the odds of an answer."""

import asyncio
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fullcontext import llm
from fullcontext.compose import ConfigError
from fullcontext.config import LocalWriter, Sampling
from fullcontext.llm import Completion, Message, Refused, Request
from fullcontext.llm.cache import Remembered
from fullcontext.llm.generate import Prompt, choose
from fullcontext.llm.local import Local
from fullcontext.llm.meter import Meter
from fullcontext.model.tokenizer import CHAT_TEMPLATE, symbols

TEXTS = ["k1 v2 k3", "k4", "k0 v1 k2 v3 k4 v5 k6 v7", "v7 v7"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: Any) -> Path:
    """A tiny random Llama with a chat template, 64 positions and 21 words."""
    return build(tmp_path_factory.mktemp("model"), seed=0)


@pytest.fixture(scope="module")
def absolute(tmp_path_factory: Any) -> Path:
    """The same with learned absolute positions, which padding must not shift."""
    from transformers import GPT2Config, GPT2LMHeadModel

    folder = build(tmp_path_factory.mktemp("absolute"), seed=0)
    settings = GPT2Config(
        vocab_size=21, n_positions=64, n_embd=32, n_layer=2, n_head=4, initializer_range=0.5,
        bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    GPT2LMHeadModel(settings).save_pretrained(folder)
    return folder


def build(folder: Path, seed: int) -> Path:
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = symbols({"k": 8, "v": 8})
    tokenizer.chat_template = CHAT_TEMPLATE.replace("[INST] ", "").replace(" [/INST]", " ?")
    torch.manual_seed(seed)
    settings = LlamaConfig(
        vocab_size=21, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64,
        bos_token_id=1, eos_token_id=2, initializer_range=0.5,
    )  # fmt: skip
    LlamaForCausalLM(settings).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@cache
def reference(folder: Path) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    return model, AutoTokenizer.from_pretrained(folder)


def local(folder: Path, **settings: Any) -> Local:
    config = LocalWriter(path=str(folder), **settings)
    model = llm.load(config, "writer", Meter(config, "writer"))
    assert isinstance(model, Local)
    return model


def request(text: str, seed: int = 0, **sampling: Any) -> Request:
    given = {"temperature": 0.0, "max_new_tokens": 12, **sampling}
    return Request((Message("user", text),), Sampling(**given), seed)


@pytest.fixture
def request_(request: pytest.FixtureRequest) -> pytest.FixtureRequest:
    """pytest's own `request`, under a name that is not ours."""
    return request


def complete(model: Local, *requests: Request) -> list[Any]:
    async def main() -> list[Any]:
        asked = (model.complete(each) for each in requests)
        return await asyncio.gather(*asked, return_exceptions=True)

    return asyncio.run(main())


def greedy(folder: Path, text: str, most: int) -> list[int]:
    """The reply by whole forward passes, without cache, padding or batch."""
    model, tokenizer = reference(folder)
    ids = tokenizer(f"<s>{text} ?", add_special_tokens=False)["input_ids"]
    said: list[int] = []
    with torch.no_grad():
        while len(said) < most and (not said or said[-1] != 2):
            said.append(int(model(torch.tensor([ids + said])).logits[0, -1].argmax()))
    return said


@pytest.mark.parametrize("positions", ["folder", "absolute"])
def test_a_greedy_reply_is_the_same_alone_in_a_batch_and_by_hand(
    positions: str, request_: pytest.FixtureRequest
) -> None:
    folder = request_.getfixturevalue(positions)
    alone = [complete(local(folder, batch_size=1), request(text))[0] for text in TEXTS]
    together = complete(local(folder, batch_size=4), *map(request, TEXTS))
    assert together == alone
    _, tokenizer = reference(folder)
    for text, reply in zip(TEXTS, together, strict=True):
        said = greedy(folder, text, 12)
        assert reply.text == tokenizer.decode(said, skip_special_tokens=True)
        assert reply.tokens_out == len(said)
        assert reply.finish == ("stop" if said[-1] == 2 else "length")


def test_a_drawn_reply_depends_on_its_own_seed_alone(folder: Path) -> None:
    model = local(folder, batch_size=3)
    hot = {"temperature": 1.3, "top_p": 0.9}
    wanted = request(TEXTS[0], 7, **hot)
    alone = complete(model, wanted)[0]
    among = complete(model, request(TEXTS[2], 1), wanted, request(TEXTS[1], 2, **hot))[1]
    assert among == alone
    others = {complete(model, request(TEXTS[0], seed, **hot))[0].text for seed in range(6)}
    assert len(others) > 3


def test_replies_of_different_length_share_a_batch(folder: Path) -> None:
    limits = [1, 5, 12, 3]
    asked = [request(text, max_new_tokens=limit) for text, limit in zip(TEXTS, limits, strict=True)]
    replies = complete(local(folder, batch_size=4), *asked)
    long = complete(local(folder, batch_size=4), *map(request, TEXTS))
    for reply, whole, limit in zip(replies, long, limits, strict=True):
        assert whole.text.startswith(reply.text)
        assert reply.tokens_out == min(limit, whole.tokens_out)


def test_tokens_are_drawn_as_often_as_they_are_likely() -> None:
    logits = torch.tensor([0.5, 0.2, 0.3]).log()
    draw = np.random.default_rng(0)

    def shares(temperature: float, top_p: float) -> list[float]:
        prompt = Prompt([], 1, temperature, top_p, 0)
        drawn = [choose(logits, prompt, draw) for _ in range(4000)]
        return [drawn.count(token) / 4000 for token in range(3)]

    assert shares(1.0, 1.0) == pytest.approx([0.5, 0.2, 0.3], abs=0.03)
    # 0.5 + 0.3 crosses 0.6, so two tokens stay, at 5/8 and 3/8.
    assert shares(1.0, 0.6) == pytest.approx([0.625, 0, 0.375], abs=0.03)
    assert shares(1.0, 0.4) == [1, 0, 0] == shares(0.0, 1.0)
    # Squared at temperature 0.5: 25, 4 and 9 of 38.
    assert shares(0.5, 1.0) == pytest.approx([25 / 38, 4 / 38, 9 / 38], abs=0.03)


@pytest.mark.parametrize("answer", ["v1", "v1 v2 k3"])
def test_the_odds_of_an_answer_are_those_of_a_plain_forward(folder: Path, answer: str) -> None:
    model, tokenizer = reference(folder)
    prompt = tokenizer("<s>k1 v1 k2 ?", add_special_tokens=False)["input_ids"]
    said = tokenizer(answer, add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        logp = model(torch.tensor([prompt + said])).logits[0].log_softmax(-1)
    places = range(len(prompt) - 1, len(prompt) + len(said) - 1)
    wanted = -sum(float(logp[at, token]) for at, token in zip(places, said, strict=True))
    got = asyncio.run(local(folder).answer_nll((Message("user", "k1 v1 k2"),), answer))
    assert got == pytest.approx(wanted / len(said), abs=1e-5)


def test_odds_are_remembered(folder: Path, tmp_path: Path) -> None:
    async def main() -> tuple[float, int]:
        meter = Meter(LocalWriter(path=str(folder)), "judge")
        model = Remembered(local(folder), tmp_path, "0", meter)
        nll = await model.answer_nll((Message("user", "k1"),), "v1 v2")
        await model.close()
        return nll, meter.hits

    first, again = asyncio.run(main()), asyncio.run(main())
    assert first[0] == again[0] and (first[1], again[1]) == (0, 1)


def test_what_does_not_fit_is_refused(folder: Path) -> None:
    model = local(folder)
    # 64 positions: <s>, 61 words and the question mark leave one for the reply.
    replies = complete(model, request("k1 " * 61), request("k1 " * 62), request("k1"))
    assert replies[0].tokens_out == 1 and replies[0].tokens_in == 63
    assert isinstance(replies[1], Refused) and str(replies[1]) == "prompt too long"
    assert isinstance(replies[2], Completion)
    for text, answer in (("k1", ""), ("k1 " * 60, "v1 v2 v3")):
        with pytest.raises(Refused):
            asyncio.run(model.answer_nll((Message("user", text),), answer))


def test_the_event_loop_lives_while_the_model_works(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = local(folder)
    forward = model._model.forward

    def slow(*args: Any, **kwargs: Any) -> Any:
        time.sleep(0.01)
        return forward(*args, **kwargs)

    monkeypatch.setattr(model._model, "forward", slow)

    async def main() -> int:
        reply = asyncio.create_task(model.complete(request("k4", max_new_tokens=10)))
        ticks = 0
        while not reply.done():
            await asyncio.sleep(0.001)
            ticks += 1
        await model.close()
        return ticks

    assert asyncio.run(main()) > 10


def fail(error: Exception) -> None:
    raise error


def test_an_error_of_the_model_reaches_who_asked(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = local(folder)
    forward = model._model.forward
    for error, wanted in ((KeyError("x"), "x"), (torch.OutOfMemoryError(), "batch_size=4")):
        monkeypatch.setattr(model._model, "forward", lambda error=error, **_: fail(error))
        said = complete(model, *map(request, TEXTS))
        assert [wanted in str(each) for each in said] == [True] * 4
    monkeypatch.setattr(model._model, "forward", forward)
    assert isinstance(complete(model, request("k1"))[0], Completion)


def test_other_weights_at_the_same_path_are_another_model(folder: Path, tmp_path: Path) -> None:
    first, again = local(build(tmp_path, 1)).name, local(tmp_path).name
    assert first == again
    assert local(build(tmp_path, 2)).name != first
    assert first.startswith(f"{tmp_path.name}@")


def test_without_a_template_the_messages_stand_as_they_are(folder: Path, tmp_path: Path) -> None:
    _, tokenizer = reference(build(tmp_path, 0))
    tokenizer.chat_template = None
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "chat_template.jinja").unlink()
    model = local(tmp_path)
    ids = model._ids((Message("system", "k1"), Message("user", "k2")))
    assert tokenizer.convert_ids_to_tokens(ids) == ["k1", "\n", "\n", "k2", "\n"]
    assert isinstance(complete(model, request("k1"))[0], Completion)


def test_a_folder_without_weights_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"writer\.path"):
        local(tmp_path)


def test_replies_of_weights_are_remembered_too(folder: Path, tmp_path: Path) -> None:
    config = LocalWriter(path=str(folder))

    async def main() -> tuple[list[Completion], Meter]:
        meter = Meter(config, "writer")
        model = Remembered(llm.load(config, "writer", meter), tmp_path, "0", meter)
        replies = await asyncio.gather(*(model.complete(request(text)) for text in TEXTS))
        await model.close()
        return replies, meter

    first, meter = asyncio.run(main())
    again, later = asyncio.run(main())
    assert first == again and (meter.replies, later.replies, later.hits) == (4, 0, 4)


def test_requests_that_wait_together_run_together(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = local(folder, batch_size=4)
    forward = model._model.forward
    sizes: list[int] = []

    def counting(*args: Any, **kwargs: Any) -> Any:
        sizes.append(len(kwargs["input_ids"]))
        return forward(*args, **kwargs)

    monkeypatch.setattr(model._model, "forward", counting)
    complete(model, *(request("k1", max_new_tokens=1) for _ in range(10)))
    assert sizes == [4, 4, 2]
