"""Videos of any method against reference videos: which belong together, and the table."""
