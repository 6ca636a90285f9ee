"""Is a difference between two models luck?"""

from digitcnn.experiments.experiment import Arm, Choice, Experiment

EXPERIMENT = Experiment(
    name="luck",
    question="Is the difference luck?",
    procedure=(
        "Train one recipe five times. Only the seed differs, which decides the first weights and "
        "the order of the images. Then compare the five models on the same test images."
    ),
    predict="How far apart are the best and the worst of the five?",
    choices=(
        Choice("Less than 0.1 points", below=0.1),
        Choice("0.1 to 0.5 points", below=0.5),
        Choice("More than 0.5 points"),
    ),
    images=3_600,
    arms=(
        Arm(
            label="the same recipe", settings={"batch_size": 64, "epochs": 4, "learning_rate": 4e-3}
        ),
    ),
    seeds=5,
    why=(
        "Five trainings of one recipe end with five different networks, and some of them are "
        "better than others: the interval of the best against the worst is about these two models, "
        "and they were picked after looking. It says nothing about the recipe, which is the same. "
        "Anyone who compares two recipes with one run each sees luck and the effect of the recipes "
        "together, and cannot tell which is which unless the difference is larger than luck alone "
        "would make it."
    ),
    next_steps=(
        "Open the best and the worst in Compare. Then train the default recipe twice on this tab "
        "with another Seed (More settings): how far apart are those two?"
    ),
    discussion=(
        "A paper reports 0.1 points more than the last one, with one training each. What do you "
        "ask its authors?",
        "Why is it wrong to train five times and report the best?",
        "What would you have to do to show a difference of 0.1 points?",
    ),
)
