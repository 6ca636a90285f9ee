"""How many training images are enough?"""

from digitcnn.experiments.experiment import Arm, Choice, Experiment, Question

EXPERIMENT = Experiment(
    name="few-images",
    question="How few images are enough?",
    procedure=(
        "Train the same network on 100, on 1,000 and on 10,000 images, three times each with "
        "different seeds, and test all nine models on the same test images."
    ),
    predict="How much does accuracy rise from 100 to 1,000 images?",
    choices=(
        Choice("By less than 5 points", below=5),
        Choice("By 5 to 20 points", below=20),
        Choice("By more than 20 points"),
    ),
    images=11_000,
    arms=(
        Arm(
            label="100 images",
            settings={"train_images": 100, "batch_size": 20, "epochs": 30, "learning_rate": 2e-3},
        ),
        Arm(
            label="1,000 images",
            settings={"train_images": 1_000, "batch_size": 50, "epochs": 12, "learning_rate": 3e-3},
        ),
        Arm(
            label="10,000 images", settings={"train_images": 10_000, "batch_size": 128, "epochs": 3}
        ),
    ),
    seeds=3,
    questions=(Question("1,000 images", "100 images"), Question("10,000 images", "1,000 images")),
    why=(
        "Every tenfold increase removes a good part of the remaining errors, so each step gains "
        "fewer points than the one before it: the first images show what a 4 is, the later ones "
        "only the rarer ways to write it. The intervals shrink too, because with few images it "
        "matters more which weights the training happened to start from."
    ),
    next_steps=(
        "Train on 300 and 3,000 images on this tab (More settings, Training images) and see "
        "whether they lie on the same line; then do it without augmentation."
    ),
    discussion=(
        "Compare the share of errors that remains at each step, not only the accuracy. What do "
        "you notice?",
        "How many images would you collect for a new task, and how would you decide when to stop?",
        "Why do the three seeds differ more with 100 images than with 10,000?",
    ),
)
