"""digitcnn: a handwritten-digit lab around one convolutional network."""

__version__ = "0.1.0"
