"""A photo and a recording of speech become a video of a talking head."""
