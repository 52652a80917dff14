"""Face detection, tracking, landmarks and cropping."""
