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
SOURCES: Mapping[str, Source] = {
    "mnist": Mirrors(
        urls=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "http://yann.lecun.com/exdb/mnist/",
        ),
        files={
            "train": (
                RemoteFile(
                    name="train-images-idx3-ubyte.gz",
                    limit=12_000_000,
                    digest="f68b3c2dcbeaaa9fbdd348bbdeb94873",
                    unpacked="6bbc9ace898e44ae57da46a324031adb",
                ),
                RemoteFile(
                    name="train-labels-idx1-ubyte.gz",
                    limit=60_008,
                    digest="d53e105ee54ea40749a09fcbcd1e9432",
                    unpacked="a25bea736e30d166cdddb491f175f624",
                ),
            ),
            "test": (
                RemoteFile(
                    name="t10k-images-idx3-ubyte.gz",
                    limit=2_000_000,
                    digest="9fb629c4189551a2d022fa330f9573f3",
                    unpacked="2646ac647ad5339dbf082846283269ea",
                ),
                RemoteFile(
                    name="t10k-labels-idx1-ubyte.gz",
                    limit=10_008,
                    digest="ec29112dd5afa0611ce80d1b7f02629c",
                    unpacked="27ae3e4e09519cfbb04c329615203637",
                ),
            ),
        },
    ),
    "emnist-digits": Archive(
        urls=(
            "https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip",
            "https://www.itl.nist.gov/iaui/vip/cs_links/EMNIST/gzip.zip",
        ),
        whole=RemoteFile(
            name="gzip.zip", limit=600_000_000, digest="58c8d27c78d21e728a6bc7b3cc06412e"
        ),
        inside="gzip/",
        files={
            "train": (
                RemoteFile(
                    name="emnist-digits-train-images-idx3-ubyte.gz",
                    limit=59_515_779,
                    digest="f7c95004d14d81af89522e67d8f0c781dfb3bd544181c81bfe1eb6b41c35b726",
                ),
                RemoteFile(
                    name="emnist-digits-train-labels-idx1-ubyte.gz",
                    limit=113_859,
                    digest="6638a6ff5fe2eefd9cca2471995b46c82986b8e4b2a70d2f5ce8e05d7edb319e",
                ),
            ),
            "test": (
                RemoteFile(
                    name="emnist-digits-test-images-idx3-ubyte.gz",
                    limit=9_908_519,
                    digest="20ebe43509264f7639d37c835a3f0b009e90b29e00a099a03101abe1644a3f63",
                ),
                RemoteFile(
                    name="emnist-digits-test-labels-idx1-ubyte.gz",
                    limit=19_960,
                    digest="bad1834c45d5988e270b99d43b13edc3fd898f658ffbc2caf2846ef27f7b05b0",
                ),
            ),
        },
    ),
    "usps": UspsText(
        urls=("https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass/usps.t.bz2",),
        file=RemoteFile(
            name="usps.t.bz2", limit=4_000_000, digest="8ea070ee2aca1ac39742fdd1ef5ed118"
        ),
    ),
    # Record 3239543 of Zenodo. The MD5 sum is the one that readers of the archive check.
    MNIST_C: CorruptionArchive(
        urls=("https://zenodo.org/records/3239543/files/mnist_c.zip?download=1",),
        file=RemoteFile(
            name="mnist_c.zip", limit=600_000_000, digest="4b34b33045869ee6d424616cd3a65da3"
        ),
    ),
}
