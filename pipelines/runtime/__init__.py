"""The runtime of shard jobs: units of work on Ray actors, and nothing lost."""
