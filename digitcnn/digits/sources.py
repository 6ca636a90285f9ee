"""Where the published digit sets can be downloaded."""

from __future__ import annotations

from collections.abc import Mapping

from digitcnn.digits.download import Archive, Mirrors, Source
from digitcnn.digits.mnist_c import CorruptionArchive
from digitcnn.digits.names import MNIST_C
from digitcnn.digits.transfer import RemoteFile
from digitcnn.digits.usps import UspsText

# Addresses and MD5 sums as in torchvision.datasets.MNIST, EMNIST and USPS 0.29; the MD5 sums of
# MNIST's unpacked files are those of LeCun's originals.
# fmt: off
_MNIST = {
    "train": (
        RemoteFile("train-images-idx3-ubyte.gz", 12_000_000,
                   "f68b3c2dcbeaaa9fbdd348bbdeb94873", "6bbc9ace898e44ae57da46a324031adb"),
        RemoteFile("train-labels-idx1-ubyte.gz", 60_008,
                   "d53e105ee54ea40749a09fcbcd1e9432", "a25bea736e30d166cdddb491f175f624"),
    ),
    "test": (
        RemoteFile("t10k-images-idx3-ubyte.gz", 2_000_000,
                   "9fb629c4189551a2d022fa330f9573f3", "2646ac647ad5339dbf082846283269ea"),
        RemoteFile("t10k-labels-idx1-ubyte.gz", 10_008,
                   "ec29112dd5afa0611ce80d1b7f02629c", "27ae3e4e09519cfbb04c329615203637"),
    ),
}
_EMNIST = {
    "train": (
        RemoteFile("emnist-digits-train-images-idx3-ubyte.gz", 59_515_779,
                   "f7c95004d14d81af89522e67d8f0c781dfb3bd544181c81bfe1eb6b41c35b726"),
        RemoteFile("emnist-digits-train-labels-idx1-ubyte.gz", 113_859,
                   "6638a6ff5fe2eefd9cca2471995b46c82986b8e4b2a70d2f5ce8e05d7edb319e"),
    ),
    "test": (
        RemoteFile("emnist-digits-test-images-idx3-ubyte.gz", 9_908_519,
                   "20ebe43509264f7639d37c835a3f0b009e90b29e00a099a03101abe1644a3f63"),
        RemoteFile("emnist-digits-test-labels-idx1-ubyte.gz", 19_960,
                   "bad1834c45d5988e270b99d43b13edc3fd898f658ffbc2caf2846ef27f7b05b0"),
    ),
}
# fmt: on

SOURCES: Mapping[str, Source] = {
    "mnist": Mirrors(
        ("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/"),
        _MNIST,
    ),
    "emnist-digits": Archive(
        (
            "https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip",
            "https://www.itl.nist.gov/iaui/vip/cs_links/EMNIST/gzip.zip",
        ),
        _EMNIST,
        whole=RemoteFile("gzip.zip", 600_000_000, "58c8d27c78d21e728a6bc7b3cc06412e"),
        inside="gzip/",
    ),
    "usps": UspsText(
        ("https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass/usps.t.bz2",),
        RemoteFile("usps.t.bz2", 4_000_000, "8ea070ee2aca1ac39742fdd1ef5ed118"),
    ),
    # Record 3239543 of Zenodo. The MD5 sum is the one that readers of the archive check.
    MNIST_C: CorruptionArchive(
        ("https://zenodo.org/records/3239543/files/mnist_c.zip?download=1",),
        RemoteFile("mnist_c.zip", 600_000_000, "4b34b33045869ee6d424616cd3a65da3"),
    ),
}
