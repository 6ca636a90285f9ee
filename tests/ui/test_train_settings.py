"""The settings of the Train tab as controls and as a configuration."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from coroutines import run_async

from digitcnn.analysis.settings_text import value_text
from digitcnn.errors import ConfigError
from digitcnn.options import NETWORKS
from digitcnn.training.config import RANGES, TrainingConfig
from digitcnn.ui.train_settings import TrainingSettings, config_of, recipe_values
from digitcnn.web.templates import source
from digitcnn.workspace import Workspace


def test_the_train_tab_offers_every_network(tmp_path: Path, data_dir: Path) -> None:
    workspace = Workspace(
        data_dir, tmp_path / "outputs", tmp_path / "checkpoints", tmp_path / "f.sqlite3", "cpu"
    )
    settings = TrainingSettings(workspace)

    async def built() -> None:
        # Outside of a running loop Gradio makes loops of its own and leaves them open.
        with gr.Blocks(analytics_enabled=False):
            settings.build_main()
            settings.build_more()

    run_async(built())
    assert settings.network.elem_id == "train-network"
    assert [value for _, value in settings.network.choices] == list(NETWORKS)
    assert settings.network.value == "digitcnn"
    for name in NETWORKS:
        config = TrainingConfig(digits="small,mnist", network=name, seed=3)
        values = recipe_values(config)
        assert len(values) == len(settings.recipe)
        assert config_of(*values, "cpu") == (config, "cpu")


def test_an_empty_learning_rate_is_asked_for() -> None:
    values = [*recipe_values(TrainingConfig()), "cpu"]
    for empty in ("", None):
        values[3] = empty
        with pytest.raises(ConfigError, match=r"^Enter a learning rate from 0.00001 to 0.1\.$"):
            config_of(*values)


@pytest.mark.parametrize("digits", [None, [], 7, {"small": 1}])
def test_digit_sets_that_are_not_names_are_refused_in_one_sentence(digits: Any) -> None:
    values = recipe_values(TrainingConfig())[1:]
    with pytest.raises(ConfigError, match="give its name, such as mnist"):
        config_of(digits, *values, "cpu")


def test_the_slider_of_the_learning_rate_ends_where_its_range_does() -> None:
    lowest, highest = RANGES["learning_rate"]
    slider = source("train/learning_rate.html")
    assert f'min="{math.log10(lowest):g}" max="{math.log10(highest):g}"' in slider
    assert f'min="{value_text(lowest)}" max="{value_text(highest)}"' in slider
    assert f"<span>{value_text(lowest)}</span><span>{value_text(highest)}</span>" in slider
