"""MLflow: runs of stages and of the pipeline, the registry, the models as one of MLflow's."""
