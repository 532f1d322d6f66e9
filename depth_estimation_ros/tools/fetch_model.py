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


def main(args: list[str] | None = None) -> None:
    """Run the command line; a mistake of the user ends with one sentence."""
    parser = argparse.ArgumentParser(prog="fetch_model", description=__doc__)
    parser.add_argument("model", choices=("fcrn-nyu",), help="fcrn-nyu: ResNet-UpProj of Laina et al. 2016")
    parser.add_argument(
        "--from",
        dest="file",
        type=Path,
        metavar="FILE",
        help="read the released file from here instead of downloading it",
    )
    parser.add_argument(
        "--output", type=Path, default=Path("fcrn_nyu.onnx"), metavar="MODEL.onnx", help="default: %(default)s"
    )
    arguments = parser.parse_args(args)
    try:
        refuse_missing_folder(arguments.output)
        if arguments.output.is_dir():
            raise ValueError(f"{arguments.output} is a folder: give the name of a file")
        network = fcrn.load(arguments.file) if arguments.file else fetch(fcrn.URL, cache_folder(), fcrn.load)
        print(f"weights with sha256 {network.sha256} converted, writing {arguments.output}")
        fcrn.write_model(network, arguments.output)
    except (ValueError, BackendError) as error:
        sys.exit(f"fetch_model: {error}")
    except OSError as error:
        sys.exit(f"fetch_model: cannot write {arguments.output}: {error.strerror or error}")
    except KeyboardInterrupt:
        sys.exit("fetch_model: stopped; a download goes on from here when run again")
    print(f"{arguments.output}: {arguments.output.stat().st_size / 1e6:.1f} MB; its card is beside it")
