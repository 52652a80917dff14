"""Croissant metadata of the WebDataset shards (MLCommons Croissant 1.1, a JSON-LD vocabulary).

The description names every shard with its sha256 and makes the clip index loadable as records.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dimitra.shards import Sidecar

CONFORMS_TO = "http://mlcommons.org/croissant/1.1"

_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def _index_field(name: str, description: str, data_type: str) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"clips/{name}",
        "name": name,
        "description": description,
        "dataType": data_type,
        "source": {"fileObject": {"@id": "index"}, "extract": {"column": name}},
    }


def describe(
    name: str,
    description: str,
    licence: str,
    index_sha256: str,
    shards: Sequence[Sidecar],
    columns: Mapping[str, tuple[str, str]],
    date_published: str,
    version: str = "1.0.0",
) -> dict[str, Any]:
    """Croissant description of a folder with shards and ``index.parquet``.

    Args:
        name: of the dataset.
        description: one sentence.
        licence: SPDX identifier or URL.
        index_sha256: of ``index.parquet``.
        shards: sidecars of all shards, in any order.
        columns: column of the index to (description, ``sc:Text`` or ``sc:Integer``).
        date_published: ISO date of this dataset version.
        version: semantic version of the dataset.

    Returns:
        JSON-LD, ready for ``dimitra.shards.json_bytes``.
    """
    distribution: list[dict[str, Any]] = [
        {
            "@type": "cr:FileObject",
            "@id": "index",
            "name": "index",
            "description": "One row a clip: where it lies, its dataset, split and identity.",
            "contentUrl": "index.parquet",
            "encodingFormat": "application/x-parquet",
            "sha256": index_sha256,
        }
    ]
    distribution += [
        {
            "@type": "cr:FileObject",
            "@id": shard.shard,
            "name": shard.shard,
            "description": f"WebDataset shard of {shard.clips} clips.",
            "contentUrl": shard.shard,
            "contentSize": f"{shard.size_bytes} B",
            "encodingFormat": "application/x-tar",
            "sha256": shard.sha256,
        }
        for shard in sorted(shards, key=lambda s: s.shard)
    ]
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": name,
        "description": description,
        "conformsTo": CONFORMS_TO,
        "license": licence,
        "url": "https://arxiv.org/abs/2502.17198",
        "version": version,
        "datePublished": date_published,
        "citeAs": "Chopin et al., Dimitra: Audio-driven Diffusion model for Expressive Talking "
        "Head Generation, 2025",
        "distribution": distribution,
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "clips",
                "name": "clips",
                "description": "The clip index.",
                "key": {"@id": "clips/clip_id"},
                "field": [
                    _index_field(column, text, kind) for column, (text, kind) in columns.items()
                ],
            }
        ],
    }
