"""Croissant metadata of the WebDataset shards (MLCommons Croissant 1.1, a JSON-LD vocabulary).

The description names every file with its sha256, tells what lies inside the shards, and makes two
tables loadable as records: the clips, and where each part of each clip lies in its shard.

Records of the members themselves cannot be declared to any use: ``mlcroissant`` 1.1.1 asks of an
archive first whether it is a zip, and Python says yes to a tar whose last member is an npz.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dimitra.datasets.members import CLIP_PARTS
from dimitra.datasets.summary import Description
from dimitra.shards import Sidecar

CONFORMS_TO = "http://mlcommons.org/croissant/1.1"

_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
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
    "name": {"@container": "@language"},
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
_NPZ = "https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html"
_SPLITS = {"train": "cr:TrainingSplit", "test": "cr:TestSplit"}


@dataclass(frozen=True)
class Table:
    """A Parquet file that becomes a record set of the same name.

    Attributes:
        name: of the record set.
        file: name of the file, in the folder of the metadata.
        sha256: of the file.
        description: one sentence.
        key: columns that tell rows apart.
        columns: column to (description, ``sc:Text`` or ``sc:Integer``); one that is called
            ``split`` refers to the splits train and test.
    """

    name: str
    file: str
    sha256: str
    description: str
    key: tuple[str, ...]
    columns: Mapping[str, tuple[str, str]]


def licence_url(licence: str) -> str:
    """SPDX identifier -> its page; a URL stays as it is."""
    return licence if "://" in licence else f"https://spdx.org/licenses/{licence}.html"


def _field(table: Table, name: str) -> dict[str, Any]:
    description, data_type = table.columns[name]
    field = {
        "@type": "cr:Field",
        "@id": f"{table.name}/{name}",
        "name": name,
        "description": description,
        "dataType": data_type,
        "source": {"fileObject": {"@id": table.file}, "extract": {"column": name}},
    }
    if name == "split":
        field["references"] = {"field": {"@id": "splits/name"}}
    return field


def _table_file(table: Table) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": table.file,
        "name": table.file,
        "description": table.description,
        "contentUrl": table.file,
        "encodingFormat": "application/x-parquet",
        "sha256": table.sha256,
    }


def _shard_file(shard: Sidecar) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": shard.shard,
        "name": shard.shard,
        "description": f"WebDataset shard of {shard.clips} clips.",
        "contentUrl": shard.shard,
        "contentSize": f"{shard.size_bytes} B",
        "encodingFormat": "application/x-tar",
        "sha256": shard.sha256,
    }


def _part_files(part: str, shards: Sequence[Sidecar]) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": f"parts/{part}",
        "name": f"parts/{part}",
        "description": f"Of every clip: {CLIP_PARTS[part]}.",
        "containedIn": [{"@id": shard.shard} for shard in shards],
        "encodingFormat": "application/json" if part == "json" else _NPZ,
        "includes": f"*.{part}",
    }


def _records(table: Table) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": table.name,
        "name": table.name,
        "description": table.description,
        "key": [{"@id": f"{table.name}/{name}"} for name in table.key],
        "field": [_field(table, name) for name in table.columns],
    }


def _split_records() -> dict[str, Any]:
    kinds = {"name": ["sc:Text"], "url": ["sc:URL", "cr:Split"]}
    return {
        "@type": "cr:RecordSet",
        "@id": "splits",
        "name": "splits",
        "description": "The sides of the split.",
        "dataType": "cr:Split",
        "key": {"@id": "splits/name"},
        "field": [
            {"@type": "cr:Field", "@id": f"splits/{name}", "name": name, "dataType": kind}
            for name, kind in kinds.items()
        ],
        "data": [{"splits/name": name, "splits/url": url} for name, url in _SPLITS.items()],
    }


def describe(
    about: Description, description: str, tables: Sequence[Table], shards: Sequence[Sidecar]
) -> dict[str, Any]:
    """Croissant description of a folder with shards and tables about them.

    Args:
        about: name, version, licence, creator, date.
        description: one sentence.
        tables: Parquet files.
        shards: sidecars of all shards, in any order.

    Returns:
        JSON-LD, ready for ``dimitra.shards.json_bytes``.
    """
    ordered = sorted(shards, key=lambda shard: shard.shard)
    parts = [_part_files(part, ordered) for part in CLIP_PARTS] if ordered else []
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": about.name,
        "description": description,
        "conformsTo": CONFORMS_TO,
        "license": licence_url(about.licence),
        "url": "https://arxiv.org/abs/2502.17198",
        "creator": {"@type": "sc:Organization", "name": about.creator},
        "version": about.version,
        "datePublished": about.published,
        "citeAs": "Chopin et al., Dimitra: Audio-driven Diffusion model for Expressive Talking "
        "Head Generation, 2025",
        "distribution": [
            *(_table_file(table) for table in tables),
            *(_shard_file(shard) for shard in ordered),
            *parts,
        ],
        "recordSet": [_split_records(), *(_records(table) for table in tables)],
    }
