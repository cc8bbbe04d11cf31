from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fullcontext.config import Normalise, Precision
from fullcontext.data.packing import pack
from fullcontext.objective import sft
from fullcontext.objective.batch import answer_logits
from fullcontext.probe import contexts
from fullcontext.probe.answer import answer, begun
from tests.objective.test_sft import example as questions
from tests.objective.test_sft import model

NEW = 12
END = 2


@pytest.fixture(scope="module")
def example(text):
    config, prompt = text
    return contexts.context("code", prompt, config.data, config.probe, 0, 0).example


@pytest.fixture(scope="module")
def generated(text_model, example):
    return generate(text_model, example)


@pytest.fixture(scope="module")
def told(text_model):
    """The tokens of our replies."""

    def tell(given, end=END, most=NEW, **more):
        return [reply.tokens for reply in answer(text_model, given, end, most, **more)]

    return tell


def generate(model, example):
    """transformers' own greedy generation from each whole prompt."""
    found = []
    for asked in example.asked:
        ids = torch.from_numpy(np.concatenate([example.context, asked.prompt])).long()
        all_ids = model.generate(
            ids[None], max_new_tokens=NEW, do_sample=False, pad_token_id=0, use_cache=True
        )
        tokens = all_ids[0, len(ids) :].tolist()
        found.append(tokens[:-1] if tokens[-1] == END else tokens)
    return found


@pytest.mark.parametrize("name", ["gemma2", "gemma3"])
def test_models_with_windows_and_capped_scores_reply_as_they_generate(name: str) -> None:
    """The window of 9 ends inside the context, the questions and the replies."""
    net = model(name).float().eval()
    torch.manual_seed(1)
    for weight in net.parameters():
        torch.nn.init.normal_(weight, std=0.4) if weight.ndim > 1 else None
    given = questions(3, 30, (4, 3), (6, 5), (3, 8))
    expected = generate(net, given)
    assert len({tuple(tokens) for tokens in expected}) == 3
    for answers in ([one.answer for one in given.asked], expected):
        replies = answer(net, with_answers(given, answers), END, NEW)
        assert [reply.tokens for reply in replies] == expected
    total = sum(float(reply.logp.sum()) for reply in answer(net, given, END, NEW))
    loss = sft.loss(net, sft.batch(pack([given]), Normalise.token))
    assert total == pytest.approx(-float(loss.total.detach()), rel=1e-4)


def with_answers(example, answers):
    asked = [
        replace(one, answer=np.asarray(ids, np.int32))
        for one, ids in zip(example.asked, answers, strict=True)
    ]
    return replace(example, asked=tuple(asked))


@pytest.fixture
def passes(text_model, monkeypatch):
    """Tokens of each forward pass."""
    decoder, seen = text_model.get_decoder(), []
    forward = decoder.forward

    def counted(*args, **kwargs):
        seen.append(kwargs["input_ids"].shape[1])
        return forward(*args, **kwargs)

    monkeypatch.setattr(decoder, "forward", counted)
    return seen


def test_replies_equal_generation_from_the_whole_prompt_token_for_token(example, generated, told):
    assert len({len(one.prompt) for one in example.asked}) > 3
    assert len({tuple(tokens) for tokens in generated}) > 3  # the model does read
    assert told(example) == generated


@pytest.mark.parametrize("chunk", [1, 120, 400])
def test_replies_do_not_depend_on_how_many_questions_run_at_once(example, generated, told, chunk):
    assert told(example, chunk_tokens=chunk) == generated


def test_the_context_runs_through_the_model_once(example, told, passes):
    told(example, chunk_tokens=100)
    assert passes.count(len(example.context)) == 1
    assert sum(passes) < len(example.context) + 10 * (60 + NEW)


@settings(max_examples=25, deadline=None)
@given(
    same=st.lists(st.integers(0, NEW - 1), min_size=10, max_size=10),
    other=st.integers(3, 30000),
)
def test_replies_do_not_depend_on_the_gold_answer(example, generated, told, same, other):
    golds = [[*tokens[:n], other, END] for tokens, n in zip(generated, same, strict=True)]
    assert told(with_answers(example, golds)) == generated


def test_gold_answers_the_model_would_say_need_no_decoding_step(example, generated, told, passes):
    # Each reply is made to end by taking its last token for the end token of that question.
    for asked, tokens in zip(example.asked, generated, strict=True):
        end = tokens[-1]
        gold = tokens[: tokens.index(end) + 1]
        one = replace(example, asked=(replace(asked, answer=np.asarray(gold, np.int32)),))
        passes.clear()
        assert told(one, end=end) == [gold[:-1]]
        assert len(passes) == 2


def test_decoding_stops_at_the_end_token(example, generated, told):
    end = generated[0][4]
    expected = [tokens[: tokens.index(end)] if end in tokens else tokens for tokens in generated]
    assert len(expected[0]) <= 4
    assert told(example, end=end) == expected


@pytest.mark.parametrize("most", [1, 2, 5])
def test_decoding_stops_at_the_most_tokens_even_within_the_gold_answer(
    example, generated, told, most
):
    wanted = [tokens[:most] for tokens in generated]
    assert told(example, most=most) == wanted
    golds = [[*tokens, END] for tokens in generated]
    assert told(with_answers(example, golds), most=most) == wanted


def test_logps_are_those_of_the_shared_context_row(text_model, example):
    batch = sft.batch(pack([example]), Normalise.token)
    with torch.no_grad():
        logits = answer_logits(text_model, batch)
    expected = logits.log_softmax(-1).gather(1, batch.targets[:, None])[:, 0].numpy()
    replies = answer(text_model, example, END, NEW)
    np.testing.assert_allclose(
        np.concatenate([reply.logp for reply in replies]), expected, rtol=1e-4, atol=1e-4
    )


def test_bf16_is_close_to_fp32(text_model, example):
    exact = answer(text_model, example, END, 1)
    rough = answer(text_model, example, END, 1, Precision.bf16)
    exact_logp, rough_logp = (
        np.array([reply.logp.mean() for reply in replies]) for replies in (exact, rough)
    )
    assert not np.array_equal(exact_logp, rough_logp)
    np.testing.assert_allclose(exact_logp, rough_logp, rtol=0.1)


def test_greedy_tokens_are_known_up_to_the_first_that_differs_from_gold():
    gold = np.array([5, 6, 2])
    assert begun(gold, np.array([5, 7, 2]), 9) == [5, 7]
    assert begun(gold, np.array([4, 6, 2]), 9) == [4]
    assert begun(gold, np.array([5, 6, 2]), 9) == [5, 6, 2]
    assert begun(gold, np.array([5, 6, 8]), 9) == [5, 6, 8]
    assert begun(gold, np.array([5, 6, 2]), 2) == [5, 6]
