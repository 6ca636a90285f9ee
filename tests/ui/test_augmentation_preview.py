from __future__ import annotations

import re

from digitcnn.digits.digit_set import DigitSet
from digitcnn.ui.parts import image_address
from digitcnn.ui.train_settings import preview


def addresses(shown: str) -> list[str]:
    return re.findall(r'src="([^"]+)"', shown)


def test_digit_is_shown_nine_times_each_augmented_anew(drawn: DigitSet) -> None:
    shown = addresses(preview(drawn, 3, augmentation=True))
    assert len(shown) == len(set(shown)) == 9
    assert shown == addresses(preview(drawn, 3, augmentation=True))
    assert shown != addresses(preview(drawn, 3 + len(drawn), augmentation=True))


def test_without_augmentation_every_image_is_the_training_image(drawn: DigitSet) -> None:
    shown = preview(drawn, 3, augmentation=False)
    assert set(addresses(shown)) == {image_address(drawn.images[3])}
    assert f"A {int(drawn.labels[3])} from synthetic digits" in shown
