import cv2
import pytest
from commands import in_process, in_this_process

pytest.importorskip("torch", reason="the training package needs PyTorch")
pytest.importorskip("tensorboard", reason="curves are TensorBoard's")

from lightning.pytorch.loggers import TensorBoardLogger

from training.curves import main, read_curves


@pytest.fixture
def run(tmp_path):
    """Log two epochs of three steps, as Lightning does."""
    logger = TensorBoardLogger(tmp_path, name="run", version=0)
    for epoch in range(2):
        step = 3 * epoch + 2
        logger.log_metrics({"train/loss": 1.0 - 0.25 * epoch, "epoch": epoch}, step)
        logger.log_metrics({"val/delta1": 0.5 + 0.25 * epoch, "epoch": epoch}, step)
    logger.finalize("success")
    return tmp_path / "run" / "version_0"


def test_curves_are_read_by_epoch(run):
    assert read_curves(run) == {"train/loss": ([1, 2], [1.0, 0.75]), "val/delta1": ([1, 2], [0.5, 0.75])}


def test_the_command_draws_a_picture(run, tmp_path):
    output = tmp_path / "curves.png"
    assert in_process("training.curves", run, "--output", output).returncode == 0
    assert cv2.imread(str(output)).std() > 10


def test_a_folder_without_curves_is_one_sentence(tmp_path):
    result = in_this_process(main, tmp_path)
    assert result.returncode == 1
    assert f"curves: {tmp_path} holds no TensorBoard curves" in result.stderr and "Traceback" not in result.stderr
