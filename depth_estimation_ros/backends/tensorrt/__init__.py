"""
TensorRT, and TensorRT for RTX: engines built on the machine they run on, from the model's ONNX file.

``library`` finds TensorRT, ``prepare`` and ``builder`` make a plan of a model, ``cache`` (over ``files``) keeps it,
``runner`` (over ``cuda`` and ``cuda_calls``) runs it, ``parity`` holds it against the model, and ``engine`` puts these
together.
"""
