"""Probe `document` on speeches a run has trained on and on those it has not.

    python benchmarks/seen.py STORE RUN/answers/document_*.jsonl...

The probe draws its sentences from all of `corpus=sotu`; a store made with corpus.max_documents
holds some of the speeches. Printed for each file: mean score and number of the questions about
sentences of either.

What it does not show: an effect of seen sentences that stand around an unseen one.
"""

import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa


def speeches_of(store: Path) -> set[str]:
    """Ids of the raw documents in a store."""
    found: set[str] = set()
    for shard in sorted(store.glob("segments-*.arrow")):
        with pa.memory_map(str(shard)) as source:
            found |= set(pa.ipc.open_file(source).read_all()["parent"].to_pylist())
    return found


def main() -> None:
    from fullcontext.config import SotuCorpus
    from fullcontext.data import corpus

    seen = speeches_of(Path(sys.argv[1]))
    read = corpus.read(SotuCorpus(), 0, Counter())
    texts = {True: "", False: ""}
    for document in read:
        texts[document.id in seen] += " ".join(document.text.split()) + "\n"
    for name in sys.argv[2:]:
        scores: dict[bool, list[float]] = {True: [], False: []}
        for line in Path(name).read_text("utf-8").splitlines():
            answer = json.loads(line)
            scores[answer["gold"] in texts[True]].append(answer["score"])
        row = {"file": name}
        for which, values in scores.items():
            key = "seen" if which else "unseen"
            row |= {key: float(np.mean(values)) if values else None, f"{key}_n": len(values)}
        print(json.dumps(row))


if __name__ == "__main__":
    main()
