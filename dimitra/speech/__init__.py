"""Speech features, transcripts, phonemes and text features."""
