"""Settings of the model and its engine."""

from __future__ import annotations

from dataclasses import dataclass

from depth_estimation_ros.backends import BACKENDS, MAX_THREADS, PRECISIONS
from depth_estimation_ros.parameters.declaration import Effect, ParameterGroup, parameter
from depth_estimation_ros.parameters.text import folder_fault, path_fault


@dataclass(frozen=True)
class EngineSettings(ParameterGroup):
    """Model, and the options of the engine that runs it (`backends.EngineOptions`)."""

    model: str = parameter(
        "default",
        "Model: a name that list_models prints, such as 'default', 'small' or 'fcrn-nyu', or the path of an ONNX file "
        "that follows this package's model contract.",
        Effect.CONFIGURE,
        text=path_fault,
    )
    backend: str = parameter(
        "auto",
        "Engine that runs the model. 'auto' uses CUDA if it is available, otherwise the CPU.",
        Effect.CONFIGURE,
        choices=BACKENDS,
    )
    threads: int = parameter(
        0, "Number of CPU threads of the engine. 0 uses all cores.", Effect.CONFIGURE, limits=(0, MAX_THREADS)
    )
    precision: str = parameter(
        "fp16",
        "Precision of the TensorRT engine. int8 needs a model from quantize_model --symmetric. best selects the "
        "fastest precision that reproduces the model's depth.",
        Effect.CONFIGURE,
        choices=PRECISIONS,
        name="engine_precision",
    )
    cache: str = parameter(
        "",
        "Folder of the TensorRT engine cache. Empty means ~/.cache/depth_estimation_ros/engines.",
        Effect.CONFIGURE,
        text=folder_fault,
        name="engine_cache",
    )
    calibration: str = parameter(
        "",
        "Images, video or bag on which a new TensorRT engine is compared with its model. Empty uses rendered rooms.",
        Effect.CONFIGURE,
        text=path_fault,
        name="engine_calibration",
    )
    file: str = parameter(
        "",
        "TensorRT plan file to run unchanged, instead of an engine from the cache. A plan contains code: use only "
        "plans that you built yourself.",
        Effect.CONFIGURE,
        text=path_fault,
        name="engine_file",
    )
