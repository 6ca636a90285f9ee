"""What does a network predict for a digit that it has never seen?"""

from digitcnn.experiments.experiment import Arm, Choice, Experiment, Question, TestImages

COMMON = {"batch_size": 64, "epochs": 6, "learning_rate": 4e-3}

EXPERIMENT = Experiment(
    name="missing-digit",
    question="No 7s in training, or few: what does it predict for a 7?",
    procedure=(
        "Remove all 7s from 2,200 training images, then put 20, 100 and at last all of them back, "
        "and train three times on each. Test on the 7s of the test set: what is predicted for "
        "them, and how confidently?"
    ),
    predict="How much of the accuracy on 7s do the first 20 of them bring?",
    choices=(
        Choice("Less than 20 points", below=20),
        Choice("20 to 70 points", below=70),
        Choice("More than 70 points"),
    ),
    images=2_400,
    arms=(
        Arm(label="no 7s", settings=COMMON, changes=("keep-7-0",)),
        Arm(label="twenty 7s", settings=COMMON, changes=("keep-7-20",)),
        Arm(label="a hundred 7s", settings=COMMON, changes=("keep-7-100",)),
        Arm(label="all 7s", settings=COMMON),
    ),
    seeds=3,
    tests=(TestImages(label="the 7s", digit=7), TestImages()),
    questions=(
        Question("twenty 7s", "no 7s", "the 7s"),
        Question("a hundred 7s", "twenty 7s", "the 7s"),
        Question("all 7s", "a hundred 7s", "the 7s"),
    ),
    why=(
        "A classifier of ten digits has to name one of them, and one that it never saw is never "
        "among its predictions: it classifies a 7 as the digit that looks most like it, mostly "
        "a 9, often confidently, because nothing in its training showed that other shapes exist. "
        "The repair is data. A few 7s are enough for it to start predicting 7, and the rest of "
        "the gap closes more slowly, with the rarer ways to write a 7."
    ),
    next_steps=(
        "Draw a 7 on the Sketchpad with the model trained on no 7s, and look at Why and Nearest. "
        "Then draw twenty 7s, label them, and adapt the model to your handwriting."
    ),
    discussion=(
        "Why does the overall accuracy hide the problem, and which number shows it?",
        "Who is missing from the data of systems that you use, and who would notice?",
        "What could a model do instead of naming a wrong digit?",
    ),
)
