"""Generator of the sample corpus: talking heads with known ground truth."""
