"""Finding the face: detectors, the face in every picture of a pair, following it, head pose."""
