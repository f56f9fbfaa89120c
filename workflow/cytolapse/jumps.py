"""Areas along tracks -> frames in which a mask cannot be right."""

import numpy as np


def area_jumps(
    area_um2: np.ndarray, frame: np.ndarray, track: np.ndarray, *, area_jump: float
) -> tuple[np.ndarray, np.ndarray]:
    """Where the area of a cell jumps, and which jumps are those of one frame.

    The growth that is usual in this movie (the median change of ln(area) from
    frame to frame) is taken off first, so that fast growth at a slow frame
    rate is no jump.

    A lone jump is a frame whose area is too large or too small beside both its
    neighbours in the track; the first or last frame of a track is one where
    the two frames next to it agree with each other. Lone jumps are left out of
    fits. Tried against Theil-Sen slopes and Huber weights on simulated tracks
    of 6 to 25 frames with one jump: for jumps beyond the limit this has the
    smallest error, without a jump it costs nothing, and the interval stays
    that of least squares. A jump below the limit stays in the fit and widens
    its interval.

    Parameters
    ----------
    area_um2 : array of shape (n,)
        Areas, above 0; sorted by track and frame.
    frame, track : arrays of int of shape (n,)
    area_jump : float
        Largest change of ln(area) between neighbouring frames of a track.

    Returns
    -------
    jumps : array of bool of shape (n,)
        The area is farther than this from that of the frame before or after.
    lone : array of bool of shape (n,)
        The jump is of this frame alone.
    """
    n = len(area_um2)
    same = np.diff(track) == 0
    gap = np.diff(frame).astype(float)
    step = np.where(same, np.diff(np.log(area_um2)), np.nan)
    usual = np.median(step[same] / gap[same]) if same.any() else 0.0
    step = step - usual * gap
    before, after = np.full(n, np.nan), np.full(n, np.nan)
    before[1:], after[:-1] = step, -step
    far_before, far_after = np.abs(before) > area_jump, np.abs(after) > area_jump
    lone = far_before & far_after & (np.sign(before) == np.sign(after))
    next_agree, last_agree = np.zeros(n, bool), np.zeros(n, bool)
    next_agree[:-1] = np.abs(after[1:]) <= area_jump
    last_agree[1:] = np.abs(before[:-1]) <= area_jump
    lone |= np.isnan(before) & far_after & next_agree
    lone |= np.isnan(after) & far_before & last_agree
    return far_before | far_after, lone
