"""What private training keeps of the gain of a federation, over its size: a table, and a drawing as SVG.

    python3 examples/accuracy.py --task generated_100x4 --task generated_1000x4 --task generated_10000x4
    python3 examples/kept.py generated_100x4 generated_1000x4 generated_10000x4 --out kept.svg

Reads what `accuracy.py` left in its folder. Kept at ε is (no federation − private) / (no federation − not private), of mean
WQL over the seeds that were run. Needs Python 3.10 or newer and nothing else.
"""

import argparse
import json
import math
import re
import statistics
import sys
from pathlib import Path

EPSILONS = [8, 4, 2, 1]
COLOURS = {8: "#1b6ca8", 4: "#2a9d8f", 2: "#e09f3e", 1: "#c1443c"}
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 360, 64, 96, 44, 52


def mean(folder, row):
    """Mean WQL of a row over its seeds; `None` where it was not run."""
    files = sorted(folder.glob(f"{row}-*.json"))
    if not files:
        return None
    return statistics.fmean(json.loads(file.read_text())["mean"]["WQL"] for file in files)


def size(task):
    found = re.fullmatch(r"generated_(\d+)x\d+", task)
    if not found:
        sys.exit(f"{task}: only generated_MERCHANTSxPRODUCTS has a size to draw over")
    return int(found.group(1))


def shares(folder):
    """Gain without privacy, and what each ε that was run keeps of it, as a share of 1."""
    before, after = mean(folder, "no_federation"), mean(folder, "not_private")
    if before is None or after is None:
        sys.exit(f"{folder} lacks a row: run examples/accuracy.py --task {folder.name} first")
    if before <= after:
        sys.exit(f"{folder.name}: federation gains nothing there, so there is nothing to keep")
    private = {epsilon: mean(folder, f"ε__{epsilon}") for epsilon in EPSILONS}
    return before - after, {e: (before - wql) / (before - after) for e, wql in private.items() if wql is not None}


def drawing(points):
    """`points`: by number of merchants, the shares kept."""
    sizes = sorted(points)
    low, high = math.log10(sizes[0]), math.log10(sizes[-1])
    floor = min(0.0, min(min(kept.values(), default=0.0) for kept in points.values()))

    def x(merchants):
        return LEFT + (WIDTH - LEFT - RIGHT) * (math.log10(merchants) - low) / max(high - low, 1e-9)

    def y(share):
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - (share - floor) / (1 - floor))

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="13" fill="#333">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="24" font-size="15">Share of the federation\'s gain that private training keeps</text>',
    ]
    for share in (0, 0.25, 0.5, 0.75, 1):
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(share):.1f}" y2="{y(share):.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y(share) + 4:.1f}" text-anchor="end">{share:.0%}</text>')
    for merchants in sizes:
        parts.append(f'<text x="{x(merchants):.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{merchants:,}</text>')
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 10}" text-anchor="middle">merchants</text>')
    # Names of lines that end side by side must not lie on each other.
    lines = {e: [(x(m), y(points[m][e])) for m in sizes if e in points[m]] for e in EPSILONS}
    ends, above = {}, -math.inf
    for epsilon in sorted((e for e in EPSILONS if lines[e]), key=lambda e: lines[e][-1][1]):
        above = max(lines[epsilon][-1][1], above + 15)
        ends[epsilon] = above
    for epsilon, end in ends.items():
        colour = COLOURS[epsilon]
        line = " ".join(f"{right:.1f},{down:.1f}" for right, down in lines[epsilon])
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{right:.1f}" cy="{down:.1f}" r="3.5" fill="{colour}"/>' for right, down in lines[epsilon]]
        parts.append(f'<text x="{WIDTH - RIGHT + 10}" y="{end + 4:.1f}" fill="{colour}">ε = {epsilon}</text>')
    return "\n".join([*parts, "</svg>", ""])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="+", metavar="TASK", help="generated_MERCHANTSxPRODUCTS, two or more")
    root = Path(__file__).resolve().parent.parent
    parser.add_argument("--tables", type=Path, default=root / "out" / "accuracy", help="folder of accuracy.py")
    parser.add_argument("--out", type=Path, help="the drawing")
    args = parser.parse_args()
    points = {}
    print("| merchants | gain in WQL, not private | " + " | ".join(f"kept at ε = {e}" for e in EPSILONS) + " |")
    print("|---" * (2 + len(EPSILONS)) + "|")
    for task in sorted(args.tasks, key=size):
        gain, kept = shares(args.tables / task)
        points[size(task)] = kept
        print(f"| {size(task):,} | {gain:.4f} | " + " | ".join(f"{kept[e]:.0%}" if e in kept else "not run" for e in EPSILONS) + " |")
    if args.out:
        args.out.write_text(drawing(points))


if __name__ == "__main__":
    main()
