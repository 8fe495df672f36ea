"""Detect sound and video files by their first bytes; file names and declared types are ignored."""

import re

_KNOWN = re.compile(
    rb"""
    fLaC | OggS | \.snd | caff | \#!AMR | FLV\x01
    | ID3                                        # MP3 with a tag
    | \x1aE\xdf\xa3                              # Matroska, WebM
    | riff\x2e\x91\xcf\x11                       # Wave64
    | \x30\x26\xb2\x75\x8e\x66\xcf\x11           # ASF, WMA
    | .{4} (ftyp | moov | mdat | wide)           # MP4, M4A, MOV
    | (RIFF | RIFX | RF64) .{4} (WAVE | AVI\ )
    | FORM .{4} (AIFF | AIFC)
    | G .{187} G                                 # MPEG-TS, in packets of 188 bytes
    | \xff [\xe2-\xe5\xf2-\xf5\xfa-\xfd] [\x00-\xef] .  # a frame header of MP3 or MP2
    | \xff [\xf0\xf1\xf8\xf9] .{2}               # a frame header of AAC (ADTS)
    """,
    re.VERBOSE | re.DOTALL,
)


def sniff_audio(head: bytes) -> bool:
    """Return True if a file with these first 256 bytes or more is in one of the formats that the server decodes."""
    return bool(_KNOWN.match(head))
