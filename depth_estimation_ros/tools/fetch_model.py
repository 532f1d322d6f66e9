"""``fetch_model fcrn-nyu``: write published weights as a model for the node."""

from __future__ import annotations

if __name__ == "__main__":  # before the imports, as a package may be missing
    from depth_estimation_ros import entry

    entry.fetch_model()

import argparse
import sys
from pathlib import Path

from depth_estimation_ros.backends import BackendError
from depth_estimation_ros.fetching import fcrn
from depth_estimation_ros.fetching.download import cache_folder, fetch
from depth_estimation_ros.support.files import refuse_missing_folder
from depth_estimation_ros.weights import FETCHED, fetched_file


def main(args: list[str] | None = None) -> None:
    """Run the command line; a mistake of the user ends with one sentence."""
    parser = argparse.ArgumentParser(prog="fetch_model", description=__doc__)
    parser.add_argument("model", choices=FETCHED, help="fcrn-nyu: ResNet-UpProj of Laina et al. 2016")
    parser.add_argument(
        "--from",
        dest="file",
        type=Path,
        metavar="FILE",
        help="read the released file from here instead of downloading it",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="MODEL.onnx",
        help="file to write; by default one in the cache, which every program then finds by the name of the model",
    )
    arguments = parser.parse_args(args)
    output = arguments.output or fetched_file(arguments.model)
    try:
        if arguments.output is None:
            output.parent.mkdir(parents=True, exist_ok=True)
        refuse_missing_folder(output)
        if output.is_dir():
            raise ValueError(f"{output} is a folder: give the name of a file")
        network = fcrn.load(arguments.file) if arguments.file else fetch(fcrn.URL, cache_folder(), fcrn.load)
        print(f"weights with sha256 {network.sha256} converted, writing {output}")
        fcrn.write_model(network, output)
    except (ValueError, BackendError) as error:
        sys.exit(f"fetch_model: {error}")
    except OSError as error:
        sys.exit(f"fetch_model: cannot write {output}: {error.strerror or error}")
    except KeyboardInterrupt:
        sys.exit("fetch_model: stopped; a download goes on from here when run again")
    name = "" if arguments.output else f"; the name of the model is {arguments.model}"
    print(f"{output}: {output.stat().st_size / 1e6:.1f} MB; its card is beside it{name}")
