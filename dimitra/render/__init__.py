"""Renderers: motion and a reference photo to video."""
