"""Does augmentation help, and where?"""

from digitcnn.experiments.experiment import Arm, Choice, Experiment, Question, TestImages

COMMON = {"batch_size": 64, "epochs": 8, "learning_rate": 4e-3}

EXPERIMENT = Experiment(
    name="augmentation",
    question="Does augmentation help on clean images, and on shifted ones?",
    procedure=(
        "Train on 2,200 images with and without augmentation (random rotation, shift, scale, "
        "shear and stroke width), three times each. Test on the test images as they are, and on "
        "the same images shifted diagonally by 4 pixels, which is further than augmentation "
        "shifts them."
    ),
    predict="How much does augmentation raise the accuracy on shifted images?",
    choices=(
        Choice("Not at all, or it lowers it", below=0.5),
        Choice("By up to 10 points", below=10),
        Choice("By more than 10 points"),
    ),
    images=2_400,
    arms=(
        Arm(label="with augmentation", settings=COMMON),
        Arm(label="without augmentation", settings={**COMMON, "augmentation": False}),
    ),
    seeds=3,
    tests=(TestImages(), TestImages(label="shifted by 4 pixels", shift=4)),
    questions=(
        Question("with augmentation", "without augmentation", "shifted by 4 pixels"),
        Question("with augmentation", "without augmentation"),
    ),
    why=(
        "MNIST's digits are all centred, so nothing in them teaches a network that a shifted 3 is "
        "still a 3. Augmentation shows it shifted and rotated digits, and the network becomes "
        "tolerant of shifts, even larger ones than it was shown. On centred images there is "
        "nothing of that to gain, and in eight epochs it may even cost a little: the network has "
        "to learn more than this test asks. Augmentation pays for itself on clean images when the "
        "training is long enough to memorise what it is shown (see overfitting)."
    ),
    next_steps=(
        "Repeat both trainings with all training images: does augmentation still help on clean "
        "images? Then open Evaluate, Robustness, and compare rotated and blurred digits."
    ),
    discussion=(
        "Which changes may an augmentation make to a digit without changing what it is? Think of "
        "6 and 9.",
        "Why is the accuracy on the training images lower with augmentation, while that on "
        "shifted test images is higher?",
        "Name a task in which mirrored images would be a good augmentation, and one in which they "
        "would not.",
    ),
)
