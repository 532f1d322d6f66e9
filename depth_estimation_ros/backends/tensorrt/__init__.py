"""
TensorRT and TensorRT for RTX backends: engines are built from the model's ONNX file on the machine that runs them.

``library`` finds TensorRT, ``prepare`` and ``builder`` build a plan from a model, ``cache`` (using ``key`` and
``private_files``) stores it, ``runner`` (using ``cuda`` and ``cuda_calls``) runs it, ``parity`` compares it with the
model, and ``engine`` combines these.
"""
