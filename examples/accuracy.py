"""Accuracy tables of published data sets: every row of a table, scored by the protocol's own scorer.

    cargo build --release --example simulate
    python3 examples/accuracy.py --evaluate ../shared/evaluate --data ../shared/data --task orange_juice_1W

    python3 examples/accuracy.py --task generated_100x4 --task generated_1000x4

Needs Python 3.10 or newer, with numpy and pandas for the scorer; a generated marketplace is scored by the simulator itself,
whose measures are tested against that scorer's. A row is one run of `simulate` for each seed; scores and what was printed
stay in --out, so that an interrupted table goes on where it stopped and a row is never run twice. Plans protect a customer
where order lines name one (Online Retail, Olist), else a series. The rows:

  untrained        the structural skip alone, no warm start, nothing learned
  no federation    warm start, local steps and calibration, zero rounds
  alone            each merchant trains all parameters by itself, from the warm start
  not private      rounds without rounding and noise
  ε = 8, 4, 2, 1   rounds as in a deployment, at the plan that `simulate --propose` gives for that ε

--rows adds rows of other settings, for ablations: NAME=ARGUMENTS of `simulate`, with {plan8} for the plan at ε = 8.
"""

import argparse
import json
import re
import shlex
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EPSILONS = [8, 4, 2, 1]
# Whose order lines name customers; elsewhere the unit is the series.
CUSTOMERS = {"online_retail_1D", "olist_seller_1W"}
TASKS = ["restaurant_cal_1D", "walmart_1W", "orange_juice_1W", "online_retail_1D", "olist_seller_1W"]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evaluate", type=Path, help="folder of protocol.py and score_forecasts.py")
    parser.add_argument("--data", type=Path, default=Path("."), help="folder of the data sets")
    known = f"one or several of {', '.join(TASKS)} [default: all of these], and generated_MERCHANTSxPRODUCTS"
    parser.add_argument("--task", action="append", help=known)
    parser.add_argument("--seeds", type=int, default=3, help="seeds of each row that draws at random")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "accuracy", help="where runs are kept")
    parser.add_argument("--simulate", type=Path, help="the built program [default: the release build]")
    parser.add_argument("--options", default="--trained auto", help="further options of every run")
    parser.add_argument("--unit", choices=["series", "customer"], help="whom plans protect [default: by the task]")
    parser.add_argument("--rows", action="append", default=[], metavar="NAME=ARGUMENTS", help="a further row")
    parser.add_argument("--only", action="append", help="only these rows")
    return parser.parse_args()


def program(given):
    """The simulator: the one named, or the one cargo built."""
    if given:
        return given.resolve()
    told = subprocess.run(
        ["cargo", "build", "--release", "--example", "simulate", "--message-format", "json"],
        cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True,
    ).stdout
    built = [json.loads(line) for line in told.splitlines() if line.startswith("{")]
    return Path([b["executable"] for b in built if b.get("executable") and b["target"]["name"] == "simulate"][-1])


def run(command, log):
    """Runs a command, keeps what it prints, and stops with its last words if it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    log.write_text(shlex.join(map(str, command)) + "\n" + done.stdout)
    if done.returncode:
        sys.exit(f"{shlex.join(map(str, command))}\nfailed: {done.stdout[-800:]}")
    return done.stdout


def is_generated(task):
    return task.startswith("generated_")


def unit_of(args, task):
    return args.unit or ("customer" if task in CUSTOMERS else "series")


def folder_of(args, task):
    unit = unit_of(args, task)
    return args.out / (task if unit == "series" else f"{task}-{unit}")


def scored(args, simulate, task, name, options, seed):
    """Scores of one run, from the folder where they lie if it has been run before."""
    folder = folder_of(args, task)
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{name}-{seed}".replace(" ", "_").replace("=", "")
    scores, forecasts = folder / f"{stem}.json", folder / f"{stem}.csv"
    if not scores.exists():
        command = [simulate, "--task", task, "--data", args.data, "--out", forecasts, "--seed", str(seed), *options]
        printed = run(command, folder / f"{stem}.txt")
        if is_generated(task):
            own = re.search(r"mean of .*WQL ([\d.]+)  WAPE ([\d.]+)  coverage of 80 % ([\d.]+)", printed)
            mean = dict(zip(("WQL", "WAPE", "coverage80"), map(float, own.groups())))
            scores.write_text(json.dumps({"mean": mean}))
            forecasts.unlink()
            return mean
        told = subprocess.run(
            [sys.executable, args.evaluate / "score_forecasts.py", task, forecasts],
            stdout=subprocess.PIPE, text=True, env={"DATA": str(args.data.resolve()), "PATH": "/usr/bin:/bin"},
        )
        if told.returncode:
            sys.exit(f"the scorer refused {forecasts}")
        scores.write_text(told.stdout)
        forecasts.unlink()
    return json.loads(scores.read_text())["mean"]


def rows(args, simulate, task):
    """Name, options of the simulator, whether it draws at random, and ε."""
    extra = shlex.split(args.options)
    plans = {}
    for epsilon in EPSILONS:
        plan = folder_of(args, task) / f"plan-{epsilon}.toml"
        plan.parent.mkdir(parents=True, exist_ok=True)
        if not plan.exists():
            command = [simulate, "--task", task, "--data", args.data, "--propose", plan, "--epsilon", str(epsilon)]
            command += ["--unit", unit_of(args, task)]
            run([*command, *extra], plan.with_suffix(".txt"))
        plans[epsilon] = plan
    yield "untrained", ["--no-federation", "--start", "untrained", "--local", "off"], False, "none"
    yield "no federation", ["--no-federation"], False, "none"
    yield "alone", ["--alone"], True, "none"
    yield "not private", ["--plan", plans[8], "--private", "off", *extra], True, "not private"
    for epsilon, plan in plans.items():
        yield f"ε = {epsilon}", ["--plan", plan, *extra], True, str(epsilon)
    for row in args.rows:
        name, options = row.split("=", 1)
        options = options.format(**{f"plan{e}": p for e, p in plans.items()})
        yield name, [*shlex.split(options), *extra], True, "see its arguments"


def table(args, simulate, task):
    print(f"\n### {task}\n\n| row | WQL (seeds) | mean WQL | WAPE | coverage of 80 % | ε |\n|---|---|---|---|---|---|")
    for name, options, random, epsilon in rows(args, simulate, task):
        if args.only and name not in args.only:
            continue
        seeds = range(1, args.seeds + 1) if random else [1]
        each = [scored(args, simulate, task, name, options, seed) for seed in seeds]
        mean = {key: statistics.fmean(scores[key] for scores in each) for key in ("WQL", "WAPE", "coverage80")}
        wql = " ".join(f"{scores['WQL']:.4f}"[1:] if scores["WQL"] < 1 else f"{scores['WQL']:.4f}" for scores in each)
        figures = [re.sub(r"^0", "", f"{mean[key]:.4f}") for key in ("WQL", "WAPE")] + [f"{mean['coverage80']:.3f}"[1:]]
        print(f"| {name} | {wql} | {figures[0]} | {figures[1]} | {figures[2]} | {epsilon} |", flush=True)


def main():
    args = arguments()
    tasks = args.task or TASKS
    if not args.evaluate and not all(map(is_generated, tasks)):
        sys.exit("--evaluate: published data are scored by the protocol's own program; say where its folder is")
    simulate = program(args.simulate)
    for task in tasks:
        table(args, simulate, task)


if __name__ == "__main__":
    main()
