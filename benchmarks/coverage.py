"""Do the statistics of report/ hold? python benchmarks/coverage.py [SAMPLES].

Simulated right and wrong answers: ten bins, five curves, 4 to 32 contexts, 20 to 200 items a bin
dealt to the contexts in turn. Noise is independent; or contexts differ in difficulty (0.7 in
logits); or they differ and each is harder in some bins than in others, too (0.5 in logits). The
truth is the mean over all contexts, by quadrature. Prints Markdown tables.
"""

import sys
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fullcontext.randomness import rng
from fullcontext.report.comparison import Sample, compare, holm
from fullcontext.report.crossfit import cross_fit
from fullcontext.report.moments import CONTRASTS, Counts, Floats, Moments, contrasts, ratio
from fullcontext.report.permutation import flat_gap
from fullcontext.report.statistics import estimate, gap

BINS = 10
CONTEXTS = (4, 8, 16, 32)
ITEMS = (20, 50, 200)
Curve = Callable[[Floats], Floats]
CURVES: dict[str, Curve] = {
    "flat 0.8": lambda depth: np.full(len(depth), 0.8),
    "flat 0.95": lambda depth: np.full(len(depth), 0.95),
    "U": lambda depth: 0.6 + 0.35 * (2 * depth - 1) ** 2,
    "primacy": lambda depth: 0.5 + 0.45 * np.exp(-5 * depth),
    "decline": lambda depth: 0.95 - 0.6 * depth,
}
CHANGE = CURVES["flat 0.8"], CURVES["primacy"]
"""Before and after, where two runs truly differ."""
say = sys.stdout.write


class Noise(NamedTuple):
    """Standard deviations in logits of a context, and of a bin of a context."""

    name: str
    context: float
    place: float


NOISE = (
    Noise("independent", 0.0, 0.0),
    Noise("contexts differ", 0.7, 0.0),
    Noise("and their bins", 0.7, 0.5),
)


class Design(NamedTuple):
    """Which questions are asked; arrays of shape (items,)."""

    depth: Floats
    place: Counts
    set_id: Counts
    contexts: int

    @classmethod
    def of(cls, contexts: int, items: int) -> "Design":
        place = np.repeat(np.arange(BINS), items)
        within = np.tile((np.arange(items) + 0.5) / items, BINS)
        return cls((place + within) / BINS, place, np.arange(len(place)) % contexts, contexts)

    def chance(self, curve: Curve, noise: Noise, random: np.random.Generator) -> Floats:
        """Of a right answer, with new contexts."""
        level = random.normal(0, 1, (self.contexts, 1)) * noise.context
        level = level + random.normal(0, 1, (self.contexts, BINS)) * noise.place
        return _squash(_logit(curve(self.depth)) + level[self.set_id, self.place])

    def truth(self, curve: Curve, noise: Noise) -> Floats:
        """Expected scores over all contexts, shape (items,)."""
        nodes, weights = np.polynomial.hermite_e.hermegauss(40)
        level = np.hypot(noise.context, noise.place) * nodes
        chances = _squash(_logit(curve(self.depth))[:, None] + level)
        return np.asarray(chances @ (weights / weights.sum()))

    def draw(self, curve: Curve, noise: Noise, random: np.random.Generator) -> Floats:
        return _toss(self.chance(curve, noise, random), random)


def _logit(p: Floats) -> Floats:
    return np.asarray(np.log(p / (1 - p)))


def _squash(x: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-x)))


def _toss(chance: Floats, random: np.random.Generator) -> Floats:
    return (random.random(len(chance)) < chance).astype(np.float64)


def _values(score: Floats, design: Design) -> tuple[dict[str, Floats], Floats]:
    total = Moments.of(score, design.depth, design.set_id, BINS).total
    return contrasts(total), ratio(total.bin_sum, total.bin_items)


