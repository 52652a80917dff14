"""DVC stages as Ray jobs: the only package that knows Ray, DVC and MLflow."""
