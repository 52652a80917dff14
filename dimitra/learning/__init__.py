"""What every training of the project shares: its state, its pace, batches made ahead."""
