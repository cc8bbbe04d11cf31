"""The table of devices (conf/hardware/), and which of them a run is planned for."""

import re
from dataclasses import fields, replace
from functools import cache
from pathlib import Path

from fullcontext.compose import ROOT, read_yaml
from fullcontext.config import HardwareConfig

AUTO = "auto"
CPU = "cpu"
DRIVER = Path("/proc/driver/nvidia/gpus")


@cache
def table() -> dict[str, HardwareConfig]:
    """Name -> what is known of a device."""
    files = sorted((ROOT / "conf" / "hardware").glob("*.yaml"))
    return {f.stem: read_yaml(f, HardwareConfig) for f in files if f.stem != AUTO}


def of_device(name: str) -> HardwareConfig | None:
    """The entry of a device by the name that its driver gives it; None if there is none."""
    entries = (entry for entry in table().values() if entry.devices)
    return next((e for e in entries if re.search(e.devices or "", name)), None)


def settled(given: HardwareConfig, profile: str | None = None) -> HardwareConfig:
    """The device to plan for: as given, or of the SLURM profile, or this machine's.

    With `hardware=auto`, what is set beside it replaces the table's.
    """
    if given.name != AUTO:
        return given
    found = _of_profile(profile) or this_machine()
    usual = HardwareConfig()
    changed = {
        field.name: getattr(given, field.name)
        for field in fields(given)
        if getattr(given, field.name) != getattr(usual, field.name)
    }
    return replace(found, **changed)


def _of_profile(profile: str | None) -> HardwareConfig | None:
    """a100x128 -> a100: the longest name that the profile's begins with."""
    fitting = [name for name in table() if (profile or "").startswith(name)]
    return table()[max(fitting, key=len)] if fitting else None


def this_machine() -> HardwareConfig:
    """The first GPU of this machine; where none is visible, a CPU process."""
    for file in sorted(DRIVER.glob("*/information")):
        model = re.search(r"^Model:\s*(.+)$", file.read_text(), re.MULTILINE)
        if model:
            return of_device(model[1]) or HardwareConfig(name=model[1])
    return table()[CPU]
