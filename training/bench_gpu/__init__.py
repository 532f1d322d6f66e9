"""
``python -m training.bench_gpu``: compare the engines of this machine's GPU on the same networks.

``__main__`` is the command, ``networks`` opens the networks, ``engines`` makes the engines, ``measure`` times them,
``floor`` computes the shortest time that the GPU allows, and ``table`` prints the results.
"""
