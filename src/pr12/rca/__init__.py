"""PR-008: reverse classification accuracy, how good a segmentation is when nobody labelled it."""
