"""What do wrong labels do?"""

from digitcnn.experiments.experiment import Arm, Choice, Experiment, Question

COMMON = {"batch_size": 64, "epochs": 12, "learning_rate": 4e-3, "augmentation": False}

EXPERIMENT = Experiment(
    name="label-noise",
    question="A fifth of the labels are wrong: what happens?",
    procedure=(
        "Train on 2,200 images with right labels, and on the same images after a fifth of the "
        "labels were replaced by a random other digit, three times each, without augmentation. "
        "Held-out and test images keep their right labels. Then let the models look for the wrong "
        "labels: images that they, and the five nearest other images, contradict."
    ),
    predict="How much test accuracy do the wrong labels cost?",
    choices=(
        Choice("Less than 2 points", below=2),
        Choice("2 to 10 points", below=10),
        Choice("More than 10 points"),
    ),
    images=2_400,
    arms=(
        Arm(label="all labels right", settings=COMMON),
        Arm(label="a fifth wrong", settings=COMMON, changes=("wrong-20",)),
    ),
    seeds=3,
    questions=(Question("all labels right", "a fifth wrong"),),
    training_curve=True,
    label_errors="a fifth wrong",
    why=(
        "The wrong labels point in all directions and the right ones in one, so the network first "
        "learns what most labels of a shape agree on: its test accuracy stays far above the 80% of "
        "labels that are right, and its training accuracy ends near 80%, because it contradicts "
        "the wrong ones. Then it begins to memorise them: training accuracy goes on rising while "
        "held-out accuracy slowly falls, and more epochs would make it worse. The list of label "
        "errors is cautious: the model and five neighbours must all agree, and a fifth of the "
        "neighbours' labels is wrong too. So it misses most errors, but nearly all labels that it "
        "names are wrong."
    ),
    next_steps=(
        "Look at the curves of the training images, and guess how they would go on for 100 epochs. "
        "On Evaluate, Find label errors searches the real test labels."
    ),
    discussion=(
        "When would you stop this training, and which curve shows you when?",
        "Is a fifth of wrong labels worse when the errors are not random, say all 7s labelled 1?",
        "The list has few false alarms and misses many errors. For which use is that the better "
        "trade?",
    ),
)
