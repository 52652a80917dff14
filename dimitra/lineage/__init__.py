"""Provenance: dataset metadata and digests."""
