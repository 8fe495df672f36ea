"""Whether bytes begin as a sound file or a video does. What they are called, or said to be, counts for nothing."""

_BEGINNINGS = (  # where, and what stands there
    (0, b"fLaC"),
    (0, b"OggS"),
    (0, b"ID3"),  # MP3 with a tag
    (0, b"\x1aE\xdf\xa3"),  # Matroska, WebM
    (0, b".snd"),
    (0, b"caff"),
    (0, b"riff\x2e\x91\xcf\x11"),  # Wave64
    (0, b"#!AMR"),
    (0, b"FLV\x01"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),  # ASF, WMA
    (4, b"ftyp"),  # MP4, M4A, MOV
    (4, b"moov"),
    (4, b"mdat"),
    (4, b"wide"),
)
_RIFF = (b"RIFF", b"RIFX", b"RF64")
_IN_RIFF = (b"WAVE", b"AVI ")
_IN_FORM = (b"AIFF", b"AIFC")
_PACKET = 188  # bytes of MPEG-TS


def begins_like_sound(head: bytes) -> bool:
    """Whether this is the beginning of a format that is read.

    Args:
        head: The first 256 bytes or more, or all there are.

    Example:
        >>> begins_like_sound(b"RIFF....WAVEfmt "), begins_like_sound(b"PK...")
        (True, False)
    """
    return (
        any(head.startswith(magic, offset) for offset, magic in _BEGINNINGS)
        or (head[:4] in _RIFF and head[8:12] in _IN_RIFF)
        or (head[:4] == b"FORM" and head[8:12] in _IN_FORM)
        or (head[:1] == b"G" and head[_PACKET : _PACKET + 1] == b"G")
        or _is_mpeg_audio(head)
    )


def _is_mpeg_audio(head: bytes) -> bool:
    """Whether an MP3 or an AAC (ADTS) frame stands at the beginning."""
    if len(head) < 4 or head[0] != 0xFF:
        return False
    is_mp3 = head[1] & 0xE6 == 0xE2 and head[1] & 0x18 != 0x08 and head[2] >> 4 != 0xF
    return is_mp3 or head[1] & 0xF6 == 0xF0
