"""Damage to files, drawn at random, and a watch over what reads them.

For the tests and for benchmarks/fuzz.py alike.
"""

import copy
import json
import random
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

# What numbers and words in headers are replaced by: nothing, the largest, sizes of 10 ** 12 pixels.
_NUMBERS = [b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x40\x42\x0f\0", b"\0\x0f\x42\x40"]
_WORDS = [
    *("null", "true", "-1", "0", "1e400", "NaN", "Infinity", "1000000000000", "[", "]", "{", "}", '"', "'", ":", ","),
    *("\t", "\n", "\r", "\v", "\u2028", "\0", "#", "*", "**", "..", "%", "\\", "&", "!", "[[" * 3000, "9" * 5000),
    *("!!python/object/apply:os.system ['true']", "!!python/name:os.system ", "__import__('os').system('true')"),
    *("<!DOCTYPE x [<!ENTITY a 'b'>]>", "&a;", "{{ cycler.__init__ }}", "\u00b5", "\ufeff", "é" * 200),
]
_VALUES = [
    *(None, True, False, 0, 1, -1, 0.5, -0.5, 1e308, -1e308, float("inf"), float("nan"), 10**12, 10**30, 2**63),
    *("", " ", "a", "nan", "1e3", "x" * 10_000, "../..", "/", "\0", "\n", "ünïcode", "*", "__import__('os')"),
    *([], {}, [[]], [None], {"": None}, [1, "a", None], {"a": {"b": []}}, [0.1] * 1000),
]
# Memory that a damaged file may make a reader take: a plane is believed up to 256 MB, and is copied once or twice.
MOST_MEMORY_MB = 1024
# Of the processor: the machine may be busy with other things.
MOST_SECONDS = 30.0
# What no file may bring a reader to do.
_FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "pickle.find_class", "exec")


def damaged_bytes(whole: bytes, chance: random.Random) -> bytes:
    """A copy with a few bytes overwritten, or cut, or with a part repeated; mostly near its ends."""
    data = bytearray(whole)
    kind = chance.randrange(5)
    if kind == 0:
        return bytes(data[: _place(data, chance)])
    if kind == 1:
        place = _place(data, chance)
        return bytes(data[:place] + data[max(0, place - 64) : place] + data[place:])
    for _ in range(chance.randrange(1, 6)):
        place = _place(data, chance)
        patch = chance.choice([*_NUMBERS, chance.randbytes(1), chance.randbytes(2), chance.randbytes(8)])
        data[place : place + len(patch)] = patch
    return bytes(data)


def _place(data: bytearray, chance: random.Random) -> int:
    """Headers stand at either end of a file, and pixels between them tell little."""
    last = max(1, len(data) - 1)
    near = min(last, 600)
    return chance.choice([chance.randrange(last), chance.randrange(near), last - chance.randrange(near)])


def damaged_text(whole: bytes, chance: random.Random) -> bytes:
    """A copy with words put in or over others, lines gone, doubled or swapped; at times with bytes that are no text."""
    if chance.random() < 0.2:
        return damaged_bytes(whole, chance)
    text = whole.decode("utf-8")
    for _ in range(chance.randrange(1, 5)):
        kind, place, word = chance.randrange(4), chance.randrange(len(text) + 1), chance.choice(_WORDS)
        if kind == 0:
            text = text[:place] + word + text[place:]
        elif kind == 1:
            text = text[:place] + word + text[place + chance.randrange(1, 12) :]
        else:
            mark = chance.choice(["\n", "\t", ",", ": "])
            parts = text.split(mark)
            here, there = chance.randrange(len(parts)), chance.randrange(len(parts))
            parts[here] = chance.choice([parts[there], "", parts[here] + mark + parts[there]])
            text = mark.join(parts)
    return text.encode("utf-8", "surrogatepass")


