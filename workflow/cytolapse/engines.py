"""Segmenters that run by the Python of their own environment: Cellpose, StarDist."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
from tqdm import tqdm

from cytolapse.exchange import receive, send
from cytolapse.masks import LabelledFrame, write_labels, write_no_labels
from cytolapse.movies import Movie, open_movie, sampled_planes

logger = logging.getLogger(__name__)

ENGINES = ("cellpose", "stardist")
# Last lines of an engine's stderr that an error repeats.
_LAST_LINES = 6
# Seconds that an engine may take to end.
_END_S = 60
# Pixels of a plane that are looked at for the limits of the grey values; more would not change them.
_SAMPLE_PX = 250_000

_WORKFLOW = Path(__file__).parents[1]


def label_by_engine(
    engine: str,
    movie_json: str | os.PathLike,
    labels_path: str | os.PathLike,
    confidence_path: str | os.PathLike,
    *,
    python: str | os.PathLike,
    device: str,
    settings: Mapping,
    own_weights: str | None,
    threads: int,
    pixel_size_um: float | None,
    frame_interval_min: float | None,
    provenance: Mapping,
) -> None:
    """Label every frame of a movie by a program in another environment.

    Frames are read, sent, labelled and written one by one. A refused movie
    gives one page of one pixel and a table without rows.

    Parameters
    ----------
    engine : {'cellpose', 'stardist'}
    movie_json : path
        What inspect found.
    labels_path : path
        Stack (t, y, x), uint16, to write.
    confidence_path : path
        Table `confidence` to write: for Cellpose the mean probability of cell
        inside each mask, for StarDist the probability of the object.
    python : path
        Of the environment that has the engine.
    device : {'auto', 'cuda', 'cpu'}
    settings : mapping
        Of the engine: its block of config.yaml.
    own_weights : str or None
        Digest of the weights, where they are the user's own.
    threads : int
        That the engine may use on a CPU.
    pixel_size_um, frame_interval_min : float or None
        As stated in experiments.tsv; None takes the file's.
    provenance : mapping
        Record of this stage; version and device of the engine are added.

    Raises
    ------
    ValueError
        If there is no such engine, or a frame holds more cells than 16 bits
        can number.
    RuntimeError
        If the engine cannot be started, or ends before the movie does: with
        its last words.
    """
    if engine not in ENGINES:
        raise ValueError(f"no engine is called {engine!r}; there are {', '.join(ENGINES)}")
    info = json.loads(Path(movie_json).read_text())
    if info["status"] == "refused":
        write_no_labels(labels_path, confidence_path, {"label": dict(provenance)})
        return
    with open_movie(info) as movie, Engine(engine, python, {**settings, "device": device, "threads": threads}) as runs:
        logger.info("%s: %s on %s", info["path"], runs.facts["segmenter_version"], runs.facts["device"])
        cells = write_labels(
            labels_path,
            confidence_path,
            _labelled(movie, info, runs, settings),
            info=info,
            shape=(movie.frames, *movie.shape),
            pixel_size_um=pixel_size_um,
            frame_interval_min=frame_interval_min,
            records={"label": {**provenance, **runs.facts, "model_digest": own_weights}},
            remedy=f"these are specks: raise min_area_px of {engine}",
        )
    logger.info("%s: %d cells in %d frames", info["path"], cells, info["frames"])


def _labelled(movie: Movie, info: Mapping, runs: "Engine", settings: Mapping) -> Iterator[LabelledFrame]:
    percentiles = (settings["low_percentile"], settings["high_percentile"])
    of_movie = settings["normalise"] == "movie"
    limits = _limits(sampled_planes(movie, info), percentiles) if of_movie else None
    for frame in tqdm(range(movie.frames), desc=runs.name, unit="frame", mininterval=10):
        plane = movie.read(frame, info["segment_channel"])
        if plane is None:
            yield LabelledFrame(np.zeros(movie.shape, np.int32), None)
            continue
        low, high = _limits([plane], percentiles) if limits is None else limits
        yield runs.segment((plane.astype(np.float32) - low) / (high - low), f"frame {frame} of {info['path']}")


def _limits(planes: Iterable[np.ndarray], percentiles: tuple[float, float]) -> tuple[np.float32, np.float32]:
    """The grey values that become 0 and 1."""
    low, high = np.percentile(np.concatenate([_some_pixels(plane) for plane in planes]), percentiles)
    return np.float32(low), max(np.float32(high), np.nextafter(np.float32(low), np.float32(np.inf)))


def _some_pixels(plane: np.ndarray) -> np.ndarray:
    step = max(1, int(np.ceil(np.sqrt(plane.size / _SAMPLE_PX))))
    return plane[::step, ::step].ravel()


class Engine:
    """A running engine; use it in a `with` block.

    Parameters
    ----------
    name : {'cellpose', 'stardist'}
    python : path
        Of the environment that has it.
    settings : mapping
        What the engine's program is told.

    Attributes
    ----------
    facts : dict
        `segmenter_version` and `device`.

    Raises
    ------
    RuntimeError
        If there is no such Python, or the engine does not start.
    """

    def __init__(self, name: str, python: str | os.PathLike, settings: Mapping) -> None:
        self.name = name
        threads = str(settings["threads"])
        # Nothing of this environment may be found in the engine's, but for the module that both speak through.
        environment = {**os.environ, "PYTHONPATH": str(_WORKFLOW), "OMP_NUM_THREADS": threads}
        for variable in ("PYTHONHOME", "PYTHONSTARTUP", "__PYVENV_LAUNCHER__"):
            environment.pop(variable, None)
        try:
            self._process = subprocess.Popen(
                [str(python), str(_WORKFLOW / f"engines/{name}_engine.py")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                # A group of its own, so that what it starts can be ended with it.
                start_new_session=True,
            )
        except OSError as error:
            raise RuntimeError(
                f"{name} cannot be started by {python} ({error.strerror}): run `make env-{name}`, or name the Python "
                f"of an environment that has it (environments.{name} of config.yaml); where jobs run on other "
                "machines, they must see it too"
            ) from error
        self._last: deque[str] = deque(maxlen=_LAST_LINES)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        try:
            self.facts, _ = self._ask(dict(settings), [], "its start")
        except BaseException:
            self.close()
            raise

    def _listen(self) -> None:
        """Pass what the engine says on to the log."""
        for line in self._process.stderr:
            text = line.decode(errors="replace").rstrip()
            sys.stderr.write(text + "\n")
            if text:
                self._last.append(text)

    def segment(self, image: np.ndarray, what: str) -> LabelledFrame:
        """The cells of one image.

        Parameters
        ----------
        image : float32 array of shape (y, x)
            Background at about 0, the brightest at about 1.
        what : str
            Which image this is, for messages.

        Raises
        ------
        RuntimeError
            If the engine ends, with its last words.
        """
        _, (labels, *confidence) = self._ask({}, [image], what)
        return LabelledFrame(labels, confidence[0] if confidence else None)

    def _ask(self, facts: dict, arrays: list[np.ndarray], what: str) -> tuple[dict, list[np.ndarray]]:
        try:
            send(self._process.stdin, facts, arrays)
            answer = receive(self._process.stdout)
        except (BrokenPipeError, EOFError):
            answer = None
        except (ValueError, KeyError, TypeError) as error:
            raise RuntimeError(
                f"{self.name} answered at {what} with what is no message ({error}): something in the environment of "
                f"{self._process.args[0]} prints to standard output; see with `{self._process.args[0]} -c pass`"
            ) from error
        if answer is None:
            code = self._ended()
            said = "\n".join(self._last) or "nothing"
            raise RuntimeError(f"{self.name} ended at {what} with exit code {code}; its last words:\n{said}")
        return answer

    def _ended(self) -> int:
        """Exit code of an engine that has no more to do."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)
        # Also what it has started and left behind: that would hold the pipes open.
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        code = self._process.wait()
        self._listener.join(_END_S)
        return code

    def close(self) -> None:
        """Let the engine end."""
        # What it did not read, as after an error here, is of no interest any more.
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()
        self._ended()
        self._process.stderr.close()

    def __enter__(self) -> "Engine":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
