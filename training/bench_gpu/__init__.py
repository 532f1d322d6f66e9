"""
``python -m training.bench_gpu``: the same networks on every engine of this machine's GPU, side by side.

``__main__`` is the command, ``networks`` gets what it is to run, ``engines`` makes what can run it, ``measure`` times
that, ``floor`` says how fast the GPU lets it be, and ``table`` prints what was found.
"""
