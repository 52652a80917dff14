"""What a person asks for on the page: checked for form here, for sense by ``animate``."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dimitra.web.refusal import Refusal

MAX_SAMPLES = 4
"""On the page, where others wait."""
MAX_WORDS = 20_000


class Wishes(BaseModel):
    """Options of a job; those of ``dimitra animate`` by the same names."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    head_pose: bool = True
    lip_contact: bool = True
    expression_scale: Annotated[float, Field(ge=0.0, le=3.0)] = 1.0
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    samples: Annotated[int, Field(ge=1, le=MAX_SAMPLES)] = 1
    size: Annotated[int, Field(ge=64, le=1024)] | None = None
    transcript: Annotated[str, Field(max_length=MAX_WORDS)] | None = None


class Order(BaseModel):
    """A job: two uploads by their tokens, and the wishes."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    image: str
    audio: str
    wishes: Wishes = Wishes()


def read_order(content: Any) -> Order:
    """An order from a request.

    Raises:
        Refusal: names the first field that will not do, and why.
    """
    try:
        return Order.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the order"
        raise Refusal(422, f"{where.removeprefix('wishes.')}: {first['msg']}") from None
