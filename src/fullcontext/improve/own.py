"""Problems out of questions of our own: those of a store, or dictionaries of keys and values."""

from collections import Counter
from dataclasses import replace

from fullcontext.compose import ConfigError
from fullcontext.config import Chat, ImproveConfig, OwnPrompts
from fullcontext.data import manifest, reader
from fullcontext.data.mixture import Mixture
from fullcontext.data.tokens import Prompt
from fullcontext.improve import prompting, squad
from fullcontext.improve.problems import Problem, problem


def problems(
    config: ImproveConfig, prompt: Prompt, number: int, dropped: Counter[str]
) -> list[Problem]:
    """The problems of round `number`, from 0: examples of the mixture that no other round has.

    Raises ConfigError if there is no store.
    """
    tokenizer = prompt.encoder.tokenizer
    asked = prompting.asked("{question}", config.prompts.prompting)
    assert isinstance(config.prompts, OwnPrompts)
    kinds = {k: config.data.mixture[k] for k in config.data.kinds if k in config.prompts.kinds}
    data = replace(
        config.data, mixture={k: share / sum(kinds.values()) for k, share in kinds.items()},
        questions_per_context=1, curriculum=[], limit=None,
        prompt=config.data.prompt.replace("{question}", asked),
    )  # fmt: skip
    store = None
    if data.needs_store:
        store = reader.open_store(config, manifest.tokenizer_hash(prompt.encoder))
    # Without mark-up: what is kept is what the user says.
    mixture = Mixture(
        data, Prompt(data, Chat.none, prompt.encoder), store, config.seed, config.prompts.number
    )
    made = []
    first = number * config.prompts.number
    for index in range(first, first + config.prompts.number):
        example = mixture.example(index)
        (question,) = example.asked
        gold = tokenizer.decode(question.answer, skip_special_tokens=True).strip()
        if not squad.usable([gold]):
            dropped["gold answer is empty once articles and signs go"] += 1
            continue
        before, after = (
            tokenizer.decode(ids, skip_special_tokens=True)
            for ids in (example.context, question.prompt)
        )
        if not before.endswith("\n"):
            raise ConfigError(
                f"data={data.name}: the context of example {index} does not end in a newline once"
                " it is text again; choose another tokenizer or data.prompt"
            )
        made.append(
            problem(f"{question.kind}-{index}", question.source, before, after, [gold], prompt)
        )
    return made
