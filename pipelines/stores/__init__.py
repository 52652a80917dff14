"""Where bytes are kept that outlive a run: folders, object stores, and the work cache in them."""
