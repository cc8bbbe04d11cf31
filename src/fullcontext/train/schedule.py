"""The learning rate as a pure function of the step."""

import math

from fullcontext.config import Decay, ScheduleConfig


def learning_rate(config: ScheduleConfig, step: int, steps: int) -> float:
    """Rate of step `step` (0 is the first) of `steps`.

    Linear from peak/w to the peak in the w = ceil(warmup_ratio * steps) first steps, then along
    the decay towards `floor_ratio` of the peak, which a step `steps` would reach; in between it
    stays at the peak for `hold_ratio` of the steps.
    """
    warmup = math.ceil(config.warmup_ratio * steps)
    if step < warmup:
        return config.peak * (step + 1) / warmup
    held = warmup + math.ceil(config.hold_ratio * steps)
    if step < held:
        return config.peak
    done = (step - held) / max(1, steps - held)
    match config.decay:
        case Decay.cosine:
            share = 0.5 * (1 + math.cos(math.pi * done))
        case Decay.linear:
            share = 1 - done
        case Decay.constant:
            return config.peak
    return config.peak * (config.floor_ratio + (1 - config.floor_ratio) * share)
