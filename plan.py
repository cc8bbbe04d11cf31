"""Says what a run or a sweep takes, launching nothing: python plan.py experiments=demo.

`python plan.py adapt experiments=lift_llama8b` does so for adapt.py.
"""

import sys

import hydra
from omegaconf import DictConfig

from fullcontext import compose, entry

compose.register()
PRINTED = ("--cfg", "-c", "--help", "--hydra-help", "--info", "-i", "--version")


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(cfg: DictConfig) -> None:
    """Only for what Hydra prints itself (--cfg job, --help): the settings are train.py's."""


def plan(words: list[str]) -> None:
    if words[:1] == ["adapt"]:
        from fullcontext.plan import adaptation

        adaptation.run(words[1:])
        return
    from fullcontext.plan.run import run

    run(words)


if __name__ == "__main__":
    printed = any(word.split("=")[0] in PRINTED for word in sys.argv[1:])
    entry.launch(main if printed else lambda: None, first=None if printed else plan)
