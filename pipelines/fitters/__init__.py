"""What turns crops into coefficients: one module for each way (``fit.method``)."""
