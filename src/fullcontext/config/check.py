"""The refusals shared by all settings: each names the key, the value and the remedy."""

from collections.abc import Mapping


def within(key: str, value: float | None, low: float, high: float = float("inf")) -> None:
    """Refuses a number outside [low, high]; None means unset and passes."""
    if value is not None and not low <= value <= high:
        wanted = f"at least {low:g}" if high == float("inf") else f"in [{low:g}, {high:g}]"
        raise ValueError(f"{key}={value} is out of range; set it to a value {wanted}")


def above(key: str, value: float | None, low: float) -> None:
    """Refuses a number that is not greater than `low`; None means unset and passes."""
    if value is not None and not value > low:
        raise ValueError(f"{key}={value} is out of range; set it to a value above {low:g}")


def ratios(key: str, mixture: Mapping[str, float]) -> None:
    """Refuses ratios that are negative or do not sum to 1."""
    for name, ratio in mixture.items():
        within(f"{key}.{name}", ratio, 0, 1)
        if 0 < ratio < 1e-4:
            raise ValueError(f"{key}.{name}={ratio} is below 0.0001 and would never be drawn")
    total = sum(mixture.values())
    if abs(total - 1) > 1e-6:
        parts = ", ".join(f"{name}={ratio:g}" for name, ratio in mixture.items())
        raise ValueError(
            f"{key} sums to {total:.4g}, not 1 ({parts}); change the ratios so that they sum to 1"
        )


def one_of(key: str, value: str, allowed: tuple[str, ...]) -> None:
    """Refuses a name that is not in `allowed`."""
    if value not in allowed:
        raise ValueError(f"{key}={value!r} is unknown; choose from {', '.join(allowed)}")
