"""Prompts in the mark-up of a model: what stands around a context, a question and an answer."""

from typing import Any, cast

from fullcontext.compose import ConfigError
from fullcontext.config import Chat, DataConfig, QuestionPosition


def around_context(config: DataConfig, chat: Chat, tokenizer: Any) -> tuple[str, str]:
    """What stands before and after the context, by the position of the question."""
    after = render(config.prompt, chat, tokenizer).split("{context}")
    if config.question_position is QuestionPosition.after:
        return after[0], after[1]
    before = render(config.prompt_before, chat, tokenizer).split("{context}")
    tail = before if config.question_position is QuestionPosition.before else after
    return before[0], tail[1]


def around_text(chat: Chat, tokenizer: Any) -> tuple[str, str]:
    """What stands before and after all that the user says, up to where the answer begins."""
    before, _, after = render("{question}", chat, tokenizer).partition("{question}")
    return before, after


def around_answer(chat: Chat, tokenizer: Any) -> tuple[str, int]:
    """What stands before an answer, and the token that ends it, by the chat template's own word."""
    if chat is not Chat.template:
        return " ", tokenizer.eos_token_id
    turn = [{"role": "user", "content": "Q"}]
    asked = tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
    turn.append({"role": "assistant", "content": "{answer}"})
    full = tokenizer.apply_chat_template(turn, tokenize=False)
    before, _, after = full.partition("{answer}")
    space = before[len(asked) :] if before.startswith(asked) else ""
    ends = tokenizer(after, add_special_tokens=False)["input_ids"]
    return space, ends[0] if ends and ends[
        0
    ] in tokenizer.all_special_ids else tokenizer.eos_token_id


def render(content: str, chat: Chat, tokenizer: Any) -> str:
    match chat:
        case Chat.none:
            return content
        case Chat.inst:
            return f"[INST] {content} [/INST]"
        case Chat.template:
            if not tokenizer.chat_template:
                raise ConfigError(
                    "model.chat=template, but the tokenizer has no chat template;"
                    " set model.chat=inst or model.chat=none"
                )
            turn = [{"role": "user", "content": content}]
            text = tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
            if text.count("{question}") != 1:
                raise ConfigError("the chat template changes the user's text; set model.chat=none")
            return cast(str, text)
