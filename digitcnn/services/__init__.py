"""What a person can ask for: train, evaluate, measure stability, compare, predict.

One function or generator each, shared by the page, the command line and the API. Progress is told
as typed events (``digitcnn.analysis.events``, ``digitcnn.training.events``).
"""
