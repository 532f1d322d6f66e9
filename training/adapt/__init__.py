"""Adapt a model to a site, with a recording of it: ``python -m training.adapt BAG... --output my_site.onnx``."""
