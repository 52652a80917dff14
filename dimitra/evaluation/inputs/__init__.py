"""A clip in the file formats that other methods read, and the commands that run them."""
