"""``dimitra serve``: a page on which a photo and a recording become a video."""