def damaged_json(whole: bytes, chance: random.Random) -> bytes:
    """A copy with a few values replaced, keys gone or new; at times not JSON any more."""
    if chance.random() < 0.3:
        return damaged_text(whole, chance)
    value = json.loads(whole)
    for _ in range(chance.randrange(1, 4)):
        places = list(_places(value))
        if not places:
            break
        holder, key = chance.choice(places)
        kind = chance.randrange(6)
        if kind == 0:
            del holder[key]
        elif kind == 1 and isinstance(holder, dict):
            holder[chance.choice(["x", "", "train", str(key).upper()])] = copy.deepcopy(holder[key])
        else:
            holder[key] = copy.deepcopy(chance.choice(_VALUES))
    return json.dumps(value).encode("utf-8")


def _places(value: object) -> Iterator[tuple[dict | list, object]]:
    """Every key of every mapping and every place of every list, at any depth."""
    if isinstance(value, dict | list):
        for key, each in list(value.items() if isinstance(value, dict) else enumerate(value)):
            yield value, key
            yield from _places(each)


@dataclass(frozen=True)
class Target:
    """Something that reads files which may be damaged.

    Attributes
    ----------
    name : str
    files : list of Path
        Whole files; one of them is damaged at a time.
    damage : callable
        (bytes, chance) -> bytes
    look : callable
        Reads them: True where they are accepted, False where they are refused.
        Anything raised is a crash.
    """

    name: str
    files: list[Path]
    damage: Callable[[bytes, random.Random], bytes]
    look: Callable[[], bool]


@dataclass
class Outcome:
    """What came of many rounds.

    Attributes
    ----------
    counts : Counter
        accepted, refused, crashed.
    crashes : list of (str, bytes)
        What was raised, and what the file was.
    slowest_s, memory_mb : float
        Processor time of one round; by how much the process' largest memory rose in all.
    """

    counts: Counter = field(default_factory=Counter)
    crashes: list[tuple[str, bytes]] = field(default_factory=list)
    slowest_s: float = 0.0
    memory_mb: float = 0.0


def fuzz(target: Target, rounds: int, seed: int) -> Outcome:
    """Damage a target's files over and over, and watch what reads them.

    A round that lasts, that takes much memory, or that brings the reader to
    run a command or to unpickle anything is a crash.
    """
    chance = random.Random(f"{seed} {target.name}")
    outcome = Outcome()
    assert target.look(), f"{target.name}: what is whole is refused"
    before_mb = _largest_mb()
    for _ in range(rounds):
        path = chance.choice(target.files)
        whole = path.read_bytes()
        data = target.damage(whole, chance)
        path.write_bytes(data)
        began = time.process_time()
        try:
            with _nothing_run(), _limited(MOST_SECONDS):
                verdict = "accepted" if target.look() else "refused"
        except Exception:
            verdict = "crashed"
            outcome.crashes.append((traceback.format_exc(), data))
        outcome.counts[verdict] += 1
        outcome.slowest_s = max(outcome.slowest_s, time.process_time() - began)
        path.write_bytes(whole)
    outcome.memory_mb = _largest_mb() - before_mb
    return outcome


def _largest_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "linux" else 2**20)


class RanSomething(BaseException):
    """A file made its reader run something; no `except Exception` may hide it."""


_watching = False


def _watch(event: str, arguments: tuple) -> None:
    if _watching and event in _FORBIDDEN and not (event == "exec" and _is_module(arguments)):
        raise RanSomething(f"{event} {arguments!r:.200}")


def _is_module(arguments: tuple) -> bool:
    """Code that is imported, or made by dataclasses and the like, and not by a file of data."""
    return getattr(arguments[0], "co_name", "") == "<module>" and not arguments[0].co_filename.startswith("<")


@contextmanager
def _nothing_run() -> Iterator[None]:
    global _watching
    if not _hooked:
        sys.addaudithook(_watch)  # it stays for as long as the process lives
        _hooked.append(True)
    _watching = True
    try:
        yield
    except RanSomething as error:
        raise AssertionError(f"a file was executed: {error}") from error
    finally:
        _watching = False


_hooked: list[bool] = []


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    def late(*_):
        raise TimeoutError(f"not done after {seconds:g} s of work")

    before = signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
