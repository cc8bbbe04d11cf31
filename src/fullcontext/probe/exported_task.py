"""A probe that fullcontext wrote, as a task of lm-eval: `lm-eval run --include_path FOLDER`."""

from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from lm_eval.api.task import ConfigurableTask


def _beside(name: str) -> Any:
    """The module in the file of this folder: it is on no search path."""
    path = Path(__file__).with_name(f"{name}.py")
    spec = spec_from_file_location(str(path.with_suffix("")), path)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


utils = _beside("utils")


class Probe(ConfigurableTask):
    """Asks in the mark-up of the probed model, or in a chat template where one is applied."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config={key: value for key, value in config.items() if key != "class"})

    def fewshot_context(  # noqa: PLR0913, PLR0917 - the signature is lm-eval's
        self,
        doc: dict[str, Any],
        num_fewshot: int = 0,
        system_instruction: str | None = None,
        apply_chat_template: bool = False,
        fewshot_as_multiturn: bool = False,
        chat_template: Callable[..., Any] | None = None,
        gen_prefix: str | None = None,
    ) -> Any:
        """The prompt. A probe has no worked examples: --num_fewshot changes nothing."""
        if not (apply_chat_template and chat_template):
            return (system_instruction or "") + utils.prompt(doc)
        turns = [{"role": "system", "content": system_instruction}] if system_instruction else []
        turns.append({"role": "user", "content": utils.content(doc)})
        return chat_template(turns, add_generation_prompt=True)