def one_run(samples: int) -> None:
    """Coverage of contrasts and bins, and of the percentile bootstrap beside them."""
    say("\n### Intervals of one run: coverage in %, lowest to highest of the five curves\n\n")
    say("| contexts | items a bin | noise | " + " | ".join(CONTRASTS) + " | bins |")
    say(" bootstrap: avg | bootstrap: litm |\n|--:|--:|---|" + "--:|" * (len(CONTRASTS) + 3) + "\n")
    everything: list[Floats] = []
    for at, (contexts, items, noise) in enumerate(_grid()):
        design = Design.of(contexts, items)
        found = np.array(
            [
                _covered(design, curve, noise, samples, rng(0, "coverage", at, which))
                for which, curve in enumerate(CURVES.values())
            ]
        )
        everything.append(found)
        cells = [_range(column) for column in found.T]
        say(f"| {contexts} | {items} | {noise.name} | " + " | ".join(cells) + " |\n")
    mean = np.array(everything).mean(axis=(0, 1))
    inside = [np.array(everything)[:, :, at] for at in range(len(CONTRASTS))]
    share = np.mean([(each >= 0.93) & (each <= 0.97) for each in inside])
    say("| all | | | " + " | ".join(f"{100 * each:.1f}" for each in mean) + " |\n\n")
    say(f"{100 * share:.0f} % of the {len(everything) * 5 * 5} cells of contrasts are in 93-97")
    say(f" % (one cell's standard error is {100 * np.sqrt(0.05 * 0.95 / samples):.1f}).\n")


def _grid() -> list[tuple[int, int, Noise]]:
    return [(c, i, noise) for c in CONTEXTS for i in ITEMS for noise in NOISE]


def _range(values: Floats) -> str:
    return f"{100 * values.min():.1f}-{100 * values.max():.1f}"


def _covered(
    design: Design, curve: Curve, noise: Noise, samples: int, random: np.random.Generator
) -> Floats:
    """Shares of samples: CONTRASTS, mean of the bins, bootstrap of avg and litm."""
    truth, bins = _values(design.truth(curve, noise), design)
    hits = np.zeros(len(CONTRASTS) + 3)
    for _ in range(samples):
        score = design.draw(curve, noise, random)
        found = estimate(score, design.depth, design.set_id, BINS)
        inside = [
            each.low <= truth[key] + 1e-12 and truth[key] - 1e-12 <= each.high
            for key, each in found.contrasts.items()
        ]
        of_bins = (found.curve.low <= bins) & (bins <= found.curve.high)
        hits += [*inside, of_bins.mean(), *_bootstrap(score, design, truth, random)]
    return hits / samples


def _bootstrap(
    score: Floats, design: Design, truth: dict[str, Floats], random: np.random.Generator
) -> list[bool]:
    """Whether percentiles of a bootstrap by context cover avg and litm: what we do not use."""
    even = np.full(design.contexts, 1 / design.contexts)
    drawn = random.multinomial(design.contexts, even, 200).astype(np.float64)
    sample = contrasts(Moments.of(score, design.depth, design.set_id, BINS).weigh(drawn))
    inside = []
    for key in ("avg", "litm"):
        low, high = np.nanpercentile(sample[key], [2.5, 97.5])
        inside.append(bool(low <= truth[key] <= high))
    return inside


def two_runs(samples: int) -> None:
    """Coverage of differences, and how often tests see one between equal models."""
    say("\n### Two runs, paired: coverage of the difference (primacy curve minus flat 0.8) in %,")
    say("\nand false positives at 5 % of two equal models (U), Holm over 3 tasks x 5 contrasts\n\n")
    say("| contexts | items a bin | noise | " + " | ".join(CONTRASTS))
    say(" | t: avg | t: litm | swap: litm | McNemar | any, raw | any, Holm |\n")
    say("|--:|--:|---|" + "--:|" * (len(CONTRASTS) + 6) + "\n")
    for at, (contexts, items, noise) in enumerate(_grid()):
        design, random = Design.of(contexts, items), rng(0, "coverage of pairs", at)
        covered, false = np.zeros(len(CONTRASTS)), np.zeros(6)
        ends = [_values(design.truth(curve, noise), design)[0] for curve in CHANGE]
        truth = {key: ends[1][key] - ends[0][key] for key in CONTRASTS}
        for _ in range(samples):
            pair = _pair(design, CHANGE, noise, random)
            covered += [
                each.low <= truth[key] <= each.high
                for key, each in compare(*pair, BINS, 1, random).contrasts.items()
            ]
            false += _false_positives(design, noise, random)
        cells = [f"{100 * each:.1f}" for each in [*(covered / samples), *(false / samples)]]
        say(f"| {contexts} | {items} | {noise.name} | " + " | ".join(cells) + " |\n")


