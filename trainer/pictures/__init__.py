"""Pictures before training: folders, preparation, augmentation, duplicates, phantoms."""
