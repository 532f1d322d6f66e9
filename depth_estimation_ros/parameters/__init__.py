"""
Parameters of all nodes: each one is declared once, as a field of a frozen dataclass.

``declaration`` describes a parameter, ``declare`` declares the parameters of such a class on a node. The parameters of
the depth estimation node are in `depth_estimation_ros.settings`. ``python3 -m depth_estimation_ros.parameters`` prints
these for ``config/`` and ``docs/``.
"""
