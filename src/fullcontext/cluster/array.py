"""submitit's executor for SLURM, which also says what it would submit where there is no SLURM."""

import shlex
from pathlib import Path
from typing import Any

from submitit import SlurmExecutor


class ArrayExecutor(SlurmExecutor):
    """Jobs that import the code of a given folder."""

    @classmethod
    def affinity(cls) -> int:
        """Not asked whether there is a SLURM: that is seen when something is submitted."""
        return 2

    @classmethod
    def configured(cls, folder: str, params: dict[str, Any], source: Path) -> "ArrayExecutor":
        """With Hydra's names for the settings, those of hydra-submitit-launcher.

        Raises ConfigError if there are any that submitit does not know.
        """
        from fullcontext.compose import ConfigError

        kept = {k: v for k, v in params.items() if k not in ("submitit_folder", "max_num_timeout")}
        path = f"export PYTHONPATH={shlex.quote(str(source))}${{PYTHONPATH:+:$PYTHONPATH}}"
        kept["setup"] = [*kept.get("setup", []), path]
        executor = cls(folder, max_num_timeout=params["max_num_timeout"])
        try:
            executor.update_parameters(**executor._convert_parameters(kept))
        except ValueError as error:
            raise ConfigError(f"hydra.launcher: {str(error).splitlines()[0]}") from error
        return executor

    def text(self, number: int) -> str:
        """What sbatch is given for so many jobs: an array from two on."""
        if number > 1:
            self.parameters["map_count"] = number
        return str(self._make_submission_file_text(self._submitit_command_str, ""))
