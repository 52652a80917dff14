"""A small record to write, change and compare."""

from dimitra.lineage.record import Artefact, AssetUse, CodeVersion, LineageRecord, ShardFile

CROP = LineageRecord(
    stage="crop",
    command="python -m pipelines.crop",
    code=CodeVersion("c" * 40, None, "d" * 64, {"pipelines/crop.py": "e" * 64}),
    params={"crop.size": 256},
    inputs=(Artefact("data/manifest", "1" * 64, 10, {"clips.parquet": "2" * 64}),),
    outputs=(Artefact("data/crops", "3" * 64, 20, {"balance.json": "4" * 64}),),
    shards=(ShardFile("data/crops/00000.tar", "5" * 64, 3, 15),),
    clips={"in": 4, "out": 3, "quarantined": 1, "reasons": {"no_face": 1}},
    assets=(AssetUse("dlib_68", "dlib_68", "6" * 64, "CC0-1.0", "pypi:somewhere"),),
    environment={"cpu": "one"},
    digests={"split": "7" * 64},
)
