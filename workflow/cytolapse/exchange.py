"""What the pipeline and the program of an engine say to each other, over a pair of pipes.

The one module that also runs in the environment of an engine: numpy and the
standard library alone, and no newer Python than the engine's.

A message is one line of JSON, and behind it the bytes of the arrays that the
line announces. The pipeline sends the settings first; the engine answers what
it is. Then the pipeline sends a frame at a time, and the engine its labels and
how sure each is. The end of the pipe is the end of the movie.
"""

import json
import math
import os
import sys

import numpy as np


def send(pipe, facts, arrays=()):
    """Write a message.

    Parameters
    ----------
    pipe : binary file
    facts : dict
        What JSON can hold.
    arrays : sequence of arrays
    """
    announced = [{"shape": array.shape, "dtype": array.dtype.str} for array in arrays]
    pipe.write(json.dumps({"facts": facts, "arrays": announced}).encode() + b"\n")
    for array in arrays:
        pipe.write(np.ascontiguousarray(array).data.cast("B") if array.size else b"")
    pipe.flush()


def receive(pipe):
    """Read a message.

    Returns
    -------
    (dict, list of arrays) or None
        None at the end of the pipe.

    Raises
    ------
    EOFError
        If the pipe ends inside of a message.
    """
    line = pipe.readline()
    if not line:
        return None
    if not line.endswith(b"\n"):
        raise EOFError("the pipe ended inside of a message")
    message = json.loads(line)
    return message["facts"], [_array(pipe, each) for each in message["arrays"]]


def _array(pipe, announced):
    dtype, shape = np.dtype(announced["dtype"]), announced["shape"]
    wanted = dtype.itemsize * math.prod(shape)
    data = pipe.read(wanted)
    if len(data) < wanted:
        raise EOFError("the pipe ended inside of an array")
    # A copy, since bytes cannot be written to and some libraries want to.
    return np.frombuffer(data, dtype).reshape(shape).copy()


def why_gpu(device):
    """Why an engine must have a GPU, in words, as `choose_device` judges it; None where it need not."""
    if device == "cuda":
        return "device is cuda"
    given = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    if device == "auto" and given not in ("", "-1", "NoDevFiles"):
        return f"this job was given a GPU (CUDA_VISIBLE_DEVICES {given})"
    return None


def serve(start):
    """Run an engine until the pipeline has sent its last frame.

    What the engine's library prints goes to stderr, and so to the log of the
    job: the pipe to the pipeline is kept for messages.

    Parameters
    ----------
    start : function
        Takes the settings, returns a dict of facts about the engine, and a
        function from an image (y, x), float32, to labels (y, x) and to the
        confidence of label 1 and on, or None.
    """
    requests, replies = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    settings, _ = receive(requests)
    facts, segment = start(settings)
    send(replies, facts)
    while True:
        request = receive(requests)
        if request is None:
            return
        labels, confidence = segment(request[1][0])
        arrays = [np.asarray(labels).astype(np.int32)]
        send(replies, {}, arrays if confidence is None else [*arrays, np.asarray(confidence, np.float64)])
