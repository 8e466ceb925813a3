"""A trained large model without PyTorch: exported graphs that ONNX Runtime executes."""
