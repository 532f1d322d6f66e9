"""Train, evaluate and export the depth networks; imports the robot's package, never the other way round."""
