"""Detect sound and video files by their first bytes; file names and declared types are ignored."""

_SIGNATURES = (  # (offset, bytes)
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
_PACKET = 188  # bytes in an MPEG-TS packet


def sniff_audio(head: bytes) -> bool:
    """Return True if a file with these first 256 bytes or more is in one of the formats that the server decodes."""
    return (
        any(head.startswith(signature, offset) for offset, signature in _SIGNATURES)
        or (head[:4] in _RIFF and head[8:12] in _IN_RIFF)
        or (head[:4] == b"FORM" and head[8:12] in _IN_FORM)
        or (head[:1] == b"G" and head[_PACKET : _PACKET + 1] == b"G")
        or _is_mpeg_audio(head)
    )


def _is_mpeg_audio(head: bytes) -> bool:
    """Return True if the bytes start with a frame header of MP3, MP2 or AAC (ADTS)."""
    if len(head) < 4 or head[0] != 0xFF:
        return False
    is_mpeg = head[1] & 0xE6 in (0xE2, 0xE4) and head[1] & 0x18 != 0x08 and head[2] >> 4 != 0xF
    return is_mpeg or head[1] & 0xF6 == 0xF0
