"""CPU seconds of a context's questions: one pass over the context, against one a question.

    python benchmarks/probe.py [QUESTIONS]

A context of 2,048 tokens of the database probe with up to 60 questions, a model of random weights
in the shape of SmolLM2-135M but six layers deep, fp32, one thread, 16 new tokens at most. The peer
is what everyone does: `transformers`' own greedy generate() of each whole prompt, whose cache is
its own. Both say the same: the replies are compared.

What it does not show: batched generation on a GPU, where prompts of one question each run side by
side; a server with prefix caching, which saves the same as this does.
"""

import sys
import time

import torch

from fullcontext.compose import compose_verb
from fullcontext.data.tokens import Encoder, Prompt
from fullcontext.model import load, tokenizer
from fullcontext.probe import contexts
from fullcontext.probe.answer import answer

NEW = 16


def main() -> None:
    """Prints seconds and their ratio."""
    torch.set_num_threads(1)
    questions = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    config = compose_verb(
        "probe",
        ["probe.tasks=[database]", "probe.context_tokens=2048", f"probe.max_new_tokens={NEW}",
         f"probe.questions={questions}", "precision=fp32"],
    )  # fmt: skip
    sizes = config.model.architecture
    sizes.hidden_size, sizes.num_layers, sizes.intermediate_size = 576, 6, 1536
    sizes.num_heads, sizes.num_kv_heads, sizes.initializer_range = 9, 3, 0.05
    prompt = Prompt(config.data, config.model.chat, Encoder(tokenizer.load(config.model)))
    context = contexts.context("database", prompt, config.data, config.probe, 0, 0)
    model = load.load(config.model, config.positions).eval()

    start = time.process_time()
    ours = answer(model, context.example, prompt.end_token, NEW)
    shared = time.process_time() - start

    peer = load.load(config.model, config.positions).eval()
    peer.set_attn_implementation("sdpa")
    start = time.process_time()
    theirs = [_generate(peer, context, asked, prompt) for asked in context.example.asked]
    single = time.process_time() - start

    same = sum(one.tokens == other for one, other in zip(ours, theirs, strict=True))
    asked = len(context.queries)
    tokens = len(context.example.context)
    print(f"context of {tokens} tokens, {asked} questions; replies alike: {same} of {asked}")
    print(f"one pass over the context      {shared:8.1f} CPU-s, {shared / asked:.3f} a question")
    print(f"transformers generate(), each  {single:8.1f} CPU-s, {single / asked:.3f} a question")
    print(f"ratio {single / shared:.1f} (goal 10)")


def _generate(model, context, asked, prompt):
    ids = torch.tensor([[*context.example.context.tolist(), *asked.prompt.tolist()]])
    with torch.inference_mode():
        said = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW, do_sample=False,
            eos_token_id=prompt.end_token, pad_token_id=prompt.end_token,
        )[0, ids.shape[1] :].tolist()  # fmt: skip
    return said[:-1] if said and said[-1] == prompt.end_token else said


if __name__ == "__main__":
    main()
