"""The layouts of public data sets: where subjects, images, labels and pairs stand."""
