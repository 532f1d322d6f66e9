"""
``python -m training.bench_gpu``: compare the engines of this machine's GPU on the same networks.

``__main__`` is the command. ``prepare`` writes a folder with everything that needs no GPU, ``prepared`` reads it.
``run`` measures in a process of its own, ``worker``, and writes every row as it comes. ``engines`` makes the engines,
``measure`` times them, ``peaks`` and ``floor`` give the shortest time that the GPU allows, ``table`` prints what was
found.
"""
