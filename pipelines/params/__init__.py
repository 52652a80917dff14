"""The schema of ``params.yaml``: unknown keys and bad values stop a run before any work."""

from pipelines.params.corpus import (
    BudgetsParams,
    DatasetParams,
    DatasetsParams,
    LimitsParams,
    ShardsParams,
)
from pipelines.params.evaluation import EvaluateParams, ReportParams, SyncParams
from pipelines.params.faces import OPEN_HEAD_SOURCE, CropParams, FitParams
from pipelines.params.models import (
    DiffusionParams,
    GenerateParams,
    ModelParams,
    PartParams,
    TrainParams,
)
from pipelines.params.reading import ParamsError, load, parse
from pipelines.params.rendering import TRAINED, RenderParams, TrainRendererParams
from pipelines.params.running import RayParams, ShardStage, StageResources, StorageParams
from pipelines.params.section import AssetRef, Section
from pipelines.params.speech import AlignTrainParams, MfaParams, SpeechParams, TranscribeParams
from pipelines.params.whole import Params, weights_keys, weights_of

__all__ = [
    "OPEN_HEAD_SOURCE",
    "TRAINED",
    "AlignTrainParams",
    "AssetRef",
    "BudgetsParams",
    "CropParams",
    "DatasetParams",
    "DatasetsParams",
    "DiffusionParams",
    "EvaluateParams",
    "FitParams",
    "GenerateParams",
    "LimitsParams",
    "MfaParams",
    "ModelParams",
    "Params",
    "ParamsError",
    "PartParams",
    "RayParams",
    "RenderParams",
    "ReportParams",
    "Section",
    "ShardStage",
    "ShardsParams",
    "SpeechParams",
    "StageResources",
    "StorageParams",
    "SyncParams",
    "TrainParams",
    "TrainRendererParams",
    "TranscribeParams",
    "load",
    "parse",
    "weights_keys",
    "weights_of",
]
