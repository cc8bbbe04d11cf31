"""What is known of a device is in one table, by the name its driver gives it."""

import pytest

from fullcontext.plan import hardware


@pytest.mark.parametrize(
    ("device", "peak"),
    [
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA H100 80GB HBM3", 989.4e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H200", 989.4e12),
        ("NVIDIA RTX A1000", None),
        ("cpu", None),
    ],
)
def test_the_peak_of_a_device_is_known_or_not_claimed(device: str, peak: float | None) -> None:
    found = hardware.of_device(device)
    assert (found.peak_flops if found else None) == peak
