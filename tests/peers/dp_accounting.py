#!/usr/bin/env python3
"""ε and time of forecastle-audit beside dp-accounting (PyPI), in one run. See README.md."""

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version

# This file bears the library's name: without its own folder on the path, the library is found.
sys.path.pop(0)

from dp_accounting import NeighboringRelation, dp_event
from dp_accounting.pld import PLDAccountant
from dp_accounting.pld import privacy_loss_distribution as pld
from dp_accounting.rdp import RdpAccountant

# How far below theirs ours may lie, absolutely or relatively: their own grid is pessimistic, too.
THEIR_ERROR = 1e-3


def poisson(q, sigma):
    return dp_event.PoissonSampledDpEvent(q, dp_event.GaussianDpEvent(sigma))


def composed(event, steps, relation=NeighboringRelation.ADD_OR_REMOVE_ONE):
    """ε of an event composed with itself, by their PLD accountant with its defaults (step 1e-4)."""

    def epsilon(delta):
        accountant = PLDAccountant(relation)
        accountant.compose(event, steps)
        return accountant.get_epsilon(delta)

    return epsilon


def group(touched, q, sigma, steps):
    """A group that disappears: their mixture of Gaussians, with binomial weights."""
    weights = [math.comb(touched, j) * q**j * (1 - q) ** (touched - j) for j in range(touched + 1)]
    return composed(dp_event.MixtureOfGaussiansDpEvent(sigma, list(range(touched + 1)), weights), steps)


def lattice(sigma, sensitivity, steps):
    """A discrete Gaussian on one integer."""

    def epsilon(delta):
        one = pld.from_discrete_gaussian_mechanism(sigma, sensitivity=sensitivity)
        return one.self_compose(steps).get_epsilon_for_delta(delta)

    return epsilon


def year():
    """365 rounds of which no two are alike: the same as in crypto/benches/accounting.rs."""
    days = []
    for day in range(365):
        season = 0.5 + 0.5 * math.sin(day * 2 * math.pi / 365)
        days.append((0.01 + 0.04 * season, 1.0 + day * 1e-3))
    return days


def year_theirs(delta):
    accountant = PLDAccountant()
    for q, sigma in year():
        accountant.compose(poisson(q, sigma))
    return accountant.get_epsilon(delta)


def year_ours():
    return {
        "mechanism": "composed",
        "events": [
            {
                "mechanism": "poisson_subsampled_gaussian",
                "sampling_rate": q,
                "noise_multiplier": sigma,
                "relation": "add_or_remove",
            }
            for q, sigma in year()
        ],
    }


def renyi_without_replacement(population, batch, sigma, steps):
    def epsilon(delta):
        accountant = RdpAccountant(neighboring_relation=NeighboringRelation.REPLACE_ONE)
        event = dp_event.SampledWithoutReplacementDpEvent(population, batch, dp_event.GaussianDpEvent(sigma))
        accountant.compose(event, steps)
        return accountant.get_epsilon(delta)

    return epsilon


# Name, our question, their answer (None where they have none).
def cases():
    replace = NeighboringRelation.REPLACE_ONE
    return [
        (
            "series, q 0.004, σ 1.1, T 14,062, δ 1e-5",
            {"unit": "series", "q": 0.004, "sigma": 1.1, "steps": 14062, "delta": 1e-5},
            composed(poisson(0.004, 1.1), 14062),
        ),
        (
            "series, q 0.01, σ 4, T 10,000, δ 1e-6",
            {"unit": "series", "q": 0.01, "sigma": 4.0, "steps": 10000, "delta": 1e-6},
            composed(poisson(0.01, 4.0), 10000),
        ),
        (
            "one record replaced, q 0.1, σ 4, T 1,000, δ 1e-6",
            {"mechanism": "gaussian", "change": "replaced", "q": 0.1, "sigma": 4.0, "steps": 1000, "delta": 1e-6},
            composed(poisson(0.1, 4.0), 1000, replace),
        ),
        (
            "5 records removed, q 0.01, σ 2, T 2,000, δ 1e-6",
            {"mechanism": "gaussian", "touched": 5, "q": 0.01, "sigma": 2.0, "steps": 2000, "delta": 1e-6},
            group(5, 0.01, 2.0, 2000),
        ),
        (
            "customer, L 5, q 0.01, σ 2, T 2,000, δ 1e-6",
            {"unit": "customer", "touched": 5, "q": 0.01, "sigma": 2.0, "steps": 2000, "delta": 1e-6},
            None,
        ),
        (
            "Laplace b 10, T 100, δ 1e-6",
            {"mechanism": "laplace", "sigma": 10.0, "steps": 100, "delta": 1e-6},
            composed(dp_event.LaplaceDpEvent(10.0), 100),
        ),
        (
            "discrete Gaussian σ 4, Δ 1, T 10, δ 1e-6",
            {"mechanism": "discrete-gaussian", "sigma": 4.0, "sensitivity": 1.0, "steps": 10, "delta": 1e-6},
            lattice(4.0, 1, 10),
        ),
        (
            "256 of 20,000 without replacement, σ 1, T 1,000, δ 1e-6 (Rényi)",
            # Their noise counts in sensitivities to replacement, ours in clip norms, two of which that is.
            {
                "mechanism": "fixed-size-gaussian",
                "population": 20000,
                "batch_size": 256,
                "sigma": 2.0,
                "steps": 1000,
                "delta": 1e-6,
            },
            renyi_without_replacement(20000, 256, 1.0, 1000),
        ),
        ("a year of 365 different rounds, δ 1e-6", {"event": year_ours(), "delta": 1e-6}, year_theirs),
    ]


def timed(call, runs):
    best, value = math.inf, None
    for _ in range(runs):
        start = time.perf_counter()
        value = call()
        best = min(best, time.perf_counter() - start)
    return value, best


def ours(audit, question):
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump([question], file)
        file.flush()
        output = subprocess.run([audit, "epsilon", "--batch", file.name], capture_output=True, text=True)
    if output.returncode != 0:
        sys.exit(output.stderr)
    return json.loads(output.stdout)[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--audit", default="target/release/forecastle-audit", help="release build of the auditor")
    parser.add_argument("--runs", type=int, default=3, help="timings taken, of which the least is shown")
    arguments = parser.parse_args()
    print(f"dp-accounting {version('dp-accounting')}, Python {sys.version.split()[0]}\n")
    print("| question | ε ours | ε theirs | ms ours | ms theirs |")
    print("|---|---|---|---|---|")
    wrong = []
    for name, question, theirs in cases():
        answer, our_time = timed(lambda: ours(arguments.audit, question), arguments.runs)
        epsilon = answer["epsilon"]
        if theirs is None:
            print(f"| {name} | {epsilon:.6f} | none | {our_time * 1e3:.0f} | |", flush=True)
            continue
        reference, their_time = timed(lambda: theirs(question["delta"]), 1 if "year" in name else arguments.runs)
        print(f"| {name} | {epsilon:.6f} | {reference:.6f} | {our_time * 1e3:.0f} | {their_time * 1e3:.0f} |", flush=True)
        above = max(2e-3, 1e-3 * reference)
        if not reference - max(THEIR_ERROR, THEIR_ERROR * reference) <= epsilon <= reference + above:
            wrong.append(f"{name}: {epsilon} against {reference}")
    if wrong:
        sys.exit("disagreement:\n" + "\n".join(wrong))


if __name__ == "__main__":
    main()
