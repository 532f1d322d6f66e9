"""RGB-D frames for training: prepared folders, augmentation, splits."""
