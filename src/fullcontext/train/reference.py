"""Log-probabilities of all answers under the model that training starts from, for DPO.

They are computed once, by the ranks and in the layout of the run, before its first step, and kept:
beside the pairs where the weights have a name, so that other runs from the same weights find them;
else in the run folder. A resumed run reads them: by then its weights have moved.
"""

import json
import logging
from collections.abc import Sequence
from pathlib import Path

import torch

from fullcontext import launch
from fullcontext.compose import plain
from fullcontext.config import TrainConfig
from fullcontext.data.packing import pack, plan
from fullcontext.data.pairs import Pairs
from fullcontext.objective import pairs as values
from fullcontext.objective.batch import token_nll
from fullcontext.objective.dpo import Dpo
from fullcontext.records import Example
from fullcontext.store import fingerprint, read_lines, write_aside
from fullcontext.train.loop import Loop

log = logging.getLogger("fullcontext")

CHUNK = 64
"""Pairs that are planned at once."""


def attach(loop: Loop, folder: Path) -> None:
    """Gives the pairs of a DPO run their references; does nothing for other objectives.

    The loop has to hold the initial weights. Every rank has to call this.
    """
    pairs = loop.mixture.pairs
    if not isinstance(loop.objective, Dpo) or pairs is None:
        return
    path = place(loop.config, pairs, folder)
    launch.barrier()
    found = {line["id"]: (line["chosen"], line["rejected"]) for line in read_lines(path)}
    # Every rank has to take part or none, whatever a slow file system shows to each.
    if launch.sum_floats([float(len(found) < len(pairs))])[0]:
        log.info("reference log-probabilities of %s pairs", f"{len(pairs):,}")
        found = {}
        for start in range(0, len(pairs), CHUNK):
            stop = min(len(pairs), start + CHUNK)
            found |= measure(loop, [pairs.example(at, at) for at in range(start, stop)])
        if launch.place().rank == 0:
            lines = ({"id": id, "chosen": c, "rejected": r} for id, (c, r) in found.items())
            write_aside(path, "".join(json.dumps(line) + "\n" for line in lines))
        launch.barrier()
    pairs.references = found


def place(config: TrainConfig, pairs: Pairs, folder: Path) -> Path:
    """Where the references of a run stand."""
    from fullcontext.llm.local import weights_id
    from fullcontext.train.preparation import is_export

    source = Path(config.init or config.model.path or "")
    exported = next((each for each in (source / "export", source) if is_export(each)), None)
    if exported is None:
        return folder / "reference.jsonl"
    named = {
        "weights": weights_id(str(exported), None),
        "positions": plain(config.positions),
        "precision": config.precision.value,
        "quantize": config.adapter.quantize.value,
        "chat": config.model.chat.value,
        "pairs": pairs.whole,
    }
    return pairs.folder / f"reference-{fingerprint(named)}.jsonl"


@torch.no_grad()
def measure(loop: Loop, examples: Sequence[Example]) -> dict[str, tuple[float, float]]:
    """Id of each pair -> log-probability of its chosen and its rejected answer.

    Examples are shared among the ranks as in a step; all get all. Every rank has to call this.
    """
    plans = plan(examples, loop.config.row_tokens, loop.share.number, loop.price)
    own: dict[str, tuple[float, float]] = {}
    for micro in plans[loop.share.index]:
        # A rank without examples takes part in the collectives all the same.
        given = [examples[i] for i in micro] or [min(examples, key=lambda each: each.tokens)]
        batch = loop.objective.batch(pack(given), loop.device, loop.share.exchange)
        with loop.autocast():
            nll = token_nll(loop.model, batch)
        logp = values.answer_logp(nll.float(), batch).tolist()
        for number, example in enumerate(given):
            own[example.asked[0].id] = (logp[2 * number], logp[2 * number + 1])
    found: dict[str, tuple[float, float]] = {}
    for part in launch.gather(own):
        found |= {id: (chosen, rejected) for id, (chosen, rejected) in part.items()}
    return {each.asked[0].id: found[each.asked[0].id] for each in examples}
