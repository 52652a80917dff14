"""3D morphable face models: coefficients, camera, models and fitting."""
