"""MP3s that do not say how many frames they have: libsndfile guesses, and unless the bit rate is constant, wrongly.

It takes all frames for as large as the first. Where too few come out of that, it stops reading there, and the rest
would be lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

_HEADER = 200  # bytes of the first frame within which a count stands
_BIT_RATES = {  # kbit/s by version (3 is MPEG 1, 2 is MPEG 2, 0 is MPEG 2.5), Layer III: ISO 11172-3 and 13818-3
    3: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    0: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}


@dataclass(frozen=True)
class Uncounted:
    """An MP3 that does not say how many frames it has.

    Attributes:
        content: From the first frame on.
        frames: Their number; 0 if they are not of Layer III, or do not say their bit rate.
        samples: That are in them, in each channel.
    """

    content: bytes
    frames: int
    samples: int

    def guessed_longer(self) -> bytes:
        """The same, followed by as many zeros as make the guess no less than `samples`."""
        first = _sizes(self.content)[self.content[2]]
        return self.content.ljust((self.frames + 2) * (first + 1), b"\0")


def uncounted(stream: BinaryIO) -> Uncounted | None:
    """Counts the frames of an MP3 that does not.

    Args:
        stream: The whole file, whatever it is; where it stands is moved.

    Returns:
        `None` if this is no MP3, or if a header tells the count (Xing's, which LAME may call Info, can leave it out).
    """
    stream.seek(0)
    head, start = stream.read(10), 0
    if head.startswith(b"ID3"):  # tags stand first; their length has seven bits a byte
        start = 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=False))
    elif not _is_frame(head):
        return None
    stream.seek(start)
    first = stream.read(_HEADER)
    place = max(first.find(name) for name in (b"Xing", b"Info"))
    if not _is_frame(first) or (len(first) > place + 7 > 6 and first[place + 7] & 1):  # the flag of a count
        return None
    stream.seek(start if place < 0 else start + _sizes(first).get(first[2], 0))  # behind a header without a count
    content = stream.read()
    if not _is_frame(content):
        return None
    frames = _count(content)
    return Uncounted(content, frames, frames * (1152 if _version(content) == 3 else 576))


def _is_frame(head: bytes) -> bool:
    return len(head) >= 4 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0


def _version(frame: bytes) -> int:
    return frame[1] >> 3 & 3


def _sizes(frame: bytes) -> dict[int, int]:
    """Bytes of a frame by the third byte of its header, for all that it can be behind this one; none if unknown."""
    version, layer, rate = _version(frame), frame[1] >> 1 & 3, frame[2] >> 2 & 3
    if version not in _RATES or layer != 1 or rate == 3:
        return {}
    return {
        at << 4 | rate << 2 | padded << 1 | free: (144 if version == 3 else 72)
        * kilobits
        * 1000
        // _RATES[version][rate]
        + padded
        for at, kilobits in enumerate(_BIT_RATES[version])
        for padded in (0, 1)
        for free in (0, 1)
        if kilobits
    }


def _count(content: bytes) -> int:
    """How many frames there are, whatever stands between them; 0 if the first one's size is unknown."""
    sizes, kind, frames, place = _sizes(content), content[1] & 0xFE, 0, 0
    if content[2] not in sizes:
        return 0
    while 0 <= place <= len(content) - 4:
        size = sizes.get(content[place + 2])
        if size is not None and content[place] == 0xFF and content[place + 1] & 0xFE == kind:
            frames += 1
            place += size
        else:
            place = content.find(b"\xff", place + 1)
    return frames
