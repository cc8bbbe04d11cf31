"""A transformers model with fp32 weights and block attention, from a config or from a folder."""

from pathlib import Path
from typing import Any

import torch

from fullcontext.compose import ConfigError
from fullcontext.config import ArchitectureConfig, ModelConfig, PositionsConfig
from fullcontext.model import attention, hub, kernels
from fullcontext.randomness import torch_seed


def load(
    config: ModelConfig,
    positions: PositionsConfig,
    seed: int = 0,
    weights: Path | None = None,
    backend: str = attention.NAME,
) -> Any:
    """The model, in fp32: master weights, since an update of 1e-6 is lost in bf16.

    `weights` is a folder in Hugging Face format that replaces `config.path` (an export), `backend`
    what reads the block tables. Raises ConfigError if the weights are not there, this machine
    lacks the backend, the backend what the model's attention does, or it has dropout.
    """
    attention.register()
    kernels.register(backend)
    source = str(weights) if weights else config.path
    model = _pretrained(source, config, positions) if source else _built(config, positions, seed)
    model.set_attn_implementation(backend)
    if backend != attention.NAME and _is_limited(model):
        raise ConfigError(
            f"model {config.name} has a sliding window or capped scores, which attention={backend}"
            " does not do; choose attention=blocks"
        )
    _refuse_dropout(model, config.name)
    model.config.use_cache = False
    return model


def _refuse_dropout(model: Any, name: str) -> None:
    """Its draws would depend on how a batch is cut, so that no two layouts would agree."""
    found = {key for key, value in model.config.to_dict().items() if "dropout" in key and value}
    found |= {n for n, m in model.named_modules() if isinstance(m, torch.nn.Dropout) and m.p > 0}
    if found:
        raise ConfigError(
            f"model {name} drops activations out ({', '.join(sorted(found))}), which makes the"
            " gradient depend on the layout; set that to 0 in its config.json"
        )


def _is_limited(model: Any) -> bool:
    window = any(getattr(module, "sliding_window", None) for module in model.modules())
    configured = getattr(model.config, "sliding_window", None)
    if configured and not hasattr(model.config, "layer_types"):
        window = window or getattr(model.config, "use_sliding_window", True)
    return window or getattr(model.config, "attn_logit_softcapping", None) is not None


def _pretrained(source: str, config: ModelConfig, positions: PositionsConfig) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    options = {
        "trust_remote_code": config.trust_remote_code,
        "local_files_only": not hub.answers(),
    }
    try:
        settings = AutoConfig.from_pretrained(source, **options)
        _set(settings, positions, settings.max_position_embeddings)
        return AutoModelForCausalLM.from_pretrained(
            source,
            config=settings,
            dtype=torch.float32,
            attn_implementation=attention.NAME,
            use_safetensors=True,
            **options,
        )
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"the weights model.path={source!r} cannot be loaded ({str(error).splitlines()[0]});"
            " give a local folder in Hugging Face format with safetensors (model.path=FOLDER),"
            " connect to the hub, or use model=tiny"
        ) from error


def _built(config: ModelConfig, positions: PositionsConfig, seed: int) -> Any:
    from transformers import MistralForCausalLM

    settings = mistral_config(config.architecture)
    stretched = config.architecture.max_positions
    _set(settings, positions, round(stretched / (positions.yarn_factor or 1)))
    settings._attn_implementation = attention.NAME
    state = torch.random.get_rng_state()
    torch.manual_seed(torch_seed(seed, "initial weights"))
    model = MistralForCausalLM(settings).float()
    torch.random.set_rng_state(state)
    return model


def mistral_config(sizes: ArchitectureConfig) -> Any:
    """transformers' config of a Mistral-shaped model."""
    from transformers import MistralConfig

    return MistralConfig(
        vocab_size=sizes.vocab_size,
        hidden_size=sizes.hidden_size,
        intermediate_size=sizes.intermediate_size,
        num_hidden_layers=sizes.num_layers,
        num_attention_heads=sizes.num_heads,
        num_key_value_heads=sizes.num_kv_heads,
        head_dim=sizes.head_dim,
        max_position_embeddings=sizes.max_positions,
        rope_parameters={"rope_type": "default", "rope_theta": sizes.rope_theta},
        initializer_range=sizes.initializer_range,
        tie_word_embeddings=sizes.tie_embeddings,
        sliding_window=None,
        bos_token_id=1,
        eos_token_id=2,
    )


def _set(settings: Any, positions: PositionsConfig, original: int) -> None:
    """Writes `positions` into a transformers config; the model was made for `original` of them."""
    if positions.rope_theta is not None:
        settings.rope_parameters = {**settings.rope_parameters, "rope_theta": positions.rope_theta}
    if positions.yarn_factor is not None:
        settings.rope_parameters = {
            **settings.rope_parameters,
            "rope_type": "yarn",
            "factor": positions.yarn_factor,
            "original_max_position_embeddings": original,
        }
        settings.max_position_embeddings = round(original * positions.yarn_factor)
    if positions.sliding_window is not None:
        settings.sliding_window = positions.sliding_window