def _pair(
    design: Design, curves: tuple[Curve, Curve], noise: Noise, random: np.random.Generator
) -> tuple[Sample, Sample]:
    """Two models in the same contexts: half of what a context adds is common to both."""
    shared = int(random.integers(2**31))
    samples = []
    for curve in curves:
        own = design.chance(curve, noise, random)
        common = design.chance(curve, noise, np.random.default_rng(shared))
        middle = _logit(curve(design.depth))
        mixed = _squash(middle + (_logit(own) + _logit(common) - 2 * middle) / np.sqrt(2))
        rows = np.arange(len(own))
        score = _toss(mixed, random)
        samples.append(Sample(score, design.depth, design.set_id, rows, np.zeros_like(rows)))
    return samples[0], samples[1]


def _false_positives(design: Design, noise: Noise, random: np.random.Generator) -> list[bool]:
    curves = CURVES["U"], CURVES["U"]
    tasks = [
        compare(*_pair(design, curves, noise, random), BINS, 200 if one == 0 else 1, random)
        for one in range(3)
    ]
    first, raw = tasks[0], np.array([t.contrasts[k].p_value for t in tasks for k in CONTRASTS])
    assert first.mcnemar is not None
    p_values = [
        first.contrasts["avg"].p_value,
        first.contrasts["litm"].p_value,
        first.contrasts["litm"].swap_p,
        first.mcnemar.p_value,
        float(np.nanmin(raw)),
        float(np.nanmin(holm(raw))),
    ]
    return [p <= 0.05 for p in p_values]


def positions(samples: int) -> None:
    """How often a position effect is seen, and the gaps beside the truth."""
    say("\n### Tests of any position effect: % below 5 %; gaps in points\n\n")
    say("| contexts | items a bin | noise | curve | bins | items | gap |")
    say(" true gap | raw | of a flat model | cross-fit | cross-fit worst - true |\n")
    say("|--:|--:|---|---|" + "--:|" * 8 + "\n")
    for at, (contexts, items, noise) in enumerate(_grid()):
        if contexts == 32:
            continue
        design = Design.of(contexts, items)
        for which, name in enumerate(("flat 0.8", "U")):
            random = rng(0, "coverage of tests", at, which)
            _, bins = _values(design.truth(CURVES[name], noise), design)
            found = np.array([_effect(design, CURVES[name], noise, random) for _ in range(samples)])
            tests = [f"{100 * each:.1f}" for each in np.nanmean(found[:, :3] <= 0.05, axis=0)]
            means = [np.ptp(bins), *found[:, 3:6].mean(axis=0), found[:, 6].mean() - bins.min()]
            cells = tests + [f"{100 * each + 0.0:.1f}" for each in means]
            say(f"| {contexts} | {items} | {noise.name} | {name} | " + " | ".join(cells) + " |\n")


def _effect(design: Design, curve: Curve, noise: Noise, random: np.random.Generator) -> list[float]:
    arrays = design.draw(curve, noise, random), design.depth, design.set_id
    flat = flat_gap(*arrays, BINS, 99, random)
    cross = cross_fit(*arrays, BINS, 20, random)
    tests = [flat.bin_p, flat.item_p, flat.gap_p]
    return [*tests, gap(arrays[0], arrays[1], BINS), flat.expected, cross.gap, cross.worst]


if __name__ == "__main__":
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    say(f"{number} samples a cell of one run, half of that for pairs and tests\n")
    one_run(number)
    two_runs(number // 2)
    positions(number // 2)
