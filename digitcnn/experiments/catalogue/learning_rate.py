"""What does the learning rate do?"""

from digitcnn.experiments.experiment import Arm, Choice, Experiment, Question

COMMON = {"train_images": 1_000, "batch_size": 16, "epochs": 4}

EXPERIMENT = Experiment(
    name="learning-rate",
    question="Learning rate: too small, right, too large?",
    procedure=(
        "Train four times each with a peak learning rate of 0.00003, of 0.001 and of 0.1, all "
        "else being equal: 1,000 images, batches of 16 and 4 epochs."
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
        Arm(label="rate 0.001", settings={**COMMON, "learning_rate": 1e-3}),
        Arm(label="rate 0.1", settings={**COMMON, "learning_rate": 0.1}),
    ),
    seeds=4,
    questions=(Question("rate 0.001", "rate 0.00003"), Question("rate 0.001", "rate 0.1")),
    why=(
        "Each step moves the weights against the gradient, by an amount that the learning rate "
        "sets. Steps that are too small go in the right direction, but four epochs end long before "
        "they arrive: the curve still rises at the end. Steps that are too large jump over the "
        "valleys of the loss, often to where no gradient leads back. Whether a network recovers "
        "is then luck: one seed may end at the 10% of guessing, another higher, but still far "
        "below the accuracy of the middle rate. Seeds that differ so much make a wide interval, "
        "which is why this experiment trains four times with each rate."
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
