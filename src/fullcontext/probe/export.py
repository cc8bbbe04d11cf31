"""Built probes as a folder of tasks for lm-evaluation-harness, which runs them without fullcontext.

FOLDER/fullcontext.yaml  fullcontext_<task>.yaml    the group and its tasks
FOLDER/<task>.jsonl      <task>_contexts.json       questions; contexts and their gold answers
FOLDER/utils.py  task.py  README.md                 both scores, the prompt, how to run it
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fullcontext.config import ProbeConfig
from fullcontext.data.tokens import Prompt
from fullcontext.probe.contexts import ProbeContext
from fullcontext.store import write_aside

GROUP = "fullcontext"
_VERSION = 1.0


def write(
    asked: dict[str, list[ProbeContext]], prompt: Prompt, config: ProbeConfig, folder: Path
) -> None:
    """Writes every question as a task of lm-eval; an export that is there is replaced.

    The tasks ask what probe.py asks, in the same mark-up, or in the model's chat template with
    `--apply_chat_template`. README.md says whether the prompts' text gives the ids of the probe.
    """
    here = Path(__file__).parent
    for old in folder.glob(f"{GROUP}*.yaml"):
        old.unlink()
    write_aside(folder / "utils.py", (here / "exported_scores.py").read_text("utf-8"))
    write_aside(folder / "task.py", (here / "exported_task.py").read_text("utf-8"))
    for task, sets in asked.items():
        rows = (json.dumps(row, ensure_ascii=False) + "\n" for row in _rows(sets, prompt))
        write_aside(folder / f"{task}.jsonl", "".join(rows))
        shared = json.dumps(_contexts(sets, prompt), ensure_ascii=False)
        write_aside(folder / f"{task}_contexts.json", shared)
        write_aside(folder / f"{GROUP}_{task}.yaml", _task(task, config, prompt))
    write_aside(folder / "README.md", _readme(asked, prompt, folder))
    write_aside(folder / f"{GROUP}.yaml", _group(list(asked)))


def _rows(sets: Sequence[ProbeContext], prompt: Prompt) -> Iterator[dict[str, Any]]:
    for each in sets:
        for query in each.queries:
            before, after = prompt.around(query.question)
            said_before, said_after = prompt.around(query.question, bare=True)
            yield {
                "task": each.task,
                "set": each.set,
                "position": query.position,
                "items": len(each.items),
                "length": each.length,
                "depth": query.depth,
                "distance": query.distance,
                "question": query.question,
                "gold": query.gold,
                "context": _name(each),
                "prompt_before": before,
                "prompt_after": after,
                "content_before": said_before,
                "content_after": said_after,
            }


def _contexts(sets: Sequence[ProbeContext], prompt: Prompt) -> dict[str, dict[str, Any]]:
    """Contexts that differ in the head alone, where it holds the question, are one."""
    found: dict[str, dict[str, Any]] = {}
    for each in sets:
        text = prompt.separator.join(item.text for item in each.items)
        shared = found.setdefault(_name(each), {"text": text, "golds": []})
        shared["golds"] += each.golds
    return found


def _name(each: ProbeContext) -> str:
    return f"{each.length}-{each.set}"


def _task(task: str, config: ProbeConfig, prompt: Prompt) -> str:
    end = prompt.encoder.tokenizer.decode([prompt.end_token])
    return f"""\
task: {GROUP}_{task}
class: !function task.Probe
custom_dataset: !function utils.documents
output_type: generate_until
test_split: test
doc_to_text: !function utils.prompt
doc_to_target: gold
process_results: !function utils.process_results
num_fewshot: 0
generation_kwargs:
  until: [{json.dumps(end)}]
  do_sample: false
  max_gen_toks: {config.max_new_tokens}
metric_list:
  - {{metric: film, aggregation: mean, higher_is_better: true}}
  - {{metric: strict, aggregation: mean, higher_is_better: true}}
metadata: {{version: {_VERSION}, probe: {task}}}
"""


def _group(tasks: Sequence[str]) -> str:
    names = ", ".join(f"{GROUP}_{task}" for task in tasks)
    return f"""\
group: {GROUP}
task: [{names}]
aggregate_metric_list:
  - {{metric: film, weight_by_size: false}}
  - {{metric: strict, weight_by_size: false}}
metadata: {{version: {_VERSION}}}
"""


def _readme(asked: dict[str, list[ProbeContext]], prompt: Prompt, folder: Path) -> str:
    counts = {task: sum(len(each.queries) for each in sets) for task, sets in asked.items()}
    listed = "\n".join(f"- `{GROUP}_{task}`: {n} questions" for task, n in counts.items())
    differ = sum(not _is_same(each, prompt) for sets in asked.values() for each in sets)
    total = sum(len(sets) for sets in asked.values())
    same = (
        "The prompts' text gives the token ids that fullcontext asks with."
        if not differ
        else f"In {differ} of {total} contexts the text tokenises differently from fullcontext's"
        " ids: scores may differ a little."
    )
    return f"""\
# Position probes

Written by fullcontext's probe.py. Run them with lm-evaluation-harness alone:

    lm-eval run --include_path {folder.name} --tasks {GROUP} --log_samples --output_path OUT \\
        --model hf --model_args pretrained=MODEL

{listed}

Without a flag the prompts have the mark-up of the model they were built for; with
`--apply_chat_template` they are put into the template of the evaluated model. {same}
Each document has `position`, `set`, `length` and `depth` (0-1; `distance` where two items are
asked for): group the samples by them. Questions of one set share a context and are not independent.
Left-truncated prompts make a false curve: give the model room for {_longest(asked)} tokens.
"""


def _longest(asked: dict[str, list[ProbeContext]]) -> int:
    return max(each.length for sets in asked.values() for each in sets)


def _is_same(each: ProbeContext, prompt: Prompt) -> bool:
    """Whether lm-eval's tokens of the first question are those of the probe."""
    before, after = prompt.around(each.queries[0].question)
    text = before + prompt.separator.join(item.text for item in each.items) + after
    tokenizer = prompt.encoder.tokenizer
    start = tokenizer.bos_token
    adds = {} if not start or not text.startswith(start) else {"add_special_tokens": False}
    ids = np.concatenate([each.example.context, each.example.asked[0].prompt])
    return bool(np.array_equal(tokenizer(text, **adds)["input_ids"], ids))
