"""Why convolutions?"""

from digitcnn.experiments.experiment import Arm, Choice, Experiment, Question, TestImages

COMMON = {"batch_size": 64, "epochs": 8, "learning_rate": 4e-3, "augmentation": False}

EXPERIMENT = Experiment(
    name="convolutions",
    question="Why convolutions?",
    procedure=(
        "Train a network with two convolutions (digitcnn) and one that connects every pixel with "
        "every neuron (mlp). Both have about 1,026,000 parameters. Train on 2,200 centred digits "
        "without augmentation, three times each, and test on centred digits and on digits "
        "shifted diagonally by 2 pixels."
    ),
    predict="How far ahead are convolutions on the shifted digits?",
    choices=(
        Choice("By less than 5 points", below=5),
        Choice("By 5 to 20 points", below=20),
        Choice("By more than 20 points"),
    ),
    images=2_400,
    arms=(
        Arm(label="convolutions", settings={**COMMON, "network": "digitcnn"}),
        Arm(label="no convolutions", settings={**COMMON, "network": "mlp"}),
    ),
    seeds=3,
    tests=(TestImages(), TestImages(label="shifted by 2 pixels", shift=2)),
    questions=(
        Question("convolutions", "no convolutions", "shifted by 2 pixels"),
        Question("convolutions", "no convolutions"),
    ),
    why=(
        "A convolution applies the same nine weights everywhere, so when a stroke moves, its "
        "response moves with it and is still there. Pooling then makes the position coarser. The "
        "fully connected network has weights of its own for each pixel: to it a shifted digit is a "
        "new image, and what it learned about one place says nothing about the next. With as many "
        "parameters, what counts is how they are shared."
    ),
    next_steps=(
        "Open both models in Compare and look at the images that only one gets right. On Evaluate, "
        "Robustness draws the accuracy over the whole range of shifts. Then train mlp with "
        "augmentation."
    ),
    discussion=(
        "Both networks see the same images and have as many parameters. What does the convolution "
        "know before the first image?",
        "Would convolutions help if all pixels were shuffled in the same way? Why?",
        "Convolutions tolerate shifts. Name changes of a digit that they do not tolerate.",
    ),
)
