"""Examples are pure functions of (seed, id), hold their evidence, and keep their length."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fullcontext.compose import ConfigError
from fullcontext.config import Placement
from fullcontext.data import manifest, reader, synthesis
from fullcontext.data.mixture import Mixture
from fullcontext.data.tokens import Encoder, Prompt
from fullcontext.model import tokenizer

SMALL = ["experiments=demo", "corpus.max_documents=14", "data.examples.fine_grained=300",
         "data.examples.integration=80", "data.examples.short_context=80",
         "data.examples.instruction=80"]  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory, train_config):
    """A config, its encoder and a store made once."""
    from fullcontext.compose import compose_verb

    folder = tmp_path_factory.mktemp("store")
    overrides = [*SMALL[1:], "corpus=sotu", "data=in2_laptop", "model=tiny", f"data.store={folder}"]
    synthesis.run(compose_verb("synthesize", overrides), None)
    config = train_config(*SMALL, f"data.store={folder}")
    return config, Encoder(tokenizer.load(config.model))


def mixture(made, *, seed: int = 0, store: bool = True, **changes: object) -> Mixture:
    config, encoder = made
    data = replace(config.data, **changes)
    opened = reader.open_store(config, manifest.tokenizer_hash(encoder)) if store else None
    return Mixture(data, Prompt(data, config.model.chat, encoder), opened, seed, 16)


def test_an_example_depends_on_seed_and_id_alone(made) -> None:
    a, b = mixture(made), mixture(made)
    later = b.batch(3)
    for one, two in zip(a.batch(3), later, strict=True):
        assert np.array_equal(one.context, two.context)
    assert any(
        not np.array_equal(x.context, y.context)
        for x, y in zip(mixture(made, seed=1).batch(3), later, strict=True)
    )


def test_examples_are_their_text_tokenised(made) -> None:
    tok = made[1].tokenizer
    for example in mixture(made).batch(0):
        asked = example.asked[0]
        ids = np.concatenate([example.context, asked.prompt, asked.answer])
        assert tok(tok.decode(ids[1:-1]))["input_ids"] == ids[:-1].tolist()


def test_the_evidence_is_in_the_context_and_the_answer_in_the_evidence(made) -> None:
    drawn = mixture(made)
    store = drawn.assembler.store
    for index in range(60):
        kind, place = drawn.sampler.pick(index)
        context = made[1].tokenizer.decode(drawn.example(index).context)
        for number in store.stored(kind, place).evidence:
            assert store.segments.text(number) in context
        if kind == "instruction":
            assert context == ""


def test_lengths_are_uniform_and_kept(made) -> None:
    drawn = mixture(made)
    for index in range(200):
        example = drawn.example(index)
        if example.requested and "context longer" not in " ".join(example.notes):
            assert example.requested - 10 <= example.tokens <= example.requested
        assert example.tokens <= 1536


@pytest.mark.parametrize(
    ("placement", "low", "high"), [("head", 0, 0.13), ("tail", 0.87, 1), ("middle", 0.35, 0.65)]
)
def test_placements_put_the_evidence_where_they_say(made, placement, low, high) -> None:
    drawn = mixture(made, placement=Placement(placement), context_range=[1400, 1536])
    depths = [
        example.asked[0].depth
        for example in (drawn.example(i) for i in range(60))
        if example.asked[0].kind == "fine_grained"
    ]
    assert len(depths) > 20 and all(low <= depth <= high for depth in depths)


def test_a_corpus_too_small_for_the_contexts_is_refused(made) -> None:
    drawn = mixture(made, context_range=[1 << 20, 1 << 20])
    with pytest.raises(ConfigError, match="too small for contexts of 1048576"):
        drawn.example(0)


def test_evidence_that_fits_no_context_is_counted(made) -> None:
    with pytest.raises(ConfigError, match=r"integration.*drop_oversized"):
        mixture(made, context_range=[512, 700])
    left = mixture(made, context_range=[512, 700], drop_oversized=True).left_out
    assert left["integration: evidence longer than any context, left out"] > 0


def test_a_store_of_other_settings_is_refused_with_the_command(
    made, train_config, tmp_path
) -> None:
    config, encoder = made
    other = train_config(*SMALL, f"data.store={config.data.store}", "data.segment_size=64")
    with pytest.raises(ConfigError, match=r"segment_size: 128 there, 64 here.*synthesize.py"):
        reader.open_store(other, manifest.tokenizer_hash(encoder))
    with pytest.raises(ConfigError, match="tokenizer_hash"):
        reader.open_store(config, "other")
    missing = train_config(*SMALL, f"data.store={tmp_path / 'none'}")
    with pytest.raises(ConfigError, match=r"does not exist; make it: python synthesize\.py"):
        reader.open_store(missing, "")


def test_a_truncated_shard_is_named(made, tmp_path, train_config) -> None:
    import shutil

    config, encoder = made
    folder = shutil.copytree(config.data.store, tmp_path / "cut")
    shard = next(Path(folder).glob("segments-*.arrow"))
    shard.write_bytes(shard.read_bytes()[:-2000])
    with pytest.raises(ConfigError, match=r"segments-00000\.arrow is not as it was"):
        reader.open_store(
            train_config(*SMALL, f"data.store={folder}"), manifest.tokenizer_hash(encoder)
        )


def test_stores_are_read_by_datasets_and_pandas(made) -> None:
    import datasets
    import pandas

    shard = next(Path(made[0].data.store).glob("questions-*.arrow"))
    frame = pandas.read_feather(shard)
    assert set(frame["kind"]) <= {"fine_grained", "integration", "short_context", "instruction"}
    rows = datasets.load_dataset(
        "arrow", data_files=str(shard), split="train", cache_dir=str(shard.parent / "cache")
    )
    assert rows[0]["question"] == frame["question"][0]


def test_stratified_depths_are_even_within_every_kind(made) -> None:
    """The sampler is periodic: bins by example id would give each kind bins of its own."""
    config = type(made[0].data)(
        **{**vars(made[0].data), "placement": Placement.stratified, "depth_bins": 4}
        | {"mixture": {"fine_grained": 0.5, "integration": 0.5}, "context_range": [1400, 1536]}
    )
    encoder = made[1]
    store = reader.open_store(made[0], manifest.tokenizer_hash(encoder))
    drawn = Mixture(config, Prompt(config, made[0].model.chat, encoder), store, 0, 16)
    bins = Counter(
        int(4 * example.asked[0].depth)
        for example in (drawn.example(i) for i in range(160))
        if example.asked[0].kind == "fine_grained"
    )
    assert min(bins[b] for b in range(4)) > 10, bins


def test_a_changed_shard_is_refused(made, tmp_path, train_config) -> None:
    import shutil

    folder = Path(shutil.copytree(made[0].data.store, tmp_path / "flipped"))
    shard = folder / "segments-00000.arrow"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 255
    shard.write_bytes(content)
    config = train_config(*SMALL, f"data.store={folder}")
    with pytest.raises(ConfigError, match=r"damaged: segments-00000\.arrow is not as it was"):
        reader.open_store(config, manifest.tokenizer_hash(made[1]))
