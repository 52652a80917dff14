"""SyncNet: whether sound and lips of a video belong together, and how far they are apart."""
