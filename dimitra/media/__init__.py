"""Decoding and encoding of video and audio."""
