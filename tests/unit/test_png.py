import struct

import numpy as np
import pytest
from recorded import accepted, frames_folder, inspect, picture, read_all, stack, write_png


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_folder_of_png_frames_gives_its_pixels_back(tmp_path, dtype):
    folder = frames_folder(tmp_path / "m", {f"img_{t:03d}.png": picture(t, dtype=dtype) for t in range(3)})

    info = accepted(folder)

    assert info["dtype"] == dtype
    np.testing.assert_array_equal(read_all(info), stack(3, dtype=dtype))


@pytest.mark.parametrize(
    ("content", "finding"),
    [
        (b"no png", "is not a PNG file, or breaks off in its header"),
        ("colour", "is a colour or palette PNG (RGB)"),
        ("bits", "has 1 bits a pixel; wanted 8 or 16"),
        ("cut", "cannot be decoded"),
        ("absurd", "its header claims planes of 4000000000 x 40 px"),
    ],
)
def test_a_png_that_cannot_be_used_is_refused(tmp_path, content, finding):
    folder = frames_folder(tmp_path / "m", {f"t{t}.png": picture(t) for t in range(3)})
    target = folder / "t0.png"
    data = bytearray(target.read_bytes())
    if content == "colour":
        write_png(target, np.ones((24, 120), "uint8"), colour=2)
    elif content == "bits":
        data[24] = 1
        target.write_bytes(data)
    elif content == "cut":
        target.write_bytes(data[:60])
    elif content == "absurd":
        data[20:24] = struct.pack(">I", 4_000_000_000)
        target.write_bytes(data)
    else:
        target.write_bytes(content)

    reason = inspect(folder)["reason"]

    assert finding in reason
    assert str(target) in reason
