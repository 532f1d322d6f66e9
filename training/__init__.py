"""Training, evaluation and export of depth networks. It imports depth_estimation_ros, which never imports it."""
