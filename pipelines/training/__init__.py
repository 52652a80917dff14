"""What the stages that train share: their clips and shards, processes, saved states and records."""
