"""Does any broken input end in anything but an error of this package? ``python benchmarks/fuzz.py --inputs 100000``

Each parser reads the same number of inputs, made from a file that it reads. Only ``PoseEdgeError`` may come out, within a time
and a memory that are limits of the process. An input that breaks this is kept, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from types import FrameType

from fuzzing.mutation import mutated
from fuzzing.parsers import Parser, parsers
from posemoe_edge.runtime.errors import PoseEdgeError

_BATCH = 250
"""Inputs of one process: one that dies costs the others nothing."""

_WAITING = 20
"""How much longer than its time on a processor an input may take: on a busy machine it waits for one."""


def fuzz(parser: Parser, inputs: int, folder: Path, *, seed: int, seconds: float, megabytes: int) -> Counter[str]:
    """How many inputs ended how: "read", "refused", or what must not be, whose inputs are kept in ``folder``."""
    counts = Counter[str]()
    for begin in range(0, inputs, _BATCH):
        size = min(_BATCH, inputs - begin)
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            with os.fdopen(writer, "w") as out:
                _batch(parser, range(begin, begin + size), folder, seed=seed, seconds=seconds, megabytes=megabytes, out=out)
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as results:
            ended = results.read().splitlines()
        _, status = os.waitpid(child, 0)
        counts.update(ended)
        if status or len(ended) != size:
            counts[f"the process died ({status}) at input {begin + len(ended)}"] += 1
    return counts


def _batch(parser: Parser, numbers: range, folder: Path, *, seed: int, seconds: float, megabytes: int, out: object) -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (megabytes << 20),) * 2)
    for late in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(late, _late)
    logging.disable()
    path = folder / f"{os.getpid()}-{parser.name}"
    for number in numbers:
        data = mutated(parser.seed, random.Random(f"{seed} {parser.name} {number}"))
        path.write_bytes(data)
        signal.setitimer(signal.ITIMER_PROF, seconds)
        signal.setitimer(signal.ITIMER_REAL, _WAITING * seconds)
        try:
            parser.read(path)
            result = "read"
        except PoseEdgeError:
            result = "refused"
        except BaseException as error:  # what is looked for
            line = traceback.extract_tb(error.__traceback__)[-1]
            result = f"{type(error).__name__} at {Path(line.filename).name}:{line.lineno}"
            (folder / f"found-{number}-{parser.name}").write_bytes(data)
        finally:
            for timer in (signal.ITIMER_PROF, signal.ITIMER_REAL):
                signal.setitimer(timer, 0)
        print(result, file=out, flush=True)  # type: ignore[call-overload]
    path.unlink(missing_ok=True)


def _late(number: int, frame: FrameType | None) -> None:
    raise TimeoutError


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--inputs", type=int, default=2000, help="of all parsers together")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--seconds", type=float, default=5.0, help="of a processor, for one input")
    options.add_argument("--megabytes", type=int, default=2048, help="of memory above what the program has")
    options.add_argument("--only", help="parsers whose name contains this")
    args = options.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="posemoe-fuzz-"))
    chosen = [parser for parser in parsers(folder) if args.only is None or args.only in parser.name]
    report, begin_s = dict[str, dict[str, int]](), time.perf_counter()
    for parser in chosen:
        parser.read(folder / f"seed-{parser.name}") if parser.name.startswith("keypoints") else None
        each = -(-args.inputs // len(chosen))
        counts = fuzz(parser, each, folder, seed=args.seed, seconds=args.seconds, megabytes=args.megabytes)
        report[parser.name] = dict(counts)
        print(f"{parser.name:<22} {dict(counts)}", file=sys.stderr, flush=True)
    wrong = {name: {k: v for k, v in of.items() if k not in ("read", "refused")} for name, of in report.items()}
    wrong = {name: of for name, of in wrong.items() if of}
    total = sum(sum(of.values()) for of in report.values())
    result = {"inputs": total, "seconds": round(time.perf_counter() - begin_s, 1), "wrong": wrong, "folder": str(folder)}
    print(json.dumps(result, indent=1))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
