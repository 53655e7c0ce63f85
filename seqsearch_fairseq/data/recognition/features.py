"""From the file of an utterance to its frames, by the ending of its name.

.mfc          cepstra as Sphinx writes them: how many numbers follow (int32), then float32; 13 of them are a frame
.npy          an array: frames (T, F), or samples (N,)
.wav, .flac   audio, read by soundfile
"""

from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seqsearch_fairseq.data.files import FormatError
from seqsearch_fairseq.data.recognition.filterbanks import NORMALIZATIONS, frame_count, log_mel, with_deltas
from seqsearch_fairseq.errors import UsageError

CEPSTRA = 13  # numbers of a frame of an .mfc file
FILTERBANKS, WAVEFORM = "filterbanks", "waveform"
AUDIO = (FILTERBANKS, WAVEFORM)  # what a model may read of audio


class Settings(NamedTuple):
    """What a model reads of a file."""

    audio: str = FILTERBANKS  # of `AUDIO`
    rate: int = 16_000  # samples a second of audio
    bins: int = 40  # filterbanks
    deltas: int = 0  # how many times slopes over time are appended to the frames
    normalize: str = "mean"  # of `NORMALIZATIONS`, for frames
    normalize_waveform: bool = False  # a waveform to mean 0 and variance 1


def read_frames(path: Path, settings: Settings = Settings()) -> np.ndarray:  # noqa: B008  (immutable)
    """The frames of an utterance, (T, F) float32, or its samples (N,), as `settings` want them.

    Raises:
        FormatError: the file breaks its format, or is shorter than a frame.
        UsageError: no reader for its ending, or the reader's package is missing.
    """
    values = read_file(path, settings.rate)
    if values.ndim == 1 and settings.audio == WAVEFORM:
        how = "mean-variance" if settings.normalize_waveform else "none"
        return NORMALIZATIONS[how](values).astype(np.float32)
    if values.ndim == 1 and path.suffix.lower() not in AUDIO_ENDINGS:
        raise FormatError(
            f"{path}: an array of samples can only be read as a {WAVEFORM}, and {settings.audio} are asked for"
        )
    if values.ndim == 1:
        values = log_mel(values, settings.rate, settings.bins)
    if len(values) == 0:
        raise FormatError(f"{path}: the utterance is shorter than one frame")
    return with_deltas(NORMALIZATIONS[settings.normalize](values), settings.deltas).astype(np.float32)


def frames_of(path: Path, length: int, settings: Settings) -> int:
    """The length of what `read_frames` returns, from the length that the manifest gives of the file."""
    if settings.audio == FILTERBANKS and path.suffix.lower() in AUDIO_ENDINGS:
        return frame_count(length, settings.rate)
    return length


def read_file(path: Path, rate: int | None = None) -> np.ndarray:
    """What a file holds: frames (T, F), or samples (N,) in [-1, 1] at `rate` a second; None is any rate.

    Raises:
        FormatError: the file is missing, or breaks its format.
        UsageError: no reader for its ending, or the reader's package is missing.
    """
    if not path.is_file():
        raise FormatError(f"{path} does not exist, or is no file; a manifest or list names it")
    ending = path.suffix.lower()
    if ending in AUDIO_ENDINGS:
        return _read_audio(path, rate)
    if ending not in READERS:
        raise UsageError(f"{path}: files must end in {', '.join(ENDINGS)}, got {path.suffix!r}")
    values = READERS[ending](path)
    if not np.isfinite(values).all():
        raise FormatError(f"{path} holds numbers that are infinite or NaN")
    return values


def file_length(path: Path) -> int:
    """What a manifest says of a file: its frames, or its samples, read from the file's head where that says it."""
    if path.suffix.lower() in AUDIO_ENDINGS and path.is_file():
        with _opened(path) as audio:
            return audio.frames
    return len(read_file(path))


def read_cepstra(path: Path) -> np.ndarray:
    """(T, 13) of an .mfc file, of either order of bytes.

    Raises:
        FormatError: the file has not as many numbers as it says, or they are no whole frames.
    """
    data = path.read_bytes()
    numbers = (len(data) - 4) // 4
    said = [int(np.frombuffer(data[:4], dtype=f"{order}i4")[0]) for order in "><"] if len(data) >= 4 else [0, 0]
    if numbers * 4 + 4 != len(data) or numbers not in said:
        raise FormatError(
            f"{path}: must be a count and as many numbers of 4 bytes, got {said[0]} and {len(data)} bytes"
        )
    if numbers == 0 or numbers % CEPSTRA:
        raise FormatError(f"{path}: a frame has {CEPSTRA} cepstra, got {numbers} numbers, which are no whole frames")
    order = "><"[said.index(numbers)]
    return np.frombuffer(data, dtype=f"{order}f4", offset=4).reshape(-1, CEPSTRA).astype(np.float32)


def write_cepstra(path: Path, frames: np.ndarray) -> None:
    """Write frames (T, 13) as an .mfc file."""
    path.write_bytes(np.array([frames.size], dtype=">i4").tobytes() + frames.astype(">f4").tobytes())


def read_array(path: Path) -> np.ndarray:
    """Frames (T, F) or samples (N,) of an .npy file.

    Raises:
        FormatError: no array of numbers, or of another shape.
    """
    try:
        values = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise FormatError(f"{path} is no array of numbers that numpy can read: {error}") from error
    if (
        not isinstance(values, np.ndarray)
        or values.ndim not in (1, 2)
        or values.dtype.kind not in "fiu"
        or 0 in values.shape
    ):
        shape = getattr(values, "shape", None)
        raise FormatError(f"{path}: must be frames (T, F) or samples (N,) of numbers, got the shape {shape}")
    return values.astype(np.float32)


def _read_audio(path: Path, rate: int | None) -> np.ndarray:
    with _opened(path) as audio:
        if audio.channels != 1:
            raise FormatError(f"{path}: must have one channel, got {audio.channels}")
        if rate is not None and audio.samplerate != rate:
            raise FormatError(
                f"{path}: must have {rate} samples a second, got {audio.samplerate}; resample it, or change the rate"
            )
        return audio.read(dtype="float32")


@contextmanager
def _opened(path: Path):
    """The file as soundfile opens it."""
    try:
        import soundfile
    except (ImportError, OSError) as error:  # the package, or the library that it loads
        raise UsageError(
            f"{path}: audio is read by the package soundfile, which does not load here ({error}); pip install soundfile"
        ) from error
    try:
        with soundfile.SoundFile(str(path)) as audio:
            yield audio
    except soundfile.SoundFileError as error:
        raise FormatError(f"{path} cannot be read as audio: {error}") from error


READERS = {".mfc": read_cepstra, ".npy": read_array}
AUDIO_ENDINGS = (".wav", ".flac")
ENDINGS = (*READERS, *AUDIO_ENDINGS)
