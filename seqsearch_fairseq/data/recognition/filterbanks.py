"""Frames computed from audio and from other frames: logarithmic mel filterbanks, deltas, normalisation.

The filterbanks are Kaldi's (`compute-fbank-feats` without dither): frames of 25 ms every 10 ms, only whole ones;
each without its mean, pre-emphasised, in a Povey window, padded to a power of two; triangles in mel over the power
spectrum; their natural logarithm. They are computed here because torchaudio, which has them too, does not load
beside every build of torch.
"""

from functools import lru_cache

import numpy as np

WINDOW_MS, SHIFT_MS = 25, 10
PREEMPHASIS = 0.97
LOWEST_HZ = 20.0
FULL_SCALE = 2.0**15  # Kaldi reads 16-bit samples as they are, from -32768
DELTA_REACH = 2  # frames on either side
EPSILON = 1e-5


def frame_count(samples: int, rate: int) -> int:
    """Frames that `log_mel` makes of so many samples."""
    return max(0, 1 + (samples - rate * WINDOW_MS // 1000) // (rate * SHIFT_MS // 1000))


def log_mel(samples: np.ndarray, rate: int, bins: int) -> np.ndarray:
    """Filterbanks (T, bins) of a waveform (N,) whose samples are in [-1, 1], float32.

    Args:
        rate: samples a second.
        bins: triangles between 20 Hz and half of `rate`.
    """
    window, shift = rate * WINDOW_MS // 1000, rate * SHIFT_MS // 1000
    count = frame_count(len(samples), rate)
    places = np.arange(count)[:, None] * shift + np.arange(window)  # (T, window)
    frames = samples.astype(np.float64)[places] * FULL_SCALE
    frames -= frames.mean(axis=1, keepdims=True)
    frames -= PREEMPHASIS * np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    size = 1 << (window - 1).bit_length()
    spectrum = np.abs(np.fft.rfft(frames * _povey(window), n=size, axis=1)) ** 2  # (T, size/2 + 1)
    energies = spectrum @ _triangles(rate, size, bins).T
    return np.log(np.maximum(energies, np.finfo(np.float32).eps)).astype(np.float32)


def with_deltas(frames: np.ndarray, order: int) -> np.ndarray:
    """From frames (T, F) to (T, F * (order + 1)): with their slopes over time, and the slopes of these, and so on.

    The slope at t is the regression line's over the frames t-2 to t+2; the first and last frame are repeated.
    """
    parts = [frames]
    for _ in range(order):
        parts.append(_slopes(parts[-1]))
    return np.concatenate(parts, axis=1)


def _slopes(frames: np.ndarray) -> np.ndarray:
    padded = np.pad(frames, ((DELTA_REACH, DELTA_REACH), (0, 0)), mode="edge")
    length = len(frames)
    total = np.zeros_like(frames)
    for step in range(1, DELTA_REACH + 1):
        after = padded[DELTA_REACH + step : DELTA_REACH + step + length]
        before = padded[DELTA_REACH - step : DELTA_REACH - step + length]
        total += step * (after - before)
    return total / (2 * sum(step**2 for step in range(1, DELTA_REACH + 1)))


def _mean(frames: np.ndarray) -> np.ndarray:
    return frames - frames.mean(axis=0)


def _mean_variance(frames: np.ndarray) -> np.ndarray:
    return _mean(frames) / np.sqrt(frames.var(axis=0) + EPSILON)


# Over the frames of an utterance: what is done to each number of them, or to the samples of a waveform.
NORMALIZATIONS = {"none": lambda frames: frames, "mean": _mean, "mean-variance": _mean_variance}


@lru_cache
def _povey(window: int) -> np.ndarray:
    return np.hanning(window) ** 0.85


@lru_cache
def _triangles(rate: int, size: int, bins: int) -> np.ndarray:
    """(bins, size/2 + 1) weights; in mel each triangle begins at the peak of the one before."""

    def mel(hertz):
        return 1127.0 * np.log(1.0 + hertz / 700.0)

    edges = np.linspace(mel(LOWEST_HZ), mel(rate / 2), bins + 2)
    left, peak, right = (edges[i : i + bins, None] for i in range(3))
    at = mel(np.arange(size // 2 + 1) * rate / size)
    weights = np.maximum(0.0, np.minimum((at - left) / (peak - left), (right - at) / (right - peak)))
    weights[:, -1] = 0.0  # Kaldi leaves the bin at half of `rate` out
    return weights
