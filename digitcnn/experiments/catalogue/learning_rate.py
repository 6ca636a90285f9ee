"""What does the learning rate do?"""

from digitcnn.experiments.experiment import Arm, Choice, Experiment, Question

COMMON = {"batch_size": 64, "epochs": 5}

EXPERIMENT = Experiment(
    name="learning-rate",
    question="Learning rate: too small, right, too large?",
    procedure=(
        "Train three times each with a peak learning rate of 0.00003, of 0.004 and of 0.1, all "
        "else being equal: 2,200 images and 5 epochs."
    ),
    predict="How far ahead of the smallest rate is the middle one?",
    choices=(
        Choice("By less than 5 points", below=5),
        Choice("By 5 to 30 points", below=30),
        Choice("By more than 30 points"),
    ),
    images=2_400,
    arms=(
        Arm(label="rate 0.00003", settings={**COMMON, "learning_rate": 3e-5}),
        Arm(label="rate 0.004", settings={**COMMON, "learning_rate": 4e-3}),
        Arm(label="rate 0.1", settings={**COMMON, "learning_rate": 0.1}),
    ),
    seeds=3,
    questions=(
        Question("rate 0.004", "rate 0.00003"),
        Question("rate 0.004", "rate 0.1"),
    ),
    why=(
        "Each step moves the weights against the gradient, by an amount that the learning rate "
        "sets. Steps that are too small go in the right direction, but five epochs end long before "
        "they arrive: the curve still rises at the end. Steps that are too large jump over the "
        "valleys of the loss, often to where no gradient leads back. Whether a network recovers "
        "is then luck: one seed may end at the 10% of guessing, another higher, but still far "
        "below the accuracy of the middle rate. Seeds that differ so much make a wide interval, "
        "which can include zero although every one of them is worse."
    ),
    next_steps=(
        "Train with 0.00003 for 40 epochs: does it catch up? Then look for the largest rate that "
        "still works, and for the smallest."
    ),
    discussion=(
        "Which of the two failures can more epochs repair, and which not?",
        "How can you tell from the loss curve alone that the rate is too large?",
        "Why does the schedule end with a rate near zero?",
    ),
)
