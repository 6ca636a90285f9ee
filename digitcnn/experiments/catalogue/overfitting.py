"""What is overfitting, and what helps?"""

from digitcnn.experiments.experiment import Arm, Choice, Experiment, Question

COMMON = {"train_images": 200, "batch_size": 25, "epochs": 60, "learning_rate": 2e-3}

EXPERIMENT = Experiment(
    name="overfitting",
    question="200 images, 60 epochs: what helps against overfitting?",
    procedure=(
        "Train on only 200 images for 60 epochs: plainly, with dropout, with augmentation, and "
        "with both, three times each. Compare the accuracy on the training images with that on "
        "held-out ones."
    ),
    predict="How much test accuracy do dropout and augmentation together bring?",
    choices=(
        Choice("Less than 1 point", below=1),
        Choice("1 to 5 points", below=5),
        Choice("More than 5 points"),
    ),
    images=2_400,
    arms=(
        Arm(label="plain", settings={**COMMON, "dropout": False, "augmentation": False}),
        Arm(label="dropout", settings={**COMMON, "augmentation": False}),
        Arm(label="augmentation", settings={**COMMON, "dropout": False}),
        Arm(label="both", settings=COMMON),
    ),
    seeds=3,
    questions=(
        Question("both", "plain"),
        Question("dropout", "plain"),
        Question("augmentation", "plain"),
    ),
    training_curve=True,
    why=(
        "A million parameters can memorise 200 images: the training accuracy of the plain network "
        "reaches 100% within a few epochs, and nothing is left to learn from. The gap to the "
        "held-out images is overfitting. Augmentation shows a new version of each image in every "
        "epoch, so memorising does not pay, and it helps most. Dropout keeps single neurons from "
        "deciding a prediction alone; with so few images it can only do a little."
    ),
    next_steps=(
        "Repeat plain with 2,000 images: how much of the gap is left? Then try the small network "
        "lenet on 200 images, which has less room to memorise."
    ),
    discussion=(
        "From which epoch on does further training bring nothing, and how would you notice without "
        "test images?",
        "Why is a training accuracy of 100% not good news?",
        "What would you rather have: ten times as many images, or all three remedies?",
    ),
)
