"""The conditional motion diffusion transformer."""
