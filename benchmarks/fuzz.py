"""Thousands of damaged files, and what comes of them.

    python benchmarks/fuzz.py [--rounds 2000] [--seed 1] [--folder bench/fuzz] [TARGET ...]

Every target of the tests (`tests/unit/fuzztargets.py`) is fuzzed in a process of its own,
so that one that dies is seen, and what was left open by others is not counted for it. A
file that crashes its reader is kept in the folder, with what was raised beside it. What
comes out is printed, and written into docs/formats.md where all targets were fuzzed.
"""

import argparse
import json
import logging
import subprocess
import sys
import tempfile
from pathlib import Path

from data import REPOSITORY
from scores import write_between_marks

sys.path.insert(0, str(REPOSITORY / "tests/unit"))
from fuzztargets import all_targets
from mutation import fuzz

DOCS = REPOSITORY / "docs/formats.md"
LIMIT_S = 3600


def fuzz_alone(name: str, rounds: int, seed: int, kept: Path) -> None:
    """Fuzz one target in this process; the outcome goes to stdout as JSON, crashing files to a folder."""
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        (target,) = (target for target in all_targets(Path(folder)) if target.name == name)
        outcome = fuzz(target, rounds, seed)
    for number, (raised, data) in enumerate(outcome.crashes):
        place = f"{name.replace(' ', '_').replace(',', '')}_{seed}_{number}"
        (kept / f"{place}.bin").write_bytes(data)
        (kept / f"{place}.txt").write_text(raised)
    print(json.dumps({**outcome.counts, "slowest_s": outcome.slowest_s, "memory_mb": outcome.memory_mb}))


def fuzz_apart(name: str, rounds: int, seed: int, folder: Path) -> dict:
    """The outcome of one target, fuzzed in a process of its own."""
    command = [sys.executable, __file__, "--alone", "--rounds", str(rounds), "--seed", str(seed)]
    command += ["--folder", str(folder), name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    if done.returncode != 0:
        (folder / f"{name}.died.txt").write_text(done.stderr)
        return {"died": done.returncode}
    return json.loads(done.stdout.splitlines()[-1])


def rows(outcomes: dict[str, dict]) -> str:
    """The outcomes as a Markdown table."""
    lines = ["| file | rounds | accepted | refused | crashed | slowest | memory |", "| --- |" + " ---: |" * 6]
    for name, outcome in outcomes.items():
        if "died" in outcome:
            lines.append(f"| {name} | died with exit code {outcome['died']} | | | | | |")
            continue
        counts = [outcome.get(verdict, 0) for verdict in ("accepted", "refused", "crashed")]
        cells = [str(sum(counts)), *map(str, counts), f"{outcome['slowest_s']:.1f} s", f"{outcome['memory_mb']:.0f} MB"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Thousands of damaged files, and what comes of them.")
    parser.add_argument("--rounds", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=REPOSITORY / "bench/fuzz")
    parser.add_argument("--alone", action="store_true", help="fuzz the one target named in this process")
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    if given.alone:
        fuzz_alone(given.targets[0], given.rounds, given.seed, given.folder)
        return
    with tempfile.TemporaryDirectory() as folder:
        names = [target.name for target in all_targets(Path(folder))]
    outcomes = {}
    for name in given.targets or names:
        outcomes[name] = fuzz_apart(name, given.rounds, given.seed, given.folder)
        print(rows({name: outcomes[name]}).splitlines()[-1], flush=True)
    if not given.targets:
        write_between_marks(DOCS, "fuzz", rows(outcomes))
    bad = [name for name, outcome in outcomes.items() if outcome.get("crashed") or "died" in outcome]
    if bad:
        sys.exit(f"crashed: {', '.join(bad)}; the files lie in {given.folder}")


if __name__ == "__main__":
    main()
