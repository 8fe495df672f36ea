"""Streams: clips in chunks, in a folder or in object storage."""
