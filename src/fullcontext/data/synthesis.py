"""synthesize.py: a store of segments and questions, resumable, done when it has a manifest."""

import sys
from pathlib import Path

from fullcontext.compose import ConfigError, RunInfo
from fullcontext.config import Filler, SynthesizeConfig
from fullcontext.data import card, decontaminate, estimate, exchange, manifest, neighbours
from fullcontext.data.making import Maker, Stopped
from fullcontext.data.tokens import Encoder
from fullcontext.launch import STOPPED, StopFlag
from fullcontext.model import tokenizer
from fullcontext.store import locked

_WAIT_S = 60.0
"""The last part waits so long for the others to let go of the folder."""


def run(config: SynthesizeConfig, info: RunInfo | None = None) -> Path:
    """Writes the store, or goes on where a killed process stopped. Returns its folder.

    Raises SystemExit(75) when a signal asked it to stop: everything replied so far is kept.
    """
    if not config.data.needs_store:
        raise ConfigError(
            f"data={config.data.name} needs no store: its examples are made on the fly; go on with"
            f" python train.py data={config.data.name}"
        )
    folder = manifest.store_path(config)
    if config.load:
        exchange.load(config.load, folder)
        _say(f"loaded {config.load} into {folder}")
    elif not _made(config, folder):
        return folder
    if config.data.filler is Filler.hard:
        neighbours.write(folder, config.data)
        _say(f"{folder} has BM25 neighbours for data.filler=hard")
    if config.export:
        content = manifest.read(folder)
        assert content is not None
        exchange.export(folder, Path(config.export), card.text(content))
        _say(f"wrote the data set {config.export}")
    return folder


def _made(config: SynthesizeConfig, folder: Path) -> bool:
    """Makes the store, or this process's part of it; whether it is finished."""
    encoder = Encoder(tokenizer.load(config.model))
    sets = config.filters.decontaminate
    index = decontaminate.load(sets, config.filters.ngram) if sets else None
    wanted = manifest.settings(config, encoder, index.fingerprint if index else None)
    if config.estimate:
        _say(estimate.table(config, encoder, index))
        return False
    try:
        with StopFlag().listening() as stop:
            maker = Maker(config, folder, encoder, index, wanted, stop)
            if config.parts == 1:
                with locked(folder / ".lock", "writing"):
                    return _whole(maker)
            return _part(maker)
    except Stopped as stopped:
        _say(f"stopped by {stopped}; everything so far is kept: run the same command to go on")
        raise SystemExit(STOPPED) from None


def _whole(maker: Maker) -> bool:
    found = manifest.read(maker.folder)
    if found is None:
        maker.whole()
        return True
    manifest.refuse_other(maker.folder, found["settings"], maker.wanted)
    manifest.refuse_damaged(maker.folder, found)
    _say(f"{maker.folder} is complete: nothing to do.\n{manifest.describe(found)}")
    return True


def _part(maker: Maker) -> bool:
    """One part beside others; the last to end joins what all have made."""
    config, folder = maker.config, maker.folder
    with (
        locked(folder / ".lock", "writing the whole of", shared=True),
        locked(folder / f".part-{config.part}-of-{config.parts}", f"making part {config.part} of"),
    ):
        if manifest.read(folder) is None:
            maker.part()
    lacking = maker.unfinished()
    if lacking:
        _say(
            f"part {config.part} of {config.parts} is done; the last of the parts"
            f" {', '.join(map(str, lacking))} writes {folder}"
        )
        return False
    with locked(folder / ".lock", "writing", wait_s=_WAIT_S):
        return _whole(maker)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
