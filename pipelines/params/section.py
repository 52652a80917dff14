"""What all sections share: strictness, and the types of shares, seconds and weights."""

from __future__ import annotations

from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

from dimitra.assets import AssetError, hub_model

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Seconds = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]


class Section(BaseModel):
    """A section of the file; refuses keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


_IS_WEIGHTS = object()
"""Marks the fields that name weights."""


def _well_formed(reference: str) -> str:
    if reference.startswith("hf:"):
        try:
            hub_model(reference)
        except AssetError as error:
            raise ValueError(str(error)) from None
    return reference


AssetRef = Annotated[
    str, Field(min_length=1, max_length=500), AfterValidator(_well_formed), _IS_WEIGHTS
]
"""Weights: an asset's name (``dimitra assets list``), ``hf:owner/model@revision``, or a path."""


def _in_annotation(annotation: Any) -> bool:
    return annotation is AssetRef or any(map(_in_annotation, get_args(annotation)))


def names_weights(field: FieldInfo) -> bool:
    """Whether a field's value is a reference to weights, or may be."""
    return _IS_WEIGHTS in field.metadata or _in_annotation(field.annotation)
