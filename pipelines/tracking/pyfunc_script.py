"""The code of the exported MLflow model; MLflow runs this file, so that nothing is unpickled."""

from __future__ import annotations

from mlflow.models import set_model

from pipelines.tracking.pyfunc import TalkingHead

set_model(TalkingHead())
