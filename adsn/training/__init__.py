"""Training: recipe, augmentation, loss and loop."""
